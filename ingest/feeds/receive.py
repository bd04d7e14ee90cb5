"""Delivery of an HL7 v2 message into the store, and the verdict that its sender is told.

Accepted only once everything that it says is journaled on a majority, and the message with it. Refused for
what is wrong with it, it is a dead letter. What is said is a place and a rule, never a value.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from ingest.feeds import kept
from ingest.hl7v2.ack import Answer, Verdict
from ingest.hl7v2.budget import fault_of, weigh
from ingest.hl7v2.faults import ACCEPTED, APPLICATION, Fault
from ingest.hl7v2.reader import Unreadable, read, read_header
from ingest.hl7v2.translate import translate
from ingest.messages import delivery
from ingest.pipeline.identity.decisions import TEXTS, Finding, findings_of
from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.retention.erased_names import CLOSED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ingest.feeds.sources import Source
    from ingest.hl7v2.faults import Severity as FaultSeverity
    from ingest.hl7v2.reader import Header, Message
    from ingest.hl7v2.translate import Translation
    from ingest.messages.delivery import Delivered
    from ingest.writes.push_context import PushContext
    from store.fhir.issues import Severity
    from store.resources.resource_keys import ResourceKey

LOG: Final = logging.getLogger("ingest.feeds")
REFUSED: Final = frozenset(
    {
        Category.INCORRECT,
        Category.UNSUPPORTED,
        Category.UNPROCESSABLE,
        Category.TOO_LARGE,
        Category.PRECONDITION,
    }
)
"""Failures for the content of a message: AE, and a dead letter."""
ERASED: Final = Fault("MSH", 1, 0, 0, "207", "the patient was erased here on purpose; nothing was stored")
LEFT: Final = Fault("MSH", 1, 0, 0, "207", CLOSED.text)
BROKEN: Final = Fault(
    "MSH", 1, 0, 0, APPLICATION, "this service failed at the message; it is kept as a dead letter"
)
_SEVERITIES: Final[Mapping[FaultSeverity, Severity]] = {"E": "error", "W": "warning", "I": "information"}
STATUS: Final[Mapping[Verdict, int]] = {Verdict.ACCEPT: 200, Verdict.ERROR: 422, Verdict.REJECT: 400}
"""Status of HTTP that each verdict is."""
PLACE_MAX: Final = 3
"""Expressions of an issue that a fault names."""


class Keeper(Protocol):
    """Keeps a refused message as a dead letter."""

    async def __call__(self, message: bytes, source: Source, error: ServiceError) -> str | None:
        """The letter's id; None when it could not be kept."""


@dataclass(frozen=True, slots=True)
class Received:
    """The outcome of one message."""

    answer: Answer
    header: Header | None
    again: bool = False
    """Whether the same message was accepted before, and what it made is there."""
    letter: str | None = None
    """Id of the dead letter that it became."""
    made: tuple[ResourceKey, ...] = ()
    """Resources that it was stored as."""

    @property
    def event(self) -> str:
        """MSH-9, as `ORU^R01`; for metrics and logs only if a table has it."""
        return "^".join(self.header.type) if self.header else ""


class _Arrival(NamedTuple):
    """A message on its way into the store."""

    id: str
    message: bytes
    source: Source
    keep: Keeper
    anew: bool
    """Whether it was kept before, and is mapped again."""


def header_of(message: bytes) -> Header | None:
    """Header of a message (MSH), as far as it can be read; None: not even its delimiters can."""
    try:
        return read_header(message)
    except Unreadable as error:
        return error.header


async def receive(
    ctx: PushContext, message: bytes, source: Source, *, keep: Keeper, anew: bool = False
) -> Received:
    """Store what a message says. Raises ServiceError for what says nothing of the message.

    `anew`: also when it was stored before, for another mapping.
    """
    most = {"segments": ctx.settings.hl7v2_segments_max, "parts": ctx.settings.body_elements_max}
    ctx = ctx.for_bytes(len(message))._replace(documents=_may_hold_documents(ctx, message))
    weight = await ctx.work(weigh, message, **most)
    fault = fault_of(weight, **most)
    if fault is not None:
        return await refused(message, source, header_of(message), (fault,), keep)
    if not weight.is_light:
        ctx = ctx._replace(work=ctx.beside)
    try:
        read_ = await ctx.work(read, message, source.profile.charset)
    except Unreadable as error:
        return await refused(message, source, error.header, error.faults, keep)
    message_id = kept.id_of(ctx.tenant, message, ctx.secret)
    if not anew and await kept.stands(ctx, message_id):
        return Received(Answer(Verdict.ACCEPT), read_.header, again=True)
    try:
        translation = await ctx.work(translate, read_, source.profile)
        if translation.unsupported:
            return Received(Answer(Verdict.REJECT, translation.faults), read_.header)
        if translation.refused:
            return await refused(message, source, read_.header, translation.faults, keep)
        arrival = _Arrival(message_id, message, source, keep, anew)
        return await _stored(ctx, arrival, read_, translation)
    except ServiceError:
        raise
    except Exception:
        # A defect of ours must not hold up the messages behind: this one is kept for a better release.
        LOG.exception("a message could not be handled", extra={"source": source.name})
        return await refused(message, source, read_.header, (BROKEN,), keep)


async def _stored(ctx: PushContext, arrival: _Arrival, read_: Message, translation: Translation) -> Received:
    message_id, message, source, keep, anew = arrival
    header = read_.header
    if translation.bundle is None:
        return Received(Answer(Verdict.ACCEPT, translation.faults), header)
    derived = ctx._replace(derived_from=kept.records_of(message_id))
    try:
        done = await delivery.message(
            derived, translation.bundle, strict=ctx.strict, partials=translation.partials
        )
    except ServiceError as error:
        if error.category is Category.GONE:
            gone = LEFT if CLOSED in error.issues else ERASED
            return Received(Answer(Verdict.REJECT, (gone,)), header)
        if error.category not in REFUSED:
            raise
        return await refused(message, source, header, tuple(_faults(error.issues)), keep, error)
    made = tuple(one.result.stored.key for one in done if not isinstance(one, ServiceError))
    if not anew:
        await kept.keep(ctx, message_id, message, header=header, source=source.name, made=made)
    told = Answer(Verdict.ACCEPT, (*translation.faults, *_warnings(done)))
    return Received(told, header, made=made)


def _may_hold_documents(ctx: PushContext, message: bytes) -> bool:
    """Whether a document of this message may be too long to stay inside: in base64 text grows by a third."""
    return len(message) * 4 // 3 > ctx.settings.attachment_inline_bytes_max


async def refused(  # noqa: PLR0913 -- all that a letter needs
    message: bytes,
    source: Source,
    header: Header | None,
    faults: Sequence[Fault],
    keep: Keeper,
    error: ServiceError | None = None,
) -> Received:
    """Set a message aside as a dead letter; the answer says what is wrong with it."""
    told = error or ServiceError(Category.UNPROCESSABLE, *map(_issue, faults))
    letter = await keep(message, source, told)
    return Received(Answer(Verdict.ERROR, tuple(faults)), header, letter=letter)


def _issue(fault: Fault) -> Issue:
    return Issue("invalid", f"{fault.place}: {fault.rule}", (), severity=_SEVERITIES[fault.severity])


def _faults(issues: Iterable[Issue]) -> Iterator[Fault]:
    """Faults for what the pipeline says of a message's resources: an element and its rule."""
    for issue in issues:
        where = ", ".join(issue.expression[:PLACE_MAX])
        yield Fault("", 1, 0, 0, APPLICATION, f"{issue.text} ({where})" if where else issue.text)


def _warnings(done: Iterable[Delivered]) -> Iterator[Fault]:
    """Parts of an accepted message that became dead letters, and doubts about who is who."""
    notes: list[str] = []
    for one in done:
        if isinstance(one, ServiceError):
            for fault in _faults(one.issues):
                yield fault._replace(severity="W")
        else:
            notes += one.notes
    for finding in findings_of(notes):
        severity: FaultSeverity = "I" if finding is Finding.PATIENTS_LINKED else "W"
        yield Fault("", 1, 0, 0, ACCEPTED, TEXTS[finding], severity)
