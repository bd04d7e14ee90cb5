"""The outermost middleware: names the request, counts it and logs one line when it is answered."""

from __future__ import annotations

import logging
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from aiohttp import hdrs, web

from api.http.app_keys import METRICS, REQUEST_ID, TRACE_ID
from api.http.routing import ROWS, Group
from api.middleware.request_id import take_request_id
from api.server.logs import log_fields
from ingest.http.app_keys import PRINCIPAL, TENANT
from ingest.http.body import let_go

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler

LOG: Final = logging.getLogger("api.request")
NO_ROUTE: Final = "none"
FIRST_REFUSAL: Final = 300
"""Lowest status of an answer that says that nothing was stored."""
ABANDONED: Final = 499
"""No response came out: the client went away or the process stopped."""


@web.middleware
async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Count and log the request, whatever becomes of it."""
    start = perf_counter()
    take_request_id(request)
    metrics = request.app[METRICS]
    metrics.in_flight += 1
    status, bytes_out = ABANDONED, None
    try:
        response = await handler(request)
        status = response.status
        bytes_out = response.body_length if response.prepared else response.content_length
        return response
    finally:
        let_go(request)
        seconds = perf_counter() - start
        metrics.in_flight -= 1
        row = request.app[ROWS].get(request.match_info.route)
        route = row.name if row is not None else NO_ROUTE
        method = request.method if request.method in hdrs.METH_ALL else "other"
        metrics.observe(route, method, status, seconds, trace_id=request.get(TRACE_ID))
        if row is not None and row.group is Group.WRITE and status < FIRST_REFUSAL and PRINCIPAL in request:
            metrics.pushed(request[PRINCIPAL].client)
        log_fields(LOG, "request", _fields(request, route, method, status, seconds, bytes_out))


def _fields(  # noqa: PLR0913 (as many as the line has parts)
    request: web.Request, route: str, method: str, status: int, seconds: float, bytes_out: int | None
) -> dict[str, Any]:
    """Fields of the log line: nothing of the path, the query, the body or a header's value."""
    principal, tenant = request.get(PRINCIPAL), request.get(TENANT)
    return {
        "request_id": request[REQUEST_ID],
        **({"trace_id": request[TRACE_ID]} if TRACE_ID in request else {}),
        "route": route,
        "method": method,
        "tenant": None if tenant is None else str(tenant.tenant),
        "client": None if principal is None else principal.client,
        "status": status,
        "duration_ms": round(seconds * 1000, 2),
        "bytes_in": request.content_length,
        "bytes_out": bytes_out,
    }
