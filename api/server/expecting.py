"""`Expect: 100-continue`, answered when the body is wanted; aiohttp says it at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import hdrs
from multidict import CIMultiDict, CIMultiDictProxy

from api.server.targets import in_origin_form
from ingest.http.body import EXPECTS

if TYPE_CHECKING:
    import asyncio

    from aiohttp import StreamReader, web
    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.http_parser import RawRequestMessage
    from aiohttp.web_request import BaseRequest


def patient(made: web.Server) -> Any:  # noqa: ANN401 -- aiohttp's own type is private
    """A factory of requests in origin form that say `100 Continue` when their body is wanted.

    Any other expectation is passed over, as RFC 9110 allows: aiohttp's refusal repeats the header.
    """

    def make(
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> BaseRequest:
        message = in_origin_form(message)
        expected = message.headers.get(hdrs.EXPECT)
        if expected is None:
            return made.request_factory(message, payload, protocol, writer, task)
        headers = CIMultiDict(message.headers)
        del headers[hdrs.EXPECT]
        waiting = message._replace(headers=CIMultiDictProxy(headers))
        request = made.request_factory(waiting, payload, protocol, writer, task)
        if expected.lower() == "100-continue":
            request[EXPECTS] = True
        return request

    return make
