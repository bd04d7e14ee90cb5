"""A message about several patients, taken apart into one for each.

Pure. Each part has the segments before the first PID, so that it is a message by itself: what is kept of it,
and every refusal, is then about one patient.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from ingest.hl7v2.batches import lines_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ingest.hl7v2.faults import Fault

REPEATED: Final = frozenset({"ORU", "ADT"})
"""Types in which each PID begins another patient. In orders one may stand within prior results."""


def by_patient(message: bytes) -> tuple[bytes, ...]:
    """The message for each of its patients, in order; itself when there is one or none."""
    if message.count(b"\rPID") + message.count(b"\nPID") < 2:  # noqa: PLR2004 -- one patient
        return (message,)
    lines = lines_of(message)
    starts = [n for n, line in enumerate(lines) if line.startswith(b"PID")]
    head = lines[: starts[0]]
    ends = [*starts[1:], len(lines)]
    return tuple(
        b"\r".join([*head, *lines[start:end]]).rstrip(b"\r") + b"\r"
        for start, end in zip(starts, ends, strict=True)
    )


def within_whole(parts: Sequence[bytes], faults: Sequence[Sequence[Fault]]) -> Iterator[tuple[Fault, ...]]:
    """Faults of each part, with the occurrences of their segments counted in the whole message."""
    head = _names(parts[0].partition(b"PID")[0])
    before: Counter[str] = Counter()
    for part, told in zip(parts, faults, strict=True):
        yield tuple(
            fault
            if fault.sequence <= head[fault.segment]
            else fault._replace(sequence=fault.sequence + before[fault.segment])
            for fault in told
        )
        before += _names(part) - head


def _names(text: bytes) -> Counter[str]:
    return Counter(line[:3].decode("latin-1") for line in lines_of(text) if line)
