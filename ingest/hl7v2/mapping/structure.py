"""Segments in groups: patients, their visits, orders, results, specimens, documents. HL7 v2.5.1 to 2.8.2.

One pass, lenient: what the abstract message syntax allows in any version, in the places that senders use.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ingest.hl7v2.reader import Message, Segment

_SPECIMEN_FIRST: Final = frozenset({("OUL", "R22"), ("OUL", "R23")})
_ORDER_LATER: Final = frozenset({("OUL", "R22"), ("OUL", "R23"), ("OUL", "R24")})
"""Messages whose ORC follows its OBR."""
_IGNORED: Final = frozenset(
    {"MSH", "SFT", "UAC", "EVN", "DSC", "ERR", "MSA", "QRD", "QRF", "QAK", "QPD", "BHS", "BTS"}
)
"""Segments about the message; it is kept as a whole."""


@dataclass(slots=True)
class Result:
    """An OBX with what follows it."""

    obx: Segment
    notes: list[Segment] = field(default_factory=list)
    others: list[Segment] = field(default_factory=list)


@dataclass(slots=True)
class Sample:
    """An SPM with what follows it."""

    spm: Segment
    notes: list[Segment] = field(default_factory=list)
    others: list[Segment] = field(default_factory=list)


@dataclass(slots=True)
class Order:
    """An ORC and OBR, or either, with results and specimens."""

    orc: Segment | None = None
    obr: Segment | None = None
    timings: list[Segment] = field(default_factory=list)
    notes: list[Segment] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    others: list[Segment] = field(default_factory=list)


@dataclass(slots=True)
class PatientGroup:
    """A PID with what belongs to the patient."""

    pid: Segment | None = None
    pd1: Segment | None = None
    pv1: Segment | None = None
    pv2: Segment | None = None
    kin: list[Segment] = field(default_factory=list)
    merged: list[Segment] = field(default_factory=list)
    """MRG segments."""
    notes: list[Segment] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    loose: list[Result] = field(default_factory=list)
    """Results before any order."""
    document: Segment | None = None
    """TXA."""
    pages: list[Result] = field(default_factory=list)
    """OBX behind TXA."""
    surplus: list[Segment] = field(default_factory=list)
    """TXA behind the first one."""
    others: list[Segment] = field(default_factory=list)


class _Grouping:
    """Pass over the segments of a message."""

    def __init__(self, kind: tuple[str, str]) -> None:
        self.kind = kind
        self.groups: list[PatientGroup] = []
        self.group = PatientGroup()
        self.order: Order | None = None
        self.sample: Sample | None = None
        self.waiting: list[Result] = []
        """Results of a specimen before its order."""
        self.last: PatientGroup | Order | Result | Sample = self.group

    def take(self, segment: Segment) -> None:
        handler = _HANDLERS.get(segment.name)
        if handler is not None:
            handler(self, segment)
        elif segment.name not in _IGNORED:
            self.last.others.append(segment)

    def pid(self, segment: Segment) -> None:
        if self.group.pid is not None or self.group.orders:
            self.close()
        self.group.pid = segment
        self.last = self.group

    def close(self) -> None:
        self.group.loose += self.waiting
        self.waiting = []
        self.groups.append(self.group)
        self.group = PatientGroup()
        self.order, self.sample = None, None
        self.last = self.group

    def pd1(self, segment: Segment) -> None:
        self.group.pd1 = segment

    def pv1(self, segment: Segment) -> None:
        self.group.pv1 = segment

    def pv2(self, segment: Segment) -> None:
        self.group.pv2 = segment

    def nk1(self, segment: Segment) -> None:
        self.group.kin.append(segment)

    def mrg(self, segment: Segment) -> None:
        self.group.merged.append(segment)

    def txa(self, segment: Segment) -> None:
        if self.group.document is not None:
            self.group.surplus.append(segment)
            return
        self.group.document = segment
        if self.kind[0] == "MDM":
            # What follows is the document, whatever was ordered before.
            self.order = None
        self.last = self.group

    def orc(self, segment: Segment) -> None:
        order = self.order
        # Behind its OBR at once: one behind results or specimens is of the next OBR, as in other messages.
        if self.kind in _ORDER_LATER and order is not None and self.last is order and order.orc is None:
            order.orc = segment
            return
        self.begin(Order(orc=segment))

    def obr(self, segment: Segment) -> None:
        if self.order is not None and self.order.obr is None:
            self.order.obr = segment
            self.last = self.order
            return
        self.begin(Order(obr=segment))

    def begin(self, order: Order) -> None:
        if self.kind in _SPECIMEN_FIRST and self.sample is not None:
            order.samples.append(self.sample)
        order.results += self.waiting
        self.waiting = []
        self.order = self.last = order
        self.group.orders.append(order)

    def tq1(self, segment: Segment) -> None:
        if self.order is not None:
            self.order.timings.append(segment)
        else:
            self.last.others.append(segment)

    def spm(self, segment: Segment) -> None:
        self.sample = self.last = Sample(segment)
        if self.kind in _SPECIMEN_FIRST:
            self.order = None
        elif self.order is not None:
            self.order.samples.append(self.sample)

    def obx(self, segment: Segment) -> None:
        result = self.last = Result(segment)
        if self.order is not None:
            self.order.results.append(result)
        elif self.group.document is not None:
            self.group.pages.append(result)
        elif self.sample is not None:
            self.waiting.append(result)
        else:
            self.group.loose.append(result)

    def nte(self, segment: Segment) -> None:
        self.last.notes.append(segment)

    def done(self) -> list[PatientGroup]:
        self.close()
        return self.groups


_HANDLERS: Final = {
    name: getattr(_Grouping, name.lower())
    for name in "PID PD1 PV1 PV2 NK1 MRG TXA ORC OBR TQ1 SPM OBX NTE".split()
}


def grouped(message: Message) -> list[PatientGroup]:
    """The message's segments by patient."""
    grouping = _Grouping(message.type)
    for segment in message.segments:
        grouping.take(segment)
    return grouping.done()
