"""aiohttp's test server with our runner, as `dod serve` has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp.test_utils import TestServer
from typing_extensions import override

from api.server.runner import FhirRunner

if TYPE_CHECKING:
    from aiohttp import web

    from api.server.connection_limits import Limits


class Server(TestServer):
    """Serves an application on a port of its own."""

    def __init__(self, app: web.Application, *, limits: Limits | None = None) -> None:
        super().__init__(app)
        self._limits = limits

    @override
    async def _make_runner(self, **kwargs: Any) -> FhirRunner:
        # aiohttp's cancels the handler of a client that has gone, and would hide what goes on for it.
        return FhirRunner(self.app, limits=self._limits, **{**kwargs, "handler_cancellation": False})
