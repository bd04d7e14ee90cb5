"""Everything a database holds, looked through for given texts: as a thief with the disk would, and thorough.

Each document of every collection, keys and ids included; bytes as they are and unpacked (zlib, gzip), files
and bodies in pieces put together, JSON escapes undone, base64 within anything decoded.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import re
import zlib
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from store.mongo.indexes import CHUNKS, DEAD_LETTER_BODIES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from store.mongo.driver.client import Database

BASE64 = re.compile(rb"[A-Za-z0-9+/]{12,}={0,2}")
ESCAPE = re.compile(rb"\\u([0-9a-fA-F]{4})")
PIECES = {CHUNKS: ("files_id", "n"), DEAD_LETTER_BODIES: ("set", "_id")}
DEPTH_MAX = 4


async def found(database: Database, texts: Iterable[str]) -> set[tuple[str, str]]:
    """(text, collection) wherever one of the texts is."""
    wanted = {text: text.encode() for text in texts}
    hits: set[tuple[str, str]] = set()
    for name in sorted(await database.list_collection_names()):
        pieces: dict[Any, list[tuple[Any, bytes]]] = defaultdict(list)
        async for document in database[name].find({}):
            left = {text: sought for text, sought in wanted.items() if (text, name) not in hits}
            hits |= {(text, name) for text in _in(document, left)}
            if name in PIECES:
                of, order = PIECES[name]
                pieces[document[of]].append((document[order], document["data"]))
        for parts in pieces.values():
            whole = b"".join(data for _, data in sorted(parts))
            hits |= {(text, name) for text in _in(whole, wanted)}
    return hits


def _in(value: object, wanted: Mapping[str, bytes]) -> set[str]:
    return {text for layer in _layers(value) for text, sought in wanted.items() if sought in layer}


def _layers(value: object) -> Iterator[bytes]:
    for plain in _leaves(value):
        yield from _unwrapped(plain, 0)


def _leaves(value: object) -> Iterator[bytes]:
    if isinstance(value, bytes):
        yield value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield str(name).encode()
            yield from _leaves(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _leaves(inner)
    else:
        yield str(value).encode()


def _unwrapped(layer: bytes, depth: int) -> Iterator[bytes]:
    yield layer
    if depth == DEPTH_MAX:
        return
    for inner in _inner(layer):
        yield from _unwrapped(inner, depth + 1)


def _inner(layer: bytes) -> Iterator[bytes]:
    for unpack in (zlib.decompress, gzip.decompress):
        try:
            yield unpack(layer)
        except (zlib.error, OSError, EOFError):
            continue
    if b"\\u" in layer:
        yield ESCAPE.sub(lambda code: chr(int(code[1], 16)).encode(errors="replace"), layer)
    for digits in BASE64.findall(layer):
        try:
            yield base64.b64decode(digits[: len(digits) // 4 * 4])
        except binascii.Error:
            continue
