"""Plain JSON of the operations for operators: answers, and the size of a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson
from aiohttp import hdrs, web

from store.errors import Category, ServiceError
from store.fhir.issues import Issue

if TYPE_CHECKING:
    from collections.abc import Mapping

JSON: Final = "application/json"
PAGE_DEFAULT: Final = 50
PAGE_MAX: Final = 500
_DIGITS_MAX: Final = 9


def plain_json(content: Mapping[str, Any]) -> web.Response:
    """The answer; no cache keeps it."""
    body = orjson.dumps(content, option=orjson.OPT_UTC_Z)
    return web.Response(body=body, content_type=JSON, headers={hdrs.CACHE_CONTROL: "no-store"})


def count_of(request: web.Request) -> int:
    """The page size that `count` asks for. Raises ServiceError."""
    text = request.rel_url.query.get("count")
    if text is None:
        return PAGE_DEFAULT
    if not text.isascii() or not text.isdigit() or len(text) > _DIGITS_MAX or int(text) < 1:
        raise ServiceError(Category.INCORRECT, Issue("value", "`count` is a number from 1", ("count",)))
    return min(int(text), PAGE_MAX)
