"""`_pretty=true`: JSON with line ends and indentation, for people. Every literal stays as it is written.

https://hl7.org/fhir/R4/http.html#parameters
"""

from __future__ import annotations

import re
from itertools import chain, pairwise
from typing import Final

from store.search.parsing.query_text import value_of

BYTES_MAX: Final = 1_000_000
"""Bytes past which nobody reads, and indenting would take seconds: longer answers stay on their line."""
_TOKEN: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\],:]|[^\s"{}\[\],:]+', re.DOTALL)
"""A token. Strings in runs: byte by byte, one of some megabytes would let nobody else work for seconds."""
_EMPTY: Final = {b"{": b"}", b"[": b"]"}


def wants_pretty(query: str) -> bool:
    """Whether a query string asks for it."""
    return value_of(query, "_pretty") == "true"


def indented(body: bytes) -> bytes:
    """The JSON on lines of its own, two spaces for each level."""
    if len(body) > BYTES_MAX:
        return body
    parts: list[bytes] = []
    depth = 0
    for token, following in pairwise(chain((match[0] for match in _TOKEN.finditer(body)), [b""])):
        if token in _EMPTY:
            depth += 1
            parts.append(token if following == _EMPTY[token] else token + _line(depth))
        elif token in {b"}", b"]"}:
            depth -= 1
            opened = parts[-1] in _EMPTY if parts else False
            parts.append(token if opened else _line(depth) + token)
        elif token == b",":
            parts.append(token + _line(depth))
        else:
            parts.append(b": " if token == b":" else token)
    return b"".join(parts) + b"\n"


def _line(depth: int) -> bytes:
    return b"\n" + b"  " * depth
