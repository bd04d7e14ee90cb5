"""Truth that must be served once a world was told in HL7 v2, and the comparison with it.

The same rule as `tests/oracle/identity/closure.py`, of what HL7 v2 can say: a report, its status, code and
time, its results with their values, its patient, specimen, order, interpreter and visit.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from tests.oracle.identity.closure import Truth, misfound
from tests.oracle.identity.er7 import REPORT, numbers_of, results_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.oracle.identity.closure import Served, Told
    from tests.oracle.identity.hospital import Said, Sent

Json = dict[str, Any]
View = dict[str, Any]
"""Content of a report, in words that both sides have: by name, without ids and references."""

NOTE: Final = "http://hl7.org/fhir/5.0/StructureDefinition/extension-DiagnosticReport.note"
_DATES: Final = ("effectiveDateTime", "effectivePeriod")


def faults(messages: Sequence[Sent], served: Served) -> Iterator[str]:
    """Untruths that are served; none when all is right."""
    truth = Truth(messages)
    found: defaultdict[str, list[Json]] = defaultdict(list)
    for report in served.reports:
        found[f"DiagnosticReport {marker(report).partition(' ')[0]}"].append(report)
    yield from (f"{name}: served, and nobody said it" for name in found.keys() - truth.reports.keys())
    ids: dict[str, str] = {}
    orders = _orders(messages)
    for name, told in truth.reports.items():
        if len(found[name]) != 1:
            yield f"{name}: served {len(found[name])} times" if found[name] else f"{name}: missing"
        for report in found[name]:
            ids[name] = report["id"]
            yield from (f"{name}: {wrong}" for wrong in _wrongs(truth, told, report, served.resources))
            placers = _placers(report, served.resources) - orders[_filler(told.said, told.sent)]
            yield from (f"{name}: order {one}, which is another's" for one in sorted(placers))
    yield from misfound(truth, served, ids)


def marker(report: Json) -> str:
    """The note of a report, which names it and its edition."""
    notes = (one["valueAnnotation"]["text"] for one in report.get("extension", ()) if one["url"] == NOTE)
    return str(next(notes, "?"))


def _wrongs(truth: Truth, told: Told, report: Json, resources: Mapping[str, Json]) -> Iterator[str]:
    said, shown = _said(told), _served(report, resources)
    for name, value in said.items():
        if shown[name] != value:
            yield f"{name}: {shown[name]!r}, not {value!r}"
    person = resources.get(report["subject"]["reference"], {})
    patients = [_patient(one.said.body) for one in truth.options(_subject(told.said), told.sent)]
    if not person or _patient(person) not in patients:
        yield f"patient: {_patient(person) if person else None!r}, not {patients!r}"
    for thing in ("result", "specimen", "basedOn", "encounter"):
        yield from _strangers(thing, report, resources, patients)


def _orders(messages: Sequence[Sent]) -> dict[str, set[str]]:
    """Placer numbers by the filler number: an order under one may be that of several reports."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for sent in messages:
        for said in sent.reports:
            placer = numbers_of(said.body, {one.thing: one for one in sent.said})[0]
            found[_filler(said, sent)].add(placer.split("^")[0])
    return found


def _filler(said: Said, sent: Sent) -> str:
    """The filler number of a report; of one without, its name."""
    filler = numbers_of(said.body, {one.thing: one for one in sent.said})[1].split("^")[0]
    return filler if filler.isdecimal() and int(filler) else said.thing


def _placers(report: Json, resources: Mapping[str, Json]) -> set[str]:
    orders = (resources.get(one["reference"], {}) for one in report.get("basedOn", ()))
    return {number for one in orders for number in _of_type(one, "PLAC")}


def _strangers(
    element: str, report: Json, resources: Mapping[str, Json], patients: Sequence[tuple[Any, ...]]
) -> Iterator[str]:
    """Companions of a report are about its own patient, of whom there may be two records."""
    value = report.get(element, [])
    for one in value if isinstance(value, list) else [value]:
        target = resources.get(one["reference"])
        if target is None:
            yield f"{element}: points at nothing"
        elif _patient(resources[target["subject"]["reference"]]) not in patients:
            yield f"{element}: is about another patient than the report"


def _subject(said: Said) -> str:
    return str(said.body["subject"]["reference"])


def _patient(body: Json) -> tuple[Any, ...]:
    [name] = body["name"]
    return name["family"], name["given"], body.get("birthDate"), body.get("gender")


def _moment(body: Json) -> datetime | None:
    return datetime.fromisoformat(body["effectiveDateTime"]) if "effectiveDateTime" in body else None


def _code(body: Json) -> str:
    return str(body["code"]["coding"][0]["code"])


def _said(told: Told) -> View:
    body, named = told.said.body, {one.thing: one for one in told.sent.said}
    placer, filler = (one.split("^")[0] for one in numbers_of(body, named))
    interpreters = [named[one["reference"]].body for one in body.get("resultsInterpreter", ())]
    specimens = [named[one["reference"]].body for one in body.get("specimen", ())]
    results = [named[one].body for one in results_of(body, named)]
    visits = [named[body["encounter"]["reference"]].body] if "encounter" in body else []
    return {
        "edition": body["conclusion"],
        "status": REPORT[body["status"]],
        "code": _code(body),
        "time": _moment(body),
        "numbers": sorted({one for one in (placer, filler) if one}),
        "results": sorted(
            (_code(one), one["valueString"].removeprefix("value "), REPORT[one["status"]]) for one in results
        ),
        "documents": ["TWFkZSB1cA=="] if "presentedForm" in body else [],
        "specimens": [(one["type"]["text"], _numbers(one)) for one in specimens],
        "interpreters": [(one["name"][0]["family"], _numbers(one)) for one in interpreters],
        "visits": [_numbers(one) for one in visits] if len(told.sent.reports) == 1 else [],
    }


def _served(report: Json, resources: Mapping[str, Json]) -> View:
    def led(element: str) -> list[Json]:
        return [resources.get(one["reference"], {}) for one in report.get(element, ())]

    results = [one for one in led("result") if "valueQuantity" in one]
    visits = [resources.get(report["encounter"]["reference"], {})] if "encounter" in report else []
    return {
        "edition": marker(report),
        "status": REPORT[report["status"]],
        "code": _code(report),
        "time": _moment(report),
        "numbers": sorted(set(_numbers(report))),
        "results": sorted(
            (_code(one), str(one["valueQuantity"]["value"]), REPORT[one["status"]]) for one in results
        ),
        "documents": [one["data"] for one in report.get("presentedForm", ()) if "data" in one],
        "specimens": [(one["type"]["text"], _numbers(one)) for one in led("specimen")],
        "interpreters": [(one["name"][0]["family"], _numbers(one)) for one in led("resultsInterpreter")],
        "visits": [_numbers(one) for one in visits],
    }


def _numbers(body: Json) -> list[str]:
    return [one["value"] for one in body.get("identifier", ())]


def _of_type(body: Json, kind: str) -> list[str]:
    return [one["value"] for one in body.get("identifier", ()) if one["type"]["coding"][0]["code"] == kind]
