"""Content codings of bodies, taken off step by step: no step gives much more than it is asked for.

Pure. The end is checked: a stream that is cut, has something behind its end or is none at all is refused,
never taken for the whole.
https://www.rfc-editor.org/rfc/rfc9110#section-8.4, https://www.rfc-editor.org/rfc/rfc1952#section-2.2
"""

from __future__ import annotations

import importlib
import zlib
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

MEMBERS_MAX: Final = 1_000
"""Members of one gzip stream. Empty ones cost time and bring nothing; block gzip has one for each 64 KB."""
WINDOW_BYTES: Final = 16_384
"""Compressed bytes given to a stream at once: behind the end of each member the rest of them is copied."""
STEPS_AT_ONCE: Final = 32
"""Members, or windows, that one call looks at."""
ZSTD_WINDOW_LOG: Final = 23
"""Largest window of a zstd stream, 8 MB as RFC 9659 has it: with 128 MB a stream keeps all its output."""
_GZIP: Final = zlib.MAX_WBITS | 16
_DEFLATE: Final = 8
"""Low four bits of the first byte of a zlib stream; without them it is a bare deflate stream."""


class BrokenError(Exception):
    """The bytes are no whole stream of their coding."""


class Inflater:
    """The bytes of a body without their coding."""

    def __init__(self, coding: str) -> None:
        self._open, self._members_max = CODINGS[coding]
        self._stream: Any = None
        self._members = 0
        self._given = b""
        self._at = 0
        """Place in what was given, of what no stream has taken yet."""
        self._is_full = False

    def give(self, data: bytes) -> None:
        """Add compressed bytes; those given before have been taken."""
        self._given = self._given[self._at :] + data
        self._at = 0

    @property
    def has_more(self) -> bool:
        """Whether `take` has to be called again before more is given."""
        return self._at < len(self._given) or self._is_full

    def take(self, most: int) -> bytes:
        """Inflate at most so many bytes; Brotli's library rounds up to 32 KiB. Raises BrokenError."""
        try:
            taken = self._taken(most)
        except BrokenError:
            raise
        except Exception as error:  # Each library has an error of its own.
            raise BrokenError from error
        self._is_full = len(taken) >= most
        return taken

    def _taken(self, most: int) -> bytes:
        """Inflated bytes, also of members that end meanwhile: each by itself would be a call of a thread."""
        taken = b""
        for _ in range(STEPS_AT_ONCE):
            window = self._given[self._at : self._at + WINDOW_BYTES]
            if self._stream is None:
                if not window:
                    break
                if self._members >= self._members_max:
                    raise BrokenError
                self._stream = self._open(window)
            piece, rest = _step(self._stream, window, most - len(taken))
            taken += piece
            self._at += len(window) - len(rest)
            if self._stream.eof:
                self._stream = None
                self._members += 1
            if len(taken) >= most or not window:
                break
        return taken

    def end(self) -> None:
        """Say that nothing more comes. Raises BrokenError when something is missing."""
        if self._stream is not None or not self._members:
            raise BrokenError


def _step(stream: Any, given: bytes, most: int) -> tuple[bytes, bytes]:  # noqa: ANN401 -- of several libraries
    """Bytes that were inflated, at most so many, and the rest of those given."""
    taken: bytes = stream.decompress(given, most)
    return taken, stream.unused_data if stream.eof else getattr(stream, "unconsumed_tail", b"")


class _Brotli:
    """A Brotli stream that looks like those of the standard library."""

    def __init__(self, library: Any) -> None:  # noqa: ANN401 -- has no types
        self._stream = library.Decompressor()
        self.unused_data = b""

    @property
    def eof(self) -> bool:
        return bool(self._stream.is_finished())

    def decompress(self, data: bytes, most: int) -> bytes:
        return bytes(self._stream.process(data, output_buffer_limit=most))


def _zstd(library: Any, _: bytes) -> object:  # noqa: ANN401 -- one of two
    return library.ZstdDecompressor(options={library.DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG})


def _deflated(start: bytes) -> object:
    is_wrapped = start[0] & 0xF == _DEFLATE
    return zlib.decompressobj(zlib.MAX_WBITS if is_wrapped else -zlib.MAX_WBITS)


def _optional() -> Iterator[tuple[str, tuple[Callable[[bytes], Any], int]]]:
    """Codings whose libraries are there, and can be asked for a part of their output."""
    for name in ("compression.zstd", "backports.zstd"):
        with suppress(ImportError):
            yield "zstd", (partial(_zstd, importlib.import_module(name)), MEMBERS_MAX)
            break
    try:
        brotli = importlib.import_module("brotli")
        brotli.Decompressor().process(b"", output_buffer_limit=1)
    except (ImportError, TypeError):
        return
    yield "br", (lambda _: _Brotli(brotli), 1)


_GZIPPED: Final = (lambda _: zlib.decompressobj(_GZIP), MEMBERS_MAX)
CODINGS: Final[Mapping[str, tuple[Callable[[bytes], Any], int]]] = {
    "gzip": _GZIPPED,
    "x-gzip": _GZIPPED,
    "deflate": (_deflated, 1),
    **dict(_optional()),
}
"""Opener of a stream of each coding, and how many streams may follow one another."""
