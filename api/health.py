"""The admin endpoint: `/livez`, `/readyz`, `/metrics`. No token, so never on the public port."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import orjson
from aiohttp import hdrs, web
from prometheus_client.aiohttp import make_aiohttp_handler

from api.http.app_keys import READINESS, REGISTRY
from api.middleware.answer_headers import say_server
from api.processes.beside import BESIDE
from api.processes.families import Families, joined, rows_of
from store.detached import detached

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from aiohttp.typedefs import Handler

    from api.processes.families import Row


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


async def read_alone(request: web.Request) -> web.StreamResponse:
    """405 for whoever asks a probe to do something."""
    raise web.HTTPMethodNotAllowed(request.method, (hdrs.METH_GET, hdrs.METH_HEAD))


def add_probes(app: web.Application, probes: Mapping[str, Handler]) -> None:
    """Have an application answer at these paths, and say so anywhere else."""
    for path, handler in probes.items():
        app.router.add_get(path, handler)
        app.router.add_route(hdrs.METH_ANY, path, read_alone)
    app.router.add_route(hdrs.METH_ANY, "/{rest:.*}", elsewhere)


def shared(handler: Handler) -> Handler:
    """The handler, called once for all who ask the same at the same moment.

    To write out all metrics takes tens of milliseconds of the event loop, and fifty may ask at once.
    """
    under_way: dict[tuple[str, str], asyncio.Task[web.StreamResponse]] = {}

    async def made(request: web.Request, asked: tuple[str, str]) -> web.StreamResponse:
        await asyncio.sleep(0)  # Until all have come who come now.
        del under_way[asked]
        return await handler(request)

    async def answer(request: web.Request) -> web.StreamResponse:
        asked = request.rel_url.raw_query_string, request.headers.get(hdrs.ACCEPT, "")
        if asked not in under_way:
            under_way[asked] = detached(made(request, asked))
        response = await asyncio.shield(under_way[asked])
        if not isinstance(response, web.Response):
            return response
        own = web.Response(body=response.body, status=response.status, headers=response.headers)
        own.enable_compression()
        return own

    return answer


async def metrics(request: web.Request) -> web.StreamResponse:
    """All that was counted, by the processes beside this one too."""
    registry = request.app[REGISTRY]
    others = await _beside(request.app)
    return await make_aiohttp_handler(joined(registry, others) if others else registry)(request)


async def families(request: web.Request) -> web.Response:
    """The metrics of this process, and of those that it started, for whoever adds them up."""
    beside = Families()
    for rows in await _beside(request.app):
        beside.take(rows)
    own = rows_of(request.app[REGISTRY].collect())
    body = orjson.dumps({"own": own, "beside": beside.rows()})
    return web.Response(body=body, content_type="application/json")


async def _beside(app: web.Application) -> Sequence[Iterable[Row]]:
    """Metrics of the processes that this one started: those that run, and those that have ended."""
    said = await asyncio.gather(*[one.rows() for one in app.get(BESIDE, ())])
    return [rows for some in said for rows in some]


def create_admin_app(app: web.Application, more: Sequence[web.RouteDef] = ()) -> web.Application:
    """The admin application beside a service application, sharing its readiness and metrics."""
    admin = web.Application()
    admin[READINESS] = app[READINESS]
    admin[REGISTRY] = app[REGISTRY]
    if BESIDE in app:
        admin[BESIDE] = app[BESIDE]
    admin.on_response_prepare.append(say_server)
    admin.router.add_routes(more)
    add_probes(admin, {"/livez": livez, "/readyz": readyz, "/metrics": shared(metrics)})
    return admin


def _json(state: Mapping[str, object], *, status: int) -> web.Response:
    return web.Response(body=orjson.dumps(state), status=status, content_type="application/json")
