"""Requests that are handed over, on the side of the annex: as they came in, with who asks and for whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy
from typing_extensions import override

from api.annex.handed import FIELD_BYTES_MAX, HEADER, TENANT_HEADER, Handed
from api.http.app_keys import REQUEST_ID
from api.server.requests import Meant, server_of
from ingest.http.app_keys import CAME_IN, PRINCIPAL, TENANT
from ingest.http.body import BODY, let_go

if TYPE_CHECKING:
    from aiohttp.http_parser import RawRequestMessage
    from aiohttp.typedefs import Handler


@web.middleware
async def taken(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Take in the body, whose room is held by who has handed it over, and let go of it in the end.

    A refusal leads to its request, and back, until garbage is collected; and few objects are made here.
    """
    request[BODY] = await _whole(request)
    try:
        return await handler(request)
    finally:
        let_go(request)


async def _whole(request: web.Request) -> bytearray:
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
    return body


async def say_tenant(request: web.Request, response: web.StreamResponse) -> None:
    """Name the tenant to the process beside this one; an `on_response_prepare` of the application."""
    if TENANT in request:
        response.headers[TENANT_HEADER] = str(request[TENANT].tenant)


def _as_it_came(message: RawRequestMessage) -> Meant:
    """A request as it came in to the process beside this one."""
    handed = Handed.read(message.headers[HEADER])
    message = message._replace(
        method=handed.method,
        path=handed.path,
        url=handed.url,
        headers=CIMultiDictProxy(CIMultiDict(handed.headers)),
    )
    known: dict[web.RequestKey[Any], Any] = {
        REQUEST_ID: handed.request_id,
        CAME_IN: handed.came_in,
        PRINCIPAL: handed.caller,
    }
    return Meant(message, known if handed.tenant is None else {**known, TENANT: handed.tenant})


class AnnexRunner(web.AppRunner):
    """aiohttp's runner of an application, for requests that are handed over."""

    __slots__ = ()

    def __init__(self, app: web.Application, **kwargs: Any) -> None:  # noqa: ANN401 -- aiohttp's own
        super().__init__(app, max_field_size=FIELD_BYTES_MAX, auto_decompress=False, **kwargs)

    @override
    async def _make_server(self) -> web.Server:
        return server_of(await super()._make_server(), web.Server, _as_it_came)
