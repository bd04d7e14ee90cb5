"""The admin endpoint: `/livez`, `/readyz`, `/metrics`. No token, so never on the public port."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
from aiohttp import web
from prometheus_client.aiohttp import make_aiohttp_handler

from api.http.app_keys import READINESS, REGISTRY
from api.middleware.answer_headers import say_server

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


async def livez(_: web.Request) -> web.Response:
    """The event loop turns; says nothing of the database, which a restart would not mend."""
    return _json({"alive": True}, status=200)


async def readyz(request: web.Request) -> web.Response:
    """200 when traffic should come here, else 503; the body says why."""
    readiness = request.app[READINESS]
    state = await readiness.state()
    said = {**state, "reasons": readiness.reasons} if readiness.reasons else state
    return _json(said, status=200 if state["ready"] else 503)


async def elsewhere(_: web.Request) -> web.Response:
    """404 for whoever looks for FHIR on the admin port."""
    text = "This is the admin port: /livez, /readyz, /metrics. FHIR is served on `DOD_PORT` (8080).\n"
    return web.Response(text=text, status=404)


def create_admin_app(app: web.Application, more: Sequence[web.RouteDef] = ()) -> web.Application:
    """The admin application beside a service application, sharing its readiness and metrics."""
    admin = web.Application()
    admin[READINESS] = app[READINESS]
    admin[REGISTRY] = app[REGISTRY]
    admin.on_response_prepare.append(say_server)
    admin.router.add_get("/livez", livez)
    admin.router.add_get("/readyz", readyz)
    admin.router.add_get("/metrics", make_aiohttp_handler(app[REGISTRY]))
    admin.router.add_routes(more)
    admin.router.add_route("*", "/{rest:.*}", elsewhere)
    return admin


def _json(state: Mapping[str, object], *, status: int) -> web.Response:
    return web.Response(body=orjson.dumps(state), status=status, content_type="application/json")
