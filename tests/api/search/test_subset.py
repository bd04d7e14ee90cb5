"""Stored bytes cut down to a subset."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from api.search.subset import ELEMENTS, SUBSETTED, cut, trim
from store.resources.pages import Entry, Page
from store.resources.resource_keys import ResourceKey
from store.search.criteria import SearchQuery, Summary
from store.search.parameters import TYPES

META = {"versionId": "1", "lastUpdated": "2026-11-22T12:00:00.000Z"}
REPORT: dict[str, Any] = {
    "resourceType": "DiagnosticReport",
    "id": "r",
    "meta": META,
    "implicitRules": "http://rules.test",
    "language": "en",
    "text": {"status": "generated", "div": "<div/>"},
    "contained": [{"resourceType": "Patient", "id": "p"}],
    "extension": [{"url": "http://extension.test", "valueBoolean": True}],
    "modifierExtension": [{"url": "http://modifier.test", "valueBoolean": True}],
    "identifier": [{"value": "1"}],
    "basedOn": [{"reference": "ServiceRequest/1"}],
    "status": "final",
    "_status": {"extension": [{"url": "http://extension.test"}]},
    "category": [{"text": "c"}],
    "code": {"text": "code"},
    "subject": {"reference": "Patient/1"},
    "encounter": {"reference": "Encounter/1"},
    "effectiveDateTime": "2026-01-01",
    "_effectiveDateTime": {"extension": [{"url": "http://extension.test"}]},
    "issued": "2026-01-01T00:00:00Z",
    "performer": [{"display": "d"}],
    "resultsInterpreter": [{"display": "d"}],
    "specimen": [{"display": "d"}],
    "result": [{"display": "d"}],
    "imagingStudy": [{"display": "d"}],
    "media": [{"id": "m", "comment": "c", "link": {"reference": "Media/1"}}],
    "conclusion": "c",
    "conclusionCode": [{"text": "c"}],
    "presentedForm": [{"contentType": "text/plain", "data": "YQ=="}],
}
ALWAYS = ["resourceType", "id", "meta", "implicitRules", "modifierExtension"]
MANDATORY = ["status", "_status", "code"]
EFFECTIVE = ["effectiveDateTime", "_effectiveDateTime"]


def entry(resource: dict[str, Any] | bytes, type: str = "DiagnosticReport") -> Entry:
    return Entry(ResourceKey(type, "r"), resource if isinstance(resource, bytes) else orjson.dumps(resource))


def shown(resource: dict[str, Any], summary: Summary, *elements: str) -> dict[str, Any]:
    """Rest of the resource, without the tag."""
    found: dict[str, Any] = orjson.loads(
        cut(entry(resource, resource["resourceType"]), summary, elements).raw
    )
    assert found["meta"].pop("tag") == [SUBSETTED]
    return found


@pytest.mark.parametrize(
    ("summary", "elements", "names"),
    [
        pytest.param(Summary.TEXT, (), ["text", *MANDATORY], id="text"),
        pytest.param(Summary.FALSE, ("code",), MANDATORY, id="mandatory ones stay"),
        pytest.param(Summary.FALSE, ("issued", "result"), [*MANDATORY, "issued", "result"], id="elements"),
        pytest.param(Summary.FALSE, ("effective",), [*MANDATORY, *EFFECTIVE], id="a choice by its base"),
        pytest.param(
            Summary.FALSE, ("effectiveDateTime",), [*MANDATORY, *EFFECTIVE], id="a choice by its name"
        ),
        pytest.param(Summary.FALSE, ("effectivePeriod",), MANDATORY, id="another choice"),
        pytest.param(Summary.FALSE, ("conclusion",), [*MANDATORY, "conclusion"], id="no prefix of a name"),
        pytest.param(Summary.FALSE, ("text", "contained"), [*MANDATORY, "text", "contained"], id="any root"),
        pytest.param(Summary.FALSE, ("nothing",), MANDATORY, id="no such element"),
    ],
)
def test_elements_of_a_report(summary: Summary, elements: tuple[str, ...], names: list[str]) -> None:
    kept = {*ALWAYS, *names}
    assert shown(REPORT, summary, *elements) == {k: v for k, v in REPORT.items() if k in kept}


def test_the_summary_of_a_report() -> None:
    left_out = (
        "language text contained extension basedOn specimen result imagingStudy conclusion conclusionCode"
        " presentedForm"
    ).split()
    expected = {name: value for name, value in REPORT.items() if name not in left_out}
    expected["media"] = [{"id": "m", "link": {"reference": "Media/1"}}]
    assert shown(REPORT, Summary.TRUE) == expected


def test_data_is_all_but_the_text() -> None:
    assert shown(REPORT, Summary.DATA) == {name: v for name, v in REPORT.items() if name != "text"}


_CONTAINED: list[dict[str, Any]] = [
    {"resourceType": "Patient", "id": "p"},
    {"resourceType": "PractitionerRole", "id": "r", "practitioner": {"reference": "#d"}},
    {"resourceType": "Practitioner", "id": "d", "name": [{"text": "#p"}]},
    {"resourceType": "Organization", "id": "#o", "partOf": {"reference": "#"}},
    {"resourceType": "Specimen"},
]


@pytest.mark.parametrize(
    ("summary", "elements", "ids"),
    [
        pytest.param(Summary.FALSE, ("subject",), ["p"], id="what an element refers to"),
        pytest.param(Summary.FALSE, ("performer",), ["p", "r", "d"], id="and what that refers to"),
        pytest.param(Summary.FALSE, ("conclusion",), None, id="nothing refers to them"),
        pytest.param(Summary.TRUE, (), ["p", "#o"], id="the summary"),
        pytest.param(Summary.TEXT, (), None, id="the text"),
    ],
)
def test_what_is_shown_leads_to_what_is_contained(
    summary: Summary, elements: tuple[str, ...], ids: list[str] | None
) -> None:
    """Else the patient that a report holds would be a `#p` that leads nowhere, which R4 does not allow."""
    contained = {
        **{k: v for k, v in REPORT.items() if k not in ("performer", "contained")},
        "contained": _CONTAINED,
        "subject": {"reference": "#p"},
        **({"performer": [{"reference": "#r"}]} if elements == ("performer",) else {}),
        "resultsInterpreter": [{"reference": "#o"}],
    }
    found = shown(contained, summary, *elements)
    expected = None if ids is None else [one for one in _CONTAINED if one.get("id") in ids]
    assert found.get("contained") == expected
    assert list(found) == [name for name in contained if name in found]


@pytest.mark.parametrize(
    ("type", "elements", "kept"),
    [
        pytest.param(
            "Observation",
            {
                "valueQuantity": {"value": 1},
                "interpretation": [{"text": "H"}],
                "component": [{"code": {"text": "c"}, "valueString": "v", "interpretation": [{}]}],
            },
            {"valueQuantity": {"value": 1}, "component": [{"code": {"text": "c"}, "valueString": "v"}]},
            id="a component",
        ),
        pytest.param(
            "Observation",
            {"valueSampledData": {"period": 1, "dimensions": 1, "data": "1 2 3"}},
            {"valueSampledData": {"period": 1, "dimensions": 1}},
            id="samples",
        ),
        pytest.param(
            "DocumentReference",
            {"content": [{"attachment": {"contentType": "text/plain", "data": "YQ=="}}]},
            {"content": [{"attachment": {"contentType": "text/plain"}}]},
            id="a document",
        ),
        pytest.param(
            "Media", {"content": {"data": "YQ=="}}, {"content": {"data": "YQ=="}}, id="nothing else is there"
        ),
        pytest.param(
            "Provenance",
            {"agent": [{"who": {"display": "d"}, "role": [{"text": "r"}]}], "reason": [{"text": "r"}]},
            {"agent": [{"who": {"display": "d"}}]},
            id="mandatory beside the summary",
        ),
        pytest.param(
            "Patient",
            {"deceasedBoolean": True, "multipleBirthBoolean": True, "photo": [{"data": "YQ=="}]},
            {"deceasedBoolean": True},
            id="a modifier",
        ),
        pytest.param("Encounter", {"participant": "wrong"}, {"participant": "wrong"}, id="a wrong shape"),
    ],
)
def test_the_summary_of_other_types(type: str, elements: dict[str, Any], kept: dict[str, Any]) -> None:
    head = {"resourceType": type, "id": "r", "meta": META}
    assert shown({**head, **elements}, Summary.TRUE) == {**head, **kept}


def test_every_type_with_parameters_of_its_own_has_a_row() -> None:
    assert {name for name, row in TYPES.items() if row.parameters} <= set(ELEMENTS)


@pytest.mark.parametrize("summary", [Summary.TRUE, Summary.TEXT, Summary.FALSE])
def test_other_types_stay_whole(summary: Summary) -> None:
    basic = entry(b'{"resourceType":"Basic","id":"r","meta":{},"text":{}}', "Basic")
    assert cut(basic, summary, ("code",)) is basic


def test_the_text_of_other_types_can_be_left_out() -> None:
    basic = {"resourceType": "Basic", "id": "r", "meta": META}
    assert shown({**basic, "text": {}}, Summary.DATA) == basic


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        pytest.param([], [SUBSETTED], id="none"),
        pytest.param([{"code": "a"}], [{"code": "a"}, SUBSETTED], id="another"),
        pytest.param({"code": "a"}, [{"code": "a"}, SUBSETTED], id="not a list"),
        pytest.param([{**SUBSETTED, "display": "d"}], [{**SUBSETTED, "display": "d"}], id="the same"),
    ],
)
def test_the_tag(tag: object, expected: object) -> None:
    stored = entry({**REPORT, "meta": {**META, "tag": tag}})
    assert orjson.loads(cut(stored, Summary.DATA).raw)["meta"] == {**META, "tag": expected}


@pytest.mark.parametrize("number", ["1.00", "1e3", "-0", "0.10", "12345678901234567890.123456789"])
def test_digits_stay(number: str) -> None:
    stored = '{"resourceType":"Observation","id":"r","meta":{"versionId":"1"},"valueQuantity":{"value":%s}}'
    found = cut(entry((stored % number).encode(), "Observation"), Summary.TRUE).raw
    assert found.endswith(b'"valueQuantity":{"value":%b}}' % number.encode())


def test_a_search_that_asks_for_nothing_gets_the_page_as_it_is() -> None:
    page = Page((entry(b"not even JSON"),), 1)
    assert trim(page, SearchQuery("DiagnosticReport")) is page


@pytest.mark.parametrize("summary", [Summary.TRUE, Summary.DATA])
def test_what_is_brought_along_is_cut_too(summary: Summary) -> None:
    page = Page((entry(REPORT),), 1, included=(entry(REPORT),))
    found = trim(page, SearchQuery("DiagnosticReport", summary=summary))
    assert found.included == found.entries == (cut(page.entries[0], summary),)


def test_elements_leave_what_is_brought_along() -> None:
    page = Page((entry(REPORT),), 1, included=(entry(REPORT),))
    found = trim(page, SearchQuery("DiagnosticReport", elements=("code",)))
    assert found.included == page.included
    assert found.entries == (cut(page.entries[0], Summary.FALSE, ("code",)),)
