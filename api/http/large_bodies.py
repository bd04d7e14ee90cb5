"""Large bodies of pushes: answered by a second process, the annex, where there is one.

To parse and prepare them keeps the interpreter to itself, a thread beside the event loop or not. Who sends,
what for, and how much at once is decided here all the same, before anything is handed over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from aiohttp import hdrs, web

from api.http.app_keys import SETTINGS
from api.http.fhir_json import FHIR_BODIES, JSON_BODIES, PATCH_BODIES, refuse_unknown_encoding
from ingest.feeds.handler import V2_BODIES
from ingest.http.body import body_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiohttp.typedefs import Handler

    from api.processes.families import Row


class Annex(Protocol):
    """The second process, as this one sees it."""

    def foresee(self) -> None:
        """Begin it, if it does not run: a large body is on its way."""

    async def answer(self, request: web.Request) -> web.Response:
        """Answer to a request whose body has come. Raises ServiceError `unavailable`."""

    async def rows(self) -> list[Iterable[Row]]:
        """Metric rows of the annex: all that it has counted since it began, and its predecessors."""


ANNEX: Final[web.AppKey[Annex]] = web.AppKey("annex")
"""Only where large bodies are handed over."""
PARSED: Final = FHIR_BODIES | JSON_BODIES | PATCH_BODIES | V2_BODIES
"""Media types of bodies that are parsed. Documents and forms are hardly looked at, and stay."""


OBJECTS_MAX: Final = 3_000
"""Objects of a body above which it is large, however short: empty entries are an answer each."""
_OBJECT_BYTES: Final = 3
"""Fewest bytes of an object among others."""


async def answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The handler's answer, or the annex's if the body is large."""
    annex = request.app.get(ANNEX)
    if annex is None or not _may_be_large(request) or request.content_type not in PARSED:
        return await handler(request)
    refuse_unknown_encoding(request)
    if (request.content_length or 0) > request.app[SETTINGS].large_body_bytes:
        annex.foresee()
    if is_large(await body_of(request), request.app[SETTINGS].large_body_bytes):
        return await annex.answer(request)
    return await handler(request)


def is_large(body: bytearray, bytes_max: int) -> bool:
    """Whether a body takes long to parse and to answer, as far as its bytes say."""
    return len(body) > bytes_max or body.count(b"{") > OBJECTS_MAX


def _may_be_large(request: web.Request) -> bool:
    """Whether the body may turn out to be large, as far as the header fields say."""
    size = request.content_length
    if size is None:
        return request.can_read_body
    least = min(request.app[SETTINGS].large_body_bytes, OBJECTS_MAX * _OBJECT_BYTES)
    return size > least or hdrs.CONTENT_ENCODING in request.headers
