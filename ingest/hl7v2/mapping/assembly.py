"""Resources of a message put together: patients, visits, orders, reports, results, documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from ingest.hl7v2.faults import REQUIRED, UNSUPPORTED_EVENT
from ingest.hl7v2.mapping.context import NULL, URN, extension
from ingest.hl7v2.mapping.datatypes import documents
from ingest.hl7v2.mapping.datatypes.identifiers import cx, ei
from ingest.hl7v2.mapping.datatypes.values import DOCUMENTS
from ingest.hl7v2.mapping.segments import (
    observations,
    orders,
    patients,
    references,
    reports,
    specimens,
    visits,
)
from ingest.hl7v2.mapping.segments.narratives import joined, narrative
from ingest.hl7v2.mapping.segments.notes import REPORT_NOTE, as_sent, comments
from ingest.hl7v2.mapping.segments.observations import NUMBER, Surroundings, result_number
from ingest.pipeline.completion import document_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.hl7v2.mapping.context import Context, Element
    from ingest.hl7v2.mapping.structure import Order, PatientGroup, Result
    from ingest.hl7v2.reader import Segment

__all__ = ["Parts", "quote"]
_DELTA: Final = {"A": True, "U": True, "D": True, "S": False}
"""HL7 table 0206: an action code says whether the report comes as a whole."""
_NOT_RESENT: Final = "U"
"""OBX-11: the result is final now, and its value is not sent again."""
_KEPT: Final = ((1, 3), (4, 2))
"""Fields of MRG with the numbers of a patient, each with that of PID in which they stood."""
_ANOTHERS: Final = (
    "MRG-1 names another patient than PID-3: an account or a visit moves no results from one patient to"
    " another; send them again, corrected (OBR-25 `C`), under the right patient"
)


class Parts:
    """The entries of one message in the making."""

    def __init__(self, context: Context, event: str) -> None:
        self.context = context
        self.event = event
        self.mark = "|"
        self.focus: list[str] = []
        self.merges: list[tuple[Element, Element]] = []
        self.partials: list[tuple[str, frozenset[str], bool]] = []
        self.twins: dict[tuple[str, ...], int] = {}

    # --- patients

    def _patient(self, group: PatientGroup) -> Element:
        context = self.context
        assert group.pid is not None  # noqa: S101 -- translate has looked
        context.deleted = set()
        former = self._others(
            [one for mrg in group.merged for one in self._former(mrg, group.pid)], group.pid
        )
        made = patients.patient(context, group.pid, group.pd1, group.kin, former)
        loose = not group.orders and group.notes
        told = as_sent([*group.notes, *group.others] if loose else group.others, self.mark)
        if told:
            made.setdefault("extension", []).extend(told)
        surviving = next((one for one in made.get("identifier", ()) if "use" not in one), None)
        if surviving:
            self.merges += [(surviving, one) for one in former]
        url = context.add(made)
        self.partials.append((url, frozenset(context.deleted), False))
        return {"reference": url}

    def _former(self, merged: Segment, pid: Segment) -> list[Element]:
        """The numbers of MRG-1, and of MRG-4 in older versions.

        A number without an authority is of the one that has assigned the numbers of PID-3, if it is one.
        """
        context = self.context
        convert = cx(context.profile.default_identifier_type)
        found: list[Element] = []
        for at, kept in _KEPT:
            context.segment, context.field = merged, at
            told = [
                one
                for raw in context.repetitions(_field(merged, at))
                if raw and (one := convert(context, raw))
            ]
            assigned = self._assigned(pid, kept if _field(pid, kept) else 3) if told else {}
            found += [{**({} if "system" in one else assigned), **one, "use": "old"} for one in told]
        context.segment = merged
        if not found:
            context.field = 1
            context.fault(REQUIRED, "MRG-1 names the numbers that were merged", "E")
        return found

    def _others(self, former: Sequence[Element], pid: Segment) -> list[Element]:
        """Numbers of other records: an account that is merged names its patient by the number of PID-3."""
        there = [one for at in (3, 2) for one in self._numbers(pid, at)] if former else []
        return [
            one
            for one in former
            if not any(
                one["value"] == mine.get("value") and one.get("system") in (None, mine.get("system"))
                for mine in there
            )
        ]

    def _numbers(self, pid: Segment, at: int) -> list[Element]:
        context = self.context
        context.segment, context.field = pid, at
        convert = cx(context.profile.default_identifier_type)
        return [made for one in context.repetitions(_field(pid, at)) if (made := convert(context, one))]

    def _assigned(self, pid: Segment, at: int) -> Element:
        """System and type that all numbers of PID-3, or PID-2, have in common."""
        pairs = [(one.get("system"), one.get("type")) for one in self._numbers(pid, at)]
        if not pairs or not pairs[0][0] or any(pair != pairs[0] for pair in pairs):
            return {}
        system, kind = pairs[0]
        return {"system": system, **({"type": kind} if kind else {})}

    def _encounter(self, group: PatientGroup, subject: Element) -> Element | None:
        if group.pv1 is None:
            return None
        context = self.context
        context.deleted = set()
        made = visits.encounter(context, group.pv1, group.pv2, subject, self.event)
        if made is None:
            return None
        url = context.add(made)
        self.partials.append((url, frozenset(context.deleted), False))
        return {"reference": url}

    def person(self, group: PatientGroup) -> None:
        """ADT about one patient."""
        subject = self._patient(group)
        self.focus.append(subject["reference"])
        self._encounter(group, subject)
        self._loose(group.loose, subject)

    def merge(self, group: PatientGroup) -> None:
        """Map an ADT that merges records or changes a number: the Patient, with its old numbers too."""
        self.focus.append(self._patient(group)["reference"])

    def within(self, group: PatientGroup) -> None:
        """Map an ADT about accounts or visits of one patient: what it says of the patient."""
        assert group.pid is not None  # noqa: S101 -- translate has looked
        for merged in group.merged:
            if self._others(self._former(merged, group.pid), group.pid):
                self.context.segment, self.context.field = merged, 1
                self.context.fault(UNSUPPORTED_EVENT, _ANOTHERS, "E")
        self.merge(group)

    # --- orders

    def orders(self, group: PatientGroup) -> None:
        """Map the orders of an ORM or OML message."""
        subject = self._patient(group)
        encounter = self._encounter(group, subject)
        for sent in group.orders:
            made = self._order(group, sent, subject, encounter)
            if told := self._samples(sent, subject):
                made["specimen"] = told
            results = self._loose(sent.results, subject)
            if results:
                made["supportingInfo"] = results
            if sent.others:
                made.setdefault("extension", []).extend(as_sent(sent.others, self.mark))
            self.focus.append(self.context.add(made))
        self._loose(group.loose, subject)

    def _loose(self, results: Sequence[Result], subject: Element) -> list[Element]:
        """Results that are of no report."""
        around = Surroundings(subject=subject, mark=self.mark)
        made = [
            observations.observation(self.context, one, around)
            for one in results
            if self.context.first(_field(one.obx, 2)).upper() not in DOCUMENTS
        ]
        found = documents.documents(self.context, results)
        found.tell(self.context, beside=True)
        made += [references.loose(one, subject) for one in found.attachments if "_data" not in one]
        return [{"reference": self.context.add(one)} for one in made]

    def _order(
        self, group: PatientGroup, sent: Order, subject: Element, encounter: Element | None
    ) -> Element:
        """An order that no report of the message answers to, with its comments."""
        made = orders.order(self.context, sent, subject, encounter)
        if notes := comments(self.context, [*group.notes, *sent.notes]):
            made["note"] = notes
        return made

    def _samples(self, sent: Order, subject: Element) -> list[Element]:
        context = self.context
        made: list[Element] = []
        for sample in sent.samples:
            key = f"SPM {sample.spm.sequence}"
            url = context.known.get(key)
            if url is None:
                found = specimens.specimen(context, sample, subject, self.mark)
                url = context.shared(key, found)
            made.append({"reference": url})
        if not sent.samples and sent.obr is not None:
            old = specimens.old_specimen(context, sent.obr, subject)
            if old is not None:
                made.append({"reference": context.add(old)})
        return made

    # --- results

    def results(self, group: PatientGroup) -> None:
        """Map the reports and results of an ORU or OUL message."""
        subject = self._patient(group)
        encounter = self._encounter(group, subject)
        self._loose(group.loose, subject)
        for sent in group.orders:
            if sent.obr is None:
                self.context.add(self._order(group, sent, subject, encounter))
            else:
                self._report(group, sent, subject, encounter)

    def _report(self, group: PatientGroup, sent: Order, subject: Element, encounter: Element | None) -> None:
        context = self.context
        made = reports.report(context, sent, subject, encounter)
        self._tell_apart(made, sent)
        based_on = context.add(orders.order(context, sent, subject, encounter))
        made["basedOn"] = [{"reference": based_on}]
        told = self._samples(sent, subject)
        if told:
            made["specimen"] = told
        around = Surroundings(
            subject=subject,
            encounter=encounter,
            effective=reports.effective(made),
            specimen=told[0] if len(told) == 1 else None,
            number=_number(made),
            status=reports.STATUSES.get(context.first(_field(sent.obr, 25)).upper(), ""),
            parent=self._parent(sent),
            mark=self.mark,
        )
        presented = documents.documents(context, sent.results)
        results = [one for one in sent.results if one.obx.sequence not in presented.rest]
        found = self._observations(results, around)
        if found:
            made["result"] = [{"reference": url} for url, _ in found]
        reports.set_status(context, sent, made, [one["status"] for _, one in found])
        valued = any(name.startswith("value") or name == "component" for _, one in found for name in one)
        presented.tell(context, beside=presented.has_content or valued)
        self._presented(sent, made, presented.attachments, [one for _, one in found])
        self._noted(group, sent, made)
        url = context.add(made)
        self.focus.append(url)
        if self._is_delta(sent):
            self.partials.append((url, frozenset(map(document_of, presented.withdrawn)), True))

    def _observations(self, results: Sequence[Result], around: Surroundings) -> list[tuple[str, Element]]:
        context = self.context
        found = []
        for result in joined(context, results):
            context.deleted = set()
            made = observations.observation(context, result, around)
            url = context.add(made)
            found.append((url, made))
            if context.first(_field(result.obx, 11)).upper() == _NOT_RESENT and not _field(result.obx, 5):
                self.partials.append((url, frozenset(context.deleted), False))
        return found

    def _presented(self, sent: Order, made: Element, presented: list[Element], found: list[Element]) -> None:
        if text := narrative(self.context, sent.results, found):
            presented.append(text)
        if presented:
            made["presentedForm"] = presented

    def _noted(self, group: PatientGroup, sent: Order, made: Element) -> None:
        told = made.get("extension", [])
        for one in comments(self.context, [*group.notes, *sent.notes]):
            told.append(extension(REPORT_NOTE, "Annotation", one))
        told += as_sent(sent.others, self.mark)
        if told:
            made["extension"] = told

    def _tell_apart(self, made: Element, sent: Order) -> None:
        """An id of its own where nothing else tells a report apart: from its message, from its twins."""
        context = self.context
        numbers = tuple(f"{one.get('system')}|{one['value']}" for one in made.get("identifier", ()))
        timed = "effectiveDateTime" in made or "effectivePeriod" in made
        sequence = sent.obr.sequence if sent.obr is not None else 0
        if not numbers and not timed:
            # Another message is another report, though it may say the same.
            made["id"] = f"{context.uuids[9:32].replace('-', '')}-{sequence}"
            return
        key = (*numbers, _field(sent.obr, 4), _field(sent.obr, 7), _field(sent.obr, 26))
        turn = self.twins[key] = self.twins.get(key, 0) + 1
        if turn > 1:
            made["id"] = f"twin-{turn}"

    def _parent(self, sent: Order) -> Element | None:
        """Identifier of the result that this report goes on from, as susceptibilities from an organism.

        It is made of OBR-26 and OBR-29; None: the report names no such result.
        """
        context = self.context
        told = _field(sent.obr, 26)
        order = _field(sent.obr, 29) or _field(sent.obr, 54) or _field(sent.orc, 8)
        parts = context.parts(told)
        if len(parts) < 2 or not parts[0] or not parts[1]:  # noqa: PLR2004 -- PRL.2
            return None
        pair = context.parts(order)
        nested = ei(nested=True)
        number = (nested(context, pair[1]) if len(pair) > 1 else None) or nested(context, pair[0])
        if number is None:
            return None
        code = parts[0].partition(context.subcomponent)[0]
        sub_id = context.plain(parts[1].replace(context.subcomponent, ".")).strip(". ")
        return {"system": NUMBER, "value": result_number(context, number["value"], code, sub_id)}

    def _is_delta(self, sent: Order) -> bool:
        """Whether a report comes with its changed results alone: by what it says, else by the profile."""
        context = self.context
        told = _DELTA.get(context.first(_field(sent.obr, 55)).upper())
        if told is None:
            actions = {context.first(_field(one.obx, 31)).upper() for one in sent.results} & _DELTA.keys()
            told = any(_DELTA[one] for one in actions) if actions else None
        return context.profile.results == "delta" if told is None else told

    # --- documents

    def document(self, group: PatientGroup) -> None:
        """Map the document of an MDM message."""
        context = self.context
        assert group.document is not None  # noqa: S101 -- translate has looked
        subject = self._patient(group)
        encounter = self._encounter(group, subject)
        for sent in group.orders:
            context.add(self._order(group, sent, subject, encounter))
        pages = group.pages
        presented = documents.documents(context, pages)
        contents = presented.attachments
        text = narrative(context, pages, [], always=True)
        presented.tell(context, beside=presented.has_content or bool(text))
        if text:
            contents.append(text)
        rest = [one for one in joined(context, pages) if not _is_document(context, one)]
        context.deleted = set()
        made = references.document(context, group.document, self.event, contents, subject, encounter)
        if notes := [*group.notes, *(note for one in pages for note in one.notes)]:
            made.setdefault("extension", []).extend(as_sent(notes, self.mark))
        url = context.add(made)
        self.focus.append(url)
        self.partials.append((url, frozenset(context.deleted), False))
        if before := references.replaced(context, group.document, made):
            self.partials.append((context.add(before), frozenset(), False))
        self._loose(rest, subject)


def _is_document(context: Context, result: Result) -> bool:
    kind = context.first(_field(result.obx, 2)).upper()
    return kind in DOCUMENTS or kind in ("TX", "FT", "ST")


def _field(segment: Segment | None, number: int) -> str:
    if segment is None or len(segment.fields) <= number:
        return ""
    raw = segment.fields[number]
    return "" if raw == NULL else raw


def _number(made: Element) -> str:
    """The report's own number, the filler's first."""
    numbers: Sequence[Any] = made.get("identifier", ())
    return str(numbers[0]["value"]) if numbers else ""


_URN: Final = URN
