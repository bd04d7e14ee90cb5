"""Expectations of a US Core client of a DiagnosticReport search, computed from the resources themselves.

An oracle beside the service: it shares no code with it. Values are drawn from the resources, as the US Core
server tests draw them; a search is right when it finds exactly those reports that hold the values.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Json = dict[str, Any]

STATUSES: Final = (
    "registered partial preliminary final amended corrected appended cancelled entered-in-error unknown"
).split()
LAB: Final = "LAB"
NOTES: Final = ("LP29684-5", "LP29708-2", "LP7839-6")
"""Radiology, cardiology, pathology."""
COMPARATORS: Final = ("gt", "lt", "ge", "le")
_DAY: Final = timedelta(days=1)
_FAR: Final = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))
_DATE: Final = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?")


class Span(NamedTuple):
    """From its first moment up to where it is over."""

    start: datetime
    end: datetime


def span(text: str) -> Span:
    """The span of a date or dateTime by its own precision."""
    match = _DATE.fullmatch(text)
    if match is None:
        moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return Span(moment, moment + timedelta(milliseconds=1 if "." in text else 1_000))
    year, month, day = (int(part) if part else None for part in match.groups())
    start = datetime(year or 1, month or 1, day or 1, tzinfo=UTC)
    if day is not None:
        return Span(start, start + _DAY)
    following = (start.year + 1, 1) if month in (None, 12) else (start.year, (month or 1) + 1)
    return Span(start, datetime(*following, 1, tzinfo=UTC))


def effective(report: Json) -> Span | None:
    """Time at which the report's facts were true, as its date parameter sees it."""
    if "effectiveDateTime" in report:
        return span(report["effectiveDateTime"])
    period = report.get("effectivePeriod", {})
    if not {"start", "end"} & set(period):
        return None
    return Span(
        span(period["start"]).start if "start" in period else _FAR[0],
        span(period["end"]).end if "end" in period else _FAR[1],
    )


def _of_date(found: Span, prefix: str, asked: Span) -> bool:
    equal = asked.start <= found.start and found.end <= asked.end
    return {
        "": equal,
        "gt": found.end > asked.end,
        "lt": found.start < asked.start,
        "ge": equal or found.end > asked.end,
        "le": equal or found.start < asked.start,
    }[prefix]


def holds(report: Json, name: str, value: str) -> bool:
    """Whether a report fulfils one parameter, given as in the query but before escaping."""
    if name == "patient":
        return bool(report.get("subject", {}).get("reference") == f"Patient/{value.removeprefix('Patient/')}")
    if name == "status":
        return report["status"] in value.split(",")
    if name in ("code", "category"):
        return any(_is(coding, value) for coding in codings(report, name))
    prefix = value[:2] if value[0].isalpha() else ""
    asked = span(value.removeprefix(prefix))
    found = span(report["meta"]["lastUpdated"]) if name == "_lastUpdated" else effective(report)
    return found is not None and _of_date(found, prefix, asked)


def codings(report: Json, name: str) -> Iterator[Json]:
    """The codings of `code` or `category`."""
    held = report.get(name, [])
    for concept in held if isinstance(held, list) else [held]:
        yield from concept.get("coding", [])


def _is(coding: Json, value: str) -> bool:
    system, bar, code = value.rpartition("|")
    same = coding.get("code", "").casefold() == code.casefold()
    return same and (not bar or _system(coding.get("system")) == _system(system))


def _system(uri: str | None) -> str | None:
    """Name for the code system of report categories, which R4 renamed."""
    old = uri in ("http://hl7.org/fhir/v2/0074", "http://hl7.org/fhir/ValueSet/v2-0074")
    return "http://terminology.hl7.org/CodeSystem/v2-0074" if old else uri


def tokens(reports: Sequence[Json], name: str) -> list[str]:
    """Each code of these reports alone and with its system, as a client would ask for it."""
    found: dict[str, None] = {}
    for report in reports:
        for coding in codings(report, name):
            if coding.get("code"):
                found[coding["code"]] = None
                if coding.get("system"):
                    found[f"{coding['system']}|{coding['code']}"] = None
    return list(found)


def dates(reports: Sequence[Json]) -> list[str]:
    """Values for `date`, drawn as the US Core server tests do: an instant as it is and a day around it with
    each comparator; of a Period a bound with a day of room.
    """
    found: dict[str, None] = {}
    for report in reports:
        when = effective(report)
        if when is None:
            continue
        text = report.get("effectiveDateTime", "")
        if text:
            found[text] = None
        if when.start != _FAR[0]:
            found.update((f"{prefix}{_instant(when.start - _DAY)}", None) for prefix in COMPARATORS)
        if when.end != _FAR[1]:
            found.update((f"{prefix}{_instant(when.end + _DAY)}", None) for prefix in COMPARATORS)
        if text:
            found.update((f"{prefix}{text}", None) for prefix in COMPARATORS)
    return list(found)


def _instant(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S+00:00")


def references(value: Any) -> Iterator[str]:
    """Every literal reference in a resource."""
    if isinstance(value, dict):
        if isinstance(value.get("reference"), str):
            yield value["reference"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def searches(patient: str, reports: Sequence[Json]) -> Iterator[list[tuple[str, str]]]:
    """The searches of the US Core server tests for one patient, values drawn from the patient's reports."""
    by_patient = [("patient", patient)]
    categories = dict.fromkeys([*tokens(reports, "category"), LAB, *NOTES])
    updated = list(dict.fromkeys(report["meta"]["lastUpdated"] for report in reports))[:3]
    yield by_patient
    for name, values in (("category", list(categories)), ("code", tokens(reports, "code"))):
        for value in values:
            asked = [*by_patient, (name, value)]
            yield asked
            yield from (
                [*asked, ("status", status)] for status in dict.fromkeys(r["status"] for r in reports)
            )
            mine = [one for one in reports if holds(one, name, value)]
            yield from ([*asked, ("date", when)] for when in dates(mine[:1]))
    for value in categories:
        yield from ([*by_patient, ("category", value), ("_lastUpdated", one)] for one in updated)
    yield from ([*by_patient, ("status", status)] for status in STATUSES)
    yield [*by_patient, ("status", ",".join(STATUSES))]
    yield from ([*by_patient, ("date", when)] for when in dates(reports[:5]))
    # Several comparators together: a window.
    for report in reports:
        when = effective(report)
        if when is not None and _FAR[0] != when.start and when.end != _FAR[1]:
            window = [
                ("date", f"ge{_instant(when.start - _DAY)}"),
                ("date", f"le{_instant(when.end + _DAY)}"),
            ]
            yield [*by_patient, *window]
