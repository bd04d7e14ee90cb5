"""The server in front of the application: what is not HTTP never reaches a middleware, and is refused here.

aiohttp takes any number of connections, and a head of any size as a whole.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from aiohttp import HttpVersion11, hdrs, web
from typing_extensions import override

from api.server.connection import SERVER, Connection
from api.server.connection_limits import Connections, Limits
from api.server.heads import FIELD_BYTES_MAX, FIELDS_MAX, LINE_BYTES_MAX, fault_of
from api.server.requests import as_clients_mean, server_of
from ingest.accepting import Handshake
from ingest.http.outcome import issue_of_status, render
from ingest.http.replies import fhir_json

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from ssl import SSLContext

    from aiohttp.web_request import BaseRequest

    from api.server.requests import Handler

AT_ONCE_SECONDS: Final = 0.05
"""Shortest shutdown: aiohttp takes 0 for \"without end\"."""
BODY_BYTES: Final = 65_536
"""Bytes of a body that wait to be taken, of each connection; about twice as many are not read any further."""
LOG: Final = logging.getLogger("api.runner")


class Server(web.Server):
    """Makes our connections; remembers those that are open."""

    admitted: Connections

    @override
    def pre_shutdown(self) -> None:
        self.admitted.ending = True
        super().pre_shutdown()

    @override
    async def shutdown(self, timeout: float | None = None) -> None:
        await super().shutdown(timeout)
        self.admitted.close()

    @override
    def __call__(self) -> web.RequestHandler:
        return Connection(self, self.admitted, loop=self._loop, **self._kwargs)


def _within_bounds(handler: Handler) -> Handler:
    """The handler of requests whose head is within bounds; all others are refused."""

    async def handle(request: BaseRequest) -> web.StreamResponse:
        if isinstance(request.protocol, Connection):
            await request.protocol.turn()
        is_http_11 = request.version >= HttpVersion11
        fault = fault_of(request.rel_url.raw_path, request.raw_headers, is_http_11=is_http_11)
        if fault is None:
            return await handler(request)
        LOG.info("a head out of bounds", extra={"status": fault.status})
        body = render((issue_of_status(fault.status, fault.text),))
        headers: dict[str, str] = {hdrs.SERVER: SERVER, hdrs.CACHE_CONTROL: "no-store"}
        response = fhir_json(body, status=fault.status, headers=headers)
        response.force_close()  # Where its body ends is not sure.
        return response

    return handle


def shaking_hands(
    server: web.Server, context: SSLContext | None, seconds: float
) -> Callable[[], asyncio.Protocol]:
    """Maker of the server's connections, behind a handshake if there is a certificate."""
    if context is None:
        return server
    assert isinstance(server, Server)  # noqa: S101 -- no other one is behind TLS
    return partial(Handshake, server.admitted, server, context, seconds)


class FhirRunner(web.AppRunner):
    """aiohttp's runner of an application, with our connections."""

    __slots__ = ("_limits",)

    def __init__(
        self,
        app: web.Application,
        *,
        limits: Limits | None = None,
        **kwargs: Any,  # noqa: ANN401 -- aiohttp's own
    ) -> None:
        self._limits = limits or Limits()
        ours = {
            "auto_decompress": False,  # `ingest.http.body` does, for whoever may send.
            "keepalive_timeout": self._limits.idle_seconds,
            "lingering_time": 0.0,
            "max_field_size": FIELD_BYTES_MAX,
            "max_headers": FIELDS_MAX,
            "max_line_size": LINE_BYTES_MAX,
            "read_bufsize": BODY_BYTES,
        }
        super().__init__(app, **{**ours, **kwargs})

    def let_go(self) -> None:
        """Make each answer the last of its connection: whoever sends at the end would lose a request."""
        server = cast("Server | None", self.server)
        if server is not None:
            server.admitted.draining = True

    @override
    async def _make_server(self) -> web.Server:
        server = server_of(await super()._make_server(), Server, as_clients_mean, _within_bounds)
        server.admitted = Connections(self._limits)
        return server
