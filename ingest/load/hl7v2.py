"""HL7 v2 in files: taken apart into messages, pushed as over MLLP, those of each patient in their order.

What is refused is reported, as of any file.
"""

from __future__ import annotations

import re
from collections import Counter
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from ingest.feeds.intake import Taken, take_in
from ingest.feeds.receive import header_of, receive
from ingest.feeds.sources import Source, first_match
from ingest.hl7v2.ack import Verdict
from ingest.hl7v2.batches import split
from ingest.hl7v2.profile import DEFAULT_PROFILE
from ingest.hl7v2.reader import Unreadable, read
from ingest.hl7v2.translate import translate
from ingest.load.message_chunks import LEADING
from ingest.load.results import Refusal, Result

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ingest.feeds.receive import Received
    from ingest.hl7v2.faults import Fault
    from ingest.load.files import Place
    from ingest.writes.push_context import PushContext
    from store.errors import ServiceError

FILE: Final = "file"
"""Name of the source of messages that no declared source sends."""
_BEGINNINGS: Final = (b"MSH", b"FHS", b"BHS")
_NUMBERS: Final = re.compile(rb"(?:^|[\r\n])(?:PID(?P<pid>.)[^\r\n]*|MRG(?P<mrg>.)[^\r\n]*)")
"""Segments that say whom a message is about."""
_OF_PID: Final = 3
_OF_MRG: Final = 1


def is_hl7v2(body: bytes) -> bool:
    """Whether a body is a message, or several."""
    return body.lstrip(LEADING).startswith(_BEGINNINGS)


async def pushed_messages(
    ctx: PushContext, place: Place, body: bytes, sources: Sequence[Source], counts: Counter[str]
) -> Result:
    """Push the messages of a body; what is refused is reported, and makes no dead letter."""

    async def store(source: Source, message: bytes) -> Received:
        return await receive(ctx, message, source, keep=_keep_nothing)

    refusals = []
    for message in split(body):
        taken = await take_in(message, sources, store, otherwise=Source(FILE, ctx.tenant))
        if taken is not None:
            refusals += _told(taken, place, counts)
    return Result(counts, tuple(refusals))


async def _keep_nothing(message: bytes, source: Source, error: ServiceError) -> None:
    """Keep no dead letter: the file is there."""


def _told(taken: Taken, place: Place, counts: Counter[str]) -> list[Refusal]:
    received = taken.received
    if received.answer.verdict is Verdict.ACCEPT:
        counts["unchanged"] += received.again
        return []
    counts["refused"] += 1
    return [_refusal(place, received.answer.faults)]


def _refusal(place: Place, faults: Sequence[Fault]) -> Refusal:
    errors = [one for one in faults if one.severity == "E"] or faults
    told = [{"code": "invalid", "text": f"{one.place}: {one.rule}", "expression": []} for one in errors]
    return Refusal(place, tuple(told))


def rehearsed_messages(place: Place, body: bytes, sources: Sequence[Source]) -> Result:
    """Refusals that the messages of a body would meet, by their sources' profiles; the store is not asked."""
    counts: Counter[str] = Counter()
    refusals = []
    for message in split(body):
        faults: tuple[Fault, ...] = ()
        try:
            header = header_of(message)
            source = first_match(sources, header) if header is not None else None
            profile = source.profile if source is not None else DEFAULT_PROFILE
            translation = translate(read(message, profile.charset), profile)
            if translation.refused or translation.unsupported:
                faults = translation.faults
        except Unreadable as error:
            faults = error.faults
        counts["refused" if faults else "stored"] += 1
        refusals += [_refusal(place, faults)] if faults else []
    return Result(counts, tuple(refusals))


def claims_of(body: bytes) -> Mapping[str, bytes]:
    """Claims of a body of messages: its digest under each patient number that they name, or under `hl7v2`.

    Bodies that name a number in common keep their order.
    """
    digest = blake2b(body, digest_size=16).digest()
    return {f"hl7v2 {number}": digest for number in _numbers(body)} or {"hl7v2": digest}


def _numbers(body: bytes) -> Iterator[str]:
    for found in _NUMBERS.finditer(body):
        mark, place = (found["pid"], _OF_PID) if found["pid"] else (found["mrg"], _OF_MRG)
        fields = found[0].strip().split(mark)
        if len(fields) > place and fields[place]:
            yield from (one.decode("latin-1") for one in fields[place].split(b"~"))
