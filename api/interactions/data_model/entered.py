"""A request that has entered its tenant behind its body: on record as one of the tenant's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from api.http.routing import ROWS
from api.middleware.audit import access_of
from ingest.http.app_keys import AUDITED, TENANT
from ingest.http.outcome import STATUS
from store.errors import Category, ServiceError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


async def in_tenant(
    request: web.Request, answer: Callable[[], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """The answer, with the access on record."""
    row = request.app[ROWS][request.match_info.route]
    if not row.by_body:  # The middlewares have seen to it.
        return await answer()
    access = access_of(request, row, request[TENANT].tenant)
    try:
        response = await answer()
    except ServiceError as error:
        await _finish(request, STATUS[error.category])
        raise
    except web.HTTPException as error:
        await _finish(request, error.status)
        raise
    except Exception:
        await _finish(request, STATUS[Category.FAULT])
        raise
    if access is not None:
        await access.finish(response.status)
    return response


async def _finish(request: web.Request, status: int) -> None:
    if AUDITED in request:
        await request[AUDITED].finish(status)
