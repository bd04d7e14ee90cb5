"""Message as it comes in by any way: whose it is, its patients one by one, the outcome of all of them."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from ingest.feeds.receive import Received, header_of
from ingest.feeds.sources import Source, first_match
from ingest.hl7v2.ack import Answer, Verdict
from ingest.hl7v2.batches import split
from ingest.hl7v2.budget import excess
from ingest.hl7v2.faults import Fault
from ingest.hl7v2.patients import REPEATED, by_patient, within_whole
from store.errors import Category, ServiceError
from store.fhir.issues import Issue

if TYPE_CHECKING:
    from ingest.feeds.metrics import FeedMetrics
    from ingest.settings import IngestSettings

LOG: Final = logging.getLogger("ingest.feeds")
UNKNOWN: Final = "unknown"
"""Name in metrics of what no source sends."""
RESPONSES: Final = frozenset({"ACK", "MCF"})
"""Types of messages that are answers themselves: they are never answered."""
NO_SOURCE: Final = Fault(
    "MSH", 1, 3, 0, "204", "no source is declared for this sender (MSH-3, 4) and receiver (MSH-5, 6)"
)
NO_HEADER: Final = Fault(
    "MSH", 1, 0, 0, "100", "this is no HL7 v2 message: it begins with MSH and its delimiters"
)

Store: TypeAlias = Callable[[Source, bytes], Awaitable[Received]]
"""Stores one message, about one patient, for a source."""


class Taken(NamedTuple):
    """The outcome of a message, and the name of its source."""

    received: Received
    source: str


def messages_in(body: bytes, settings: IngestSettings) -> list[bytes]:
    """The messages of a body; of one without any, the body itself. Raises ServiceError `too-large` for more
    than there may be.
    """
    rule = excess(body, segments=settings.hl7v2_segments_max, messages=settings.bundle_entries_max)
    if rule is not None:
        raise ServiceError(Category.TOO_LARGE, Issue("too-costly", rule))
    begins = body.lstrip(b"\x0b\r\n")[:3]
    if begins == b"MSH" and b"\rMSH" not in body and b"\nMSH" not in body and body.find(b"\x0bMSH", 1) < 0:
        return [body]  # Nearly always; taking 30 MB apart to find one message would hold up all others.
    return list(split(body)) or [body]


async def take_in(
    message: bytes, sources: Sequence[Source], store: Store, *, otherwise: Source | None = None
) -> Taken | None:
    """Find the source of a message and store what it says; None: it is an answer itself, and gets none.

    `otherwise` is the source of what none of the sources sends.
    """
    header = header_of(message)
    if header is not None and header.type[0] in RESPONSES:
        return None
    source = otherwise if header is None else first_match(sources, header) or otherwise
    if header is None and source is None and len({one.tenant for one in sources}) == 1:
        source = sources[0]  # Whoever sends it, it is kept where it belongs.
    if source is None:
        fault = NO_HEADER if header is None else NO_SOURCE
        return Taken(Received(Answer(Verdict.REJECT, (fault,)), header), UNKNOWN)
    parts = by_patient(message) if header is not None and header.type[0] in REPEATED else (message,)
    return Taken(together(parts, [await store(source, part) for part in parts]), source.name)


def together(parts: Sequence[bytes], outcomes: Sequence[Received]) -> Received:
    """The outcome of a message whose patients were stored one by one: accepted when all were."""
    if len(outcomes) == 1:
        return outcomes[0]
    told = within_whole(parts, [one.answer.faults for one in outcomes])
    faults = [fault for some in told for fault in some]
    verdicts = {one.answer.verdict for one in outcomes}
    worst = next(one for one in (Verdict.ERROR, Verdict.REJECT, Verdict.ACCEPT) if one in verdicts)
    return replace(
        outcomes[0],
        answer=Answer(worst, tuple(faults)),
        again=all(one.again for one in outcomes),
        letter=next((one.letter for one in outcomes if one.letter), None),
    )


def count(metrics: FeedMetrics, taken: Taken, *, seconds: float, at: float) -> None:
    """Count a message and log it: source, event, acknowledgment, time, and nothing of what it says."""
    received = taken.received
    code = "again" if received.again else f"A{received.answer.verdict}"
    event = metrics.acknowledged(taken.source, received.event, code, seconds=seconds, at=at)
    extra = {"source": taken.source, "event": event, "ack": code, "ms": round(seconds * 1000, 1)}
    LOG.info("message", extra={**extra, **({"letter": received.letter} if received.letter else {})})
