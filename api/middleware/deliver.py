"""Large answers take room before they are compressed and sent, and give it back whatever becomes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from api.http.sending import hold_whole, send
from ingest.http.answer_room import let_go

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler


@web.middleware
async def hold_answers(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Take room for the answer, or raise the refusal."""
    response = await handler(request)
    hold_whole(request, response)
    return response


@web.middleware
async def send_in_parts(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Send a large answer here, as it is after all others have looked at it."""
    try:
        return await send(request, await handler(request))
    finally:
        let_go(request)
