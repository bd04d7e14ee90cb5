"""A file of HL7 v2 cut into its messages as it is read. Pure."""

from __future__ import annotations

import re
from typing import IO, TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    import gzip
    from collections.abc import Iterator

READ_BYTES: Final = 262_144
LEADING: Final = b"\xef\xbb\xbf\x0b\r\n\t "
"""Bytes that may stand before a message and mean nothing."""
_START: Final = re.compile(rb"(?<=[\r\n\x0b])MSH(?=[^0-9A-Za-z\s])")
_LINE_END: Final = re.compile(rb"\r\n|[\r\n]")


class Chunk(NamedTuple):
    """A message in a file, or as much of one as may be in memory."""

    line: int
    """Number of its first line, from 1."""
    start: int
    end: int
    body: bytes
    is_whole: bool = True


def chunks(stream: IO[bytes] | gzip.GzipFile, largest: int) -> Iterator[Chunk]:
    """The messages of a file, in order; segments of batches stay with the message before them."""
    buffer, start, line = bytearray(), 0, 1
    is_over = skipping = False
    while not is_over:
        read_ = stream.read(READ_BYTES)
        is_over, seen = not read_, max(1, len(buffer) - 4)
        buffer += read_
        while (found := _START.search(buffer, seen)) or (is_over and buffer):
            end = found.start() if found else len(buffer)
            body = bytes(buffer[:end])
            if not skipping and body.strip(LEADING):
                yield Chunk(line, start, start + end, body[:largest], is_whole=end <= largest)
            skipping, seen = False, 1
            line, start = line + len(_LINE_END.findall(body)), start + end
            del buffer[:end]
        if len(buffer) > largest:
            if not skipping:
                yield Chunk(line, start, start + len(buffer), b"", is_whole=False)
            skipping = True
            line, start = line + len(_LINE_END.findall(buffer[:-4])), start + len(buffer) - 4
            del buffer[:-4]
