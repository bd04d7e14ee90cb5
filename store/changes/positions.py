"""Positions as tokens: what a client keeps and gives back, on any replica."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from typing import Final

from store.changes.changes import Position

_WRITTEN: Final = re.compile(rb"1\.(0|[1-9][0-9]{0,17})\.([0-9a-f]{1,8})")
"""Form of a token beneath its base64: its own version, the number, the mark."""


def token_of(position: Position) -> str:
    """Token of a position."""
    return urlsafe_b64encode(b"1.%d.%x" % position).rstrip(b"=").decode()


def position_of(token: str) -> Position:
    """Position of a token. Raises ValueError with the rule that is broken."""
    try:
        written = urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
    except (NotBase64, ValueError):
        written = b""
    found = _WRITTEN.fullmatch(written)
    if found is None:
        raise ValueError("is no token that this server gave")
    return Position(int(found[1]), int(found[2], 16))
