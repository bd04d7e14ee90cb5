"""aiohttp's test server with our runner, as `dod serve` has it."""

from __future__ import annotations

from typing import Any

from aiohttp.test_utils import TestServer
from typing_extensions import override

from api.runner import FhirRunner


class Server(TestServer):
    """Serves an application on a port of its own."""

    @override
    async def _make_runner(self, **kwargs: Any) -> FhirRunner:
        return FhirRunner(self.app, **kwargs)
