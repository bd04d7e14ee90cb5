"""Files and batches of HL7 v2, taken apart into single messages. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_BATCH: Final = (b"FHS", b"BHS", b"BTS", b"FTS")
_SPACE: Final = b"\v\x1c \t\x00"
_FRAMING: Final = (b"\x0b", b"\x1c", b" ", b"\t", b"\x00")


def lines_of(data: bytes) -> list[bytes]:
    """The lines of messages. An expression takes half a second for 20 MB, and lets nobody else run."""
    return data.replace(b"\r\n", b"\r").replace(b"\n", b"\r").split(b"\r")


def split(data: bytes) -> Iterator[bytes]:
    """Single messages of a file or batch (FHS, BHS, BTS, FTS); MLLP's framing characters are skipped.

    What stands before the first MSH, and is neither, comes as a message too: reading it says what is wrong.
    """
    held: list[bytes] = []
    for line in lines_of(data.removeprefix(b"\xef\xbb\xbf")):
        bare = line.strip(_SPACE) if line[:1] in _FRAMING or line[-1:] in _FRAMING else line
        if bare.startswith(b"MSH") and held:
            yield b"\r".join(held) + b"\r"
            held = []
        if bare and not bare.startswith(_BATCH):
            held.append(bare)
    if held:
        yield b"\r".join(held) + b"\r"
