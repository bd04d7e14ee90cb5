"""Every row of the mapping is looked at: in FHIR by an oracle that knows no tables, and on the way back.

A fault planted in any row, in any word of a table of codes, in any field of the shape, is found.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from ingest.data_model import codecs, mapping
from ingest.data_model.from_fhir import Reader
from ingest.data_model.models import ResultsNew, read
from ingest.data_model.places import place
from ingest.data_model.table import Table
from ingest.data_model.to_fhir import Translation, translate
from ingest.hl7v2.profile import DEFAULT_PROFILE, profile_of
from ingest.pipeline.stamp import dump
from tests.oracle.mapping import data_model as oracle
from tests.support.data_model import order, result, results_new, whole_message

if TYPE_CHECKING:
    from collections.abc import Iterator

Json = dict[str, Any]
TABLES = [one for one in vars(mapping).values() if isinstance(one, Table)]
ROWS = [(table, number) for table in TABLES for number in range(len(table.rows))]
IDS = [f"{table.name} {table.rows[number].path}" for table, number in ROWS]


def wrong(message: Json) -> list[str]:
    """Differences of what FHIR says, and of what comes back, from what was sent."""
    sent = read(ResultsNew, message)
    bundle: Any = translate(sent, DEFAULT_PROFILE, "acme").bundle
    entries = {one["fullUrl"]: one["resource"] for one in bundle["entry"]}
    reports = [one for one in entries.values() if one["resourceType"] == "DiagnosticReport"]
    told = sent.model_dump()
    wanted = [{**one, "Patient": told["Patient"], "Visit": told["Visit"]} for one in told["Orders"]]
    back = [Reader(entries.get).order(one) for one in reports]
    return [
        *differences(wanted, back, "QueryResponse"),
        *differences(wanted, oracle.Oracle(bundle).orders(), "FHIR"),
    ]


def is_found() -> bool:
    """Whether a planted fault is found, if need be by a resource that nobody can read."""
    try:
        return (
            wrong(whole_message()) != [] or wrong(whole_message(IsDeceased=False, DeathDateTime=None)) != []
        )
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return True


def differences(one: Any, other: Any, path: str) -> Iterator[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        for name in one.keys() | other.keys():
            yield from differences(one.get(name), other.get(name), f"{path}.{name}")
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for number, (left, right) in enumerate(zip(one, other, strict=True)):
            yield from differences(left, right, f"{path}[{number}]")
    elif one != other and not (isinstance(other, set) and one in other):
        yield f"{path}: {one!r} {other!r}"


def test_each_field_is_where_fhir_has_it_and_comes_back() -> None:
    assert wrong(whole_message()) == []
    for is_deceased in (True, False, None):
        assert wrong(whole_message(IsDeceased=is_deceased, DeathDateTime=None)) == []


def test_the_message_has_all_fields_of_the_shape() -> None:
    def fields(shape: type[BaseModel], told: Any, path: str) -> Iterator[str]:
        for one in told if isinstance(told, list) else [told]:
            if not isinstance(one, dict):
                continue
            yield from (f"{path}.{name}" for name in shape.model_fields.keys() - one.keys())
            model = shape.model_validate(one)
            for name, value in one.items():
                below = getattr(model, name, None)
                below = below[0] if isinstance(below, list) and below else below
                if isinstance(below, BaseModel):
                    yield from fields(type(below), value, f"{path}.{name}")

    unsaid = set(fields(ResultsNew, whole_message(), "$"))
    assert unsaid == {"$.Meta.Logs", "$.Meta.Message", "$.Meta.Transmission"}


@pytest.mark.parametrize(("table", "number"), ROWS, ids=IDS)
def test_a_fault_in_any_row_is_found(monkeypatch: pytest.MonkeyPatch, table: Table, number: int) -> None:
    steps = list(table.steps)
    step = steps.pop(number)
    monkeypatch.setattr(table, "steps", tuple(steps))
    assert is_found(), "without the row"
    elsewhere = step._replace(element=place("extension[url=urn:elsewhere,*].valueString"))
    monkeypatch.setattr(table, "steps", (*steps, elsewhere))
    assert is_found(), "another element"
    another = step._replace(
        codec=codecs.Codec("upside down", lambda text: text[::-1], lambda made: made[::-1])
    )
    monkeypatch.setattr(table, "steps", (*steps, another))
    assert is_found(), "another value"


def codes(path: str, codec: codecs.Codec) -> list[tuple[str, str]]:
    return [(path, word) for word in codec.table]


CODES = [
    *codes("Orders.0.ResultsStatus", codecs.REPORT_STATUS),
    *codes("Orders.0.Results.0.Status", codecs.RESULT_STATUS),
    *codes("Orders.0.Results.0.AbnormalFlag", codecs.FLAG),
    *codes("Orders.0.Status", codecs.ORDER_STATUS),
    *codes("Orders.0.Priority", codecs.PRIORITY),
    *codes("Visit.PatientClass", codecs.CLASS),
    *codes("Patient.Demographics.Sex", codecs.SEX),
]
COLLAPSED = {"Unavailable": "Canceled", "Nonbinary": "Other"}
"""Words whose code FHIR has for another one too; beside it stands the word."""


@pytest.mark.parametrize(("path", "word"), CODES)
def test_each_word_has_the_code_that_is_published(path: str, word: str) -> None:
    message = whole_message()
    *leading, last = path.split(".")
    here: Any = message
    for name in leading:
        here = here[int(name)] if name.isdecimal() else here[name]
    here[last] = word
    found = wrong(message)
    collapsed = COLLAPSED.get(word) if leading[-1] in ("0", "Demographics") else None
    if collapsed and "Results" in path and last == "Status":
        assert [one.partition(": ")[2] for one in found] == [f"{word!r} {collapsed!r}"]
    elif collapsed and last == "Sex":
        assert {one.partition(": ")[2] for one in found} == {f"{word!r} {collapsed!r}"}
        assert all(one.startswith("FHIR") for one in found)
    else:
        assert found == []


def test_an_order_has_the_specimen_of_its_results() -> None:
    sample = {"Source": "Blood", "BodySite": None, "ID": "S-1"}
    message = results_new()
    message["Orders"] = [order(result(Specimen=sample), result("X", Specimen=sample), Specimen=sample)]
    sent = read(ResultsNew, message)
    bundle: Any = translate(sent, DEFAULT_PROFILE, "acme").bundle
    entries = {one["fullUrl"]: one["resource"] for one in bundle["entry"]}
    [report] = [one for one in entries.values() if one["resourceType"] == "DiagnosticReport"]
    told = Reader(entries.get).order(report)
    assert told["Specimen"] == sample
    assert [one["Specimen"] for one in told["Results"]] == [sample, sample]
    assert len(report["specimen"]) == 1


NOT_AS_PUBLISHED: list[tuple[str, Any, str, Any, bool]] = [
    ("Orders.0.ResultsStatus", "FINAL", "DiagnosticReport.status", "final", True),
    ("Orders.0.ResultsStatus", "Cancelled", "DiagnosticReport.status", "cancelled", True),
    ("Orders.0.ResultsStatus", "Done", "DiagnosticReport.status", "unknown", False),
    ("Orders.0.CollectionDateTime", "2026-11-20T08:00:00", "DiagnosticReport.effectiveDateTime",
     "2026-11-20T08:00:00Z", True),
    ("Orders.0.CollectionDateTime", "20261120080000+0100", "DiagnosticReport.effectiveDateTime",
     "2026-11-20T08:00:00+01:00", True),
    ("Orders.0.CollectionDateTime", "11/20/2026", "DiagnosticReport.effectiveDateTime", None, False),
    ("Orders.0.CompletionDateTime", "2026-11-20 09:00", "DiagnosticReport.issued",
     "2026-11-20T09:00:00Z", True),
    ("Orders.0.Results.0.Status", "preliminary", "Observation.status", "preliminary", True),
    ("Orders.0.Results.0.Status", "Done", "Observation.status", "unknown", False),
    ("Orders.0.Results.0.Value", "<5", "Observation.valueQuantity",
     {"value": "5", "comparator": "<", "unit": "mmol/L"}, True),
    ("Patient.Demographics.DOB", "19800203", "Patient.birthDate", "1980-02-03", True),
    ("Patient.Demographics.DOB", "02/03/1980", "Patient.birthDate", None, False),
    ("Patient.Demographics.Sex", "FEMALE", "Patient.gender", "female", True),
    ("Patient.Demographics.Sex", "F", "Patient.gender", None, False),
]  # fmt: skip


@pytest.mark.parametrize(("path", "sent", "element", "made", "is_read"), NOT_AS_PUBLISHED)
def test_what_is_nearly_right_is_read_and_the_rest_is_told(
    path: str, sent: Any, element: str, made: Any, is_read: bool
) -> None:
    message = results_new(result())
    *parts, last = path.split(".")
    place: Any = message
    for part in parts:
        place = place[int(part) if part.isdecimal() else part]
    place[last] = sent
    found = _translated(message)
    kind, name = element.split(".")
    [resource] = _of(found, kind)
    assert resource.get(name) == made
    where = "$." + re.sub(r"\.(\d+)", r"[\1]", path)
    assert found.unread == (() if is_read else (where,))


def test_times_without_a_zone_are_in_that_of_the_profile() -> None:
    message = results_new(
        result(value="2026-11-20 07:00", ValueType="DateTime"), CollectionDateTime="2026-11-20T08:00:00"
    )
    found = translate(ResultsNew.model_validate(message), profile_of({"zone": "Europe/Berlin"}), "acme")
    assert _of(found, "DiagnosticReport")[0]["effectiveDateTime"] == "2026-11-20T08:00:00+01:00"
    assert _of(found, "Observation")[0]["valueDateTime"] == "2026-11-20T07:00:00+01:00"


@pytest.mark.parametrize(("status", "shown"), [("Final", 1), ("Deleted", 0), ("deleted", 0)])
def test_a_document_that_was_deleted_is_shown_no_more(status: str, shown: int) -> None:
    value = "data:application/pdf;base64,JVBERi0xLjQ="
    found = _translated(results_new(result(value=value, ValueType="encapsulated data", Status=status)))
    forms = _of(found, "DiagnosticReport")[0].get("presentedForm", [])
    assert [(one["contentType"], one["data"]) for one in forms] == [
        ("application/pdf", "JVBERi0xLjQ=")
    ] * shown
    assert "valueString" not in _of(found, "Observation")[0]


def _translated(message: Any) -> Translation:
    return translate(ResultsNew.model_validate(message), DEFAULT_PROFILE, "acme")


def _of(found: Translation, kind: str) -> list[Any]:
    """Resources of a type; decimals as their text."""
    entries = json.loads(dump(found.bundle), parse_int=str, parse_float=str)["entry"]
    return [one["resource"] for one in entries if one["resource"]["resourceType"] == kind]
