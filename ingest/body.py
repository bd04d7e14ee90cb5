"""The body of a request, read and handed over: nothing of it stays behind.

aiohttp's own `read` keeps the body in the request, and an idle connection keeps the request: sixty-four
senders that wait for their next message would hold forty megabytes each.
"""

from __future__ import annotations

from aiohttp import web


async def read_body(request: web.Request) -> bytearray:
    """All of it, decoded, to be called once. Raises 413 past the limit of the application."""
    body, limit = bytearray(), request.client_max_size
    while chunk := await request.content.readany():
        body += chunk
        if limit and len(body) > limit:
            raise web.HTTPRequestEntityTooLarge(max_size=limit, actual_size=len(body))
    return body
