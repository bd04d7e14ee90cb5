"""The server in front of the application: what is not HTTP never reaches a middleware, and is refused here.

aiohttp answers with the line it could not read, in plain text: an `Authorization` header, a patient's name.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from aiohttp import web
from typing_extensions import override

from ingest.outcome import DEFAULT_ISSUE, issue_of_status, render
from ingest.replies import fhir_json
from store.errors import Category

if TYPE_CHECKING:
    from aiohttp.web_request import BaseRequest

LOG: Final = logging.getLogger("api.runner")
NOT_HTTP: Final = "The request is not HTTP/1.1 as RFC 9112 has it, or a line of it is too long."


class _Connection(web.RequestHandler):
    """A connection of aiohttp's that says its refusals as OperationOutcomes."""

    __slots__ = ()

    @override
    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if status >= web.HTTPInternalServerError.status_code:
            super().handle_error(request, status, exc, message)  # Logs, gives up when an answer has begun.
            issue = DEFAULT_ISSUE[Category.FAULT]
        else:
            if request.writer.output_size > 0:
                raise ConnectionError(NOT_HTTP)
            LOG.info(
                "not HTTP", extra={"status": status}
            )  # aiohttp's ERROR would wake somebody for a port scan.
            issue = issue_of_status(status, NOT_HTTP)
        response = fhir_json(render((issue,)), status=status)
        response.force_close()
        return response


class _Server(web.Server):
    @override
    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class FhirRunner(web.AppRunner):
    """aiohttp's runner of an application, with our connections."""

    __slots__ = ()

    @override
    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(
            made.request_handler,
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            loop=made._loop,  # noqa: SLF001 -- aiohttp has no other way to another class of connections
            **made._kwargs,  # noqa: SLF001
        )
