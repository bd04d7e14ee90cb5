"""The middleware of a service that is traced: a span for each request, and one for each of its parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiohttp import web

from api.http.app_keys import REQUEST_ID, TRACE_ID, TRACE_PARENT, TRACES
from ingest.http.app_keys import PRINCIPAL, TENANT
from store.spans import traced

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler

_FORGIVEN: Final = "{slash}"
"""Trailing slash of a path, as a template has it."""


@web.middleware
async def trace(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Trace the request when its caller's trace, or chance, says so."""
    route = request.match_info.route.resource
    template = "" if route is None else route.canonical.removesuffix(_FORGIVEN)
    with request.app[TRACES].request(request.method, template, request.headers) as spans:
        if spans is None:
            return await handler(request)
        request[TRACE_ID], request[TRACE_PARENT] = spans.trace_id, spans.parent
        status = 0
        try:
            with traced(spans):
                response = await handler(request)
            status = response.status
            return response
        finally:
            principal, tenant = request.get(PRINCIPAL), request.get(TENANT)
            spans.end(
                status,
                {
                    "dod.request_id": request.get(REQUEST_ID),
                    "dod.tenant": None if tenant is None else str(tenant.tenant),
                    "dod.client": None if principal is None else principal.client,
                },
            )
