"""Answers made smaller for who takes them so: zstd, Brotli or gzip, by `Accept-Encoding`.

Only JSON, and only what is large: documents keep their bytes, so that ranges and strong ETags hold. What is
compressed for more than a moment is compressed beside the event loop.
https://www.rfc-editor.org/rfc/rfc9110#section-12.5.3
"""

from __future__ import annotations

import asyncio
import importlib
import zlib
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from aiohttp import hdrs, web

from api.http.app_keys import SETTINGS
from api.http.headers import listed
from api.http.pretty import indented, wants_pretty
from api.http.routing import ROWS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from aiohttp.typedefs import Handler

    Compressor = Callable[[bytes], bytes]

BESIDE_BYTES: Final = 32_768
"""Larger ones are compressed in a thread: gzip makes about 100 bytes of them in a microsecond."""
_TYPES: Final = frozenset({"application/fhir+json", "application/json", "application/json-patch+json"})
_LEVEL: Final = 1
_BROTLI_QUALITY: Final = 3
_GZIP: Final = 31
"""Window bits with a gzip header."""


def _gzip(body: bytes) -> bytes:
    return zlib.compress(body, _LEVEL, wbits=_GZIP)


def _found() -> Iterator[tuple[str, Compressor]]:
    """Content codings that this Python has, the best first."""
    for name in ("compression.zstd", "backports.zstd"):
        try:
            library = importlib.import_module(name)
        except ImportError:
            continue
        yield "zstd", library.compress
        break
    try:
        brotli: Any = importlib.import_module("brotli")
    except ImportError:
        pass
    else:
        yield "br", lambda body: brotli.compress(body, quality=_BROTLI_QUALITY)
    yield "gzip", _gzip


COMPRESSORS: Final[Mapping[str, Compressor]] = dict(_found())
"""Compressors by content coding, in the order in which they are chosen when a client takes several alike."""


@web.middleware
async def compress(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Indent the answer if that is asked for, and compress it if it is large and its client takes it so."""
    response = await handler(request)
    if not isinstance(response, web.Response) or not _is_changeable(response):
        return response
    if wants_pretty(request.rel_url.raw_query_string):
        await _indent(response)
    least = request.app[SETTINGS].compress_bytes_min
    body = response.body
    if least is None or not isinstance(body, bytes) or len(body) < least:
        return response
    _vary(response)
    coding = chosen(listed(request, hdrs.ACCEPT_ENCODING) or "")
    if coding is None:
        return response
    row = request.app[ROWS].get(request.match_info.route)
    shared = row is not None and row.open
    response.body = await _compressed(body, coding, shared=shared)
    response.headers[hdrs.CONTENT_ENCODING] = coding
    return response


async def _indent(response: web.Response) -> None:
    body = response.body
    if isinstance(body, bytes):
        beside = len(body) > BESIDE_BYTES
        response.body = await asyncio.to_thread(indented, body) if beside else indented(body)


async def _compressed(body: bytes, coding: str, *, shared: bool) -> bytes:
    """`shared`: everybody gets the same, so that it is worth remembering."""
    make = _remembered if shared else _made
    return make(body, coding) if len(body) <= BESIDE_BYTES else await asyncio.to_thread(make, body, coding)


def _made(body: bytes, coding: str) -> bytes:
    return COMPRESSORS[coding](body)


@lru_cache(maxsize=16)
def _remembered(body: bytes, coding: str) -> bytes:
    """Compressed answers of `/metadata` and its like."""
    return COMPRESSORS[coding](body)


def _is_changeable(response: web.Response) -> bool:
    """Whether the bytes of the answer may be others that mean the same."""
    etag = response.headers.get(hdrs.ETAG, "W/")
    return (
        response.content_type in _TYPES
        and response.status != web.HTTPPartialContent.status_code
        and hdrs.CONTENT_ENCODING not in response.headers
        and hdrs.ACCEPT_RANGES not in response.headers
        and etag.startswith("W/")
    )


def _vary(response: web.Response) -> None:
    named = response.headers.get(hdrs.VARY)
    response.headers[hdrs.VARY] = f"{named}, {hdrs.ACCEPT_ENCODING}" if named else hdrs.ACCEPT_ENCODING


@lru_cache(maxsize=256)
def chosen(accept: str) -> str | None:
    """The coding that a client likes best of ours; None: it takes none, or prefers the answer as it is."""
    weights: dict[str, float] = {}
    for part in accept.lower().split(","):
        name, _, parameter = (text.strip() for text in part.partition(";"))
        weights[name] = _weight(parameter)
    ours = {name: weights.get(name, weights.get("*", 0.0)) for name in COMPRESSORS}
    best = max(ours.values())
    if best <= 0 or best < weights.get("identity", 0.0):
        return None
    return next(name for name, weight in ours.items() if weight == best)


def _weight(parameter: str) -> float:
    """The `q` of a coding; one that cannot be read takes nothing."""
    name, _, value = parameter.partition("=")
    if not parameter:
        return 1.0
    try:
        weight = float(value) if name.strip() == "q" else 0.0
    except ValueError:
        return 0.0
    return weight if 0 <= weight <= 1 else 0.0
