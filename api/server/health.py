"""The admin endpoint: `/livez`, `/readyz`, `/metrics`. No token, so never on the public port."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson
from aiohttp import web
from prometheus_client.aiohttp import make_aiohttp_handler

from api.http.app_keys import READINESS, REGISTRY
from api.middleware.answer_headers import say_server
from api.ttl_cache import ShortMemory
from store.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

LOG: Final = logging.getLogger("api.health")
PING_SECONDS: Final = 2.0
"""How long a good ping counts. Probes come from several sides; the database is asked once."""


@dataclass(slots=True)
class Readiness:
    """Whether traffic should come here: started, not draining, and the database answers."""

    started: bool = False
    draining: bool = False
    reasons: tuple[str, ...] = ()
    """Faults of the database, a sentence each: no value, user or password."""
    _pings: ShortMemory[str, bool] | None = None

    def told(self, reasons: Sequence[str]) -> None:
        """Remember what is wrong with the database from now on."""
        self.reasons = tuple(reasons)

    def watch(self, ping: Callable[[], Awaitable[None]]) -> None:
        """Ask this database from now on."""

        async def ask(_: str) -> bool:
            await ping()
            return True

        self._pings = ShortMemory(ask, seconds=PING_SECONDS, size_max=1)

    async def state(self) -> dict[str, bool]:
        """What `/readyz` says; `ready` is the answer, the others are why."""
        state = {
            "started": self.started,
            "serving": not self.draining,
            "database": await self._database(),
        }
        return {"ready": all(state.values()), **state}

    async def _database(self) -> bool:
        if self._pings is None:
            return False
        try:
            return bool(await self._pings.get("ping"))
        except ServiceError as error:
            LOG.warning("the database does not answer", extra={"category": error.category.value})
            return False


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


def create_admin_app(app: web.Application) -> web.Application:
    """The admin application beside a service application, sharing its readiness and metrics."""
    admin = web.Application()
    admin[READINESS] = app[READINESS]
    admin[REGISTRY] = app[REGISTRY]
    admin.on_response_prepare.append(say_server)
    admin.router.add_get("/livez", livez)
    admin.router.add_get("/readyz", readyz)
    admin.router.add_get("/metrics", make_aiohttp_handler(app[REGISTRY]))
    admin.router.add_route("*", "/{rest:.*}", elsewhere)
    return admin


def _json(state: Mapping[str, object], *, status: int) -> web.Response:
    return web.Response(body=orjson.dumps(state), status=status, content_type="application/json")
