"""The name of a request in our logs and in the sender's: taken from `X-Request-Id`, or made here."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from api.http.app_keys import REQUEST_ID
from ingest.unique import unique_id

if TYPE_CHECKING:
    from aiohttp import web

HEADER: Final = "X-Request-Id"
SAFE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""Anything else could carry a value, or a line end, into logs and headers."""


def take_request_id(request: web.Request) -> str:
    """Give the request its id: the sender's when it is safe, else a new one."""
    sent = request.headers.get(HEADER)
    request_id = sent if sent is not None and SAFE.fullmatch(sent) else unique_id()
    request[REQUEST_ID] = request_id
    return request_id


async def echo_request_id(request: web.Request, response: web.StreamResponse) -> None:
    """Say the id on every response, streams too; the application's `on_response_prepare`."""
    request_id = request.get(REQUEST_ID)
    if request_id is not None:
        response.headers[HEADER] = request_id
