"""Rules of R4's datatypes: each with its place, no value told; no shape breaks the walk."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.pipeline.decode import decode
from ingest.pipeline.prepare import prepare
from ingest.pipeline.validation.structure import ISSUES_MAX, faults
from ingest.pipeline.validation.tolerances import KEPT, TOLERANCES, without_blanks
from store.errors import Category, ServiceError
from tests.support.reports import attempt, refusal, report, said

SENTINEL = "Doe-4711"
DIV = "<div xmlns='http://www.w3.org/1999/xhtml'>"
FORM = {"contentType": "text/plain", "data": "Zm9v"}


@pytest.mark.parametrize(
    "elements",
    [
        {"issued": "2020-01-01T00:00:00Z"},
        {"issued": "2020-01-01T00:00:00.123+02:00"},
        {
            "text": {
                "status": "generated",
                "div": f"{DIV}<p class='x'>Conscript onset = 3 &lt;script&gt;</p></div>",
            }
        },
        {"effectivePeriod": {"start": "2020-01-01", "end": "2020-01-01"}},
        {"effectivePeriod": {"start": "2020-01-01T10:00:00Z", "end": "2020-01-01"}},
        {"effectivePeriod": {"start": "2020-01-02"}},
        {"presentedForm": [FORM, {**FORM, "size": 3}, {"url": "Binary/1"}, {**FORM, "data": "Zm9v\nYmFy"}]},
        {"extension": [{"url": "urn:unknown", "valueOid": "urn:oid:1.2.0.3"}]},
        {"extension": [{"url": "urn:unknown", "valueInteger": 0, "_x": [None, {"id": "1"}]}]},
        {
            "performer": [
                {"reference": "a", "_display": {"id": "1"}, "extension": [{"url": "u", "valueCode": "x"}]}
            ]
        },
        {"unheardOf": {"nested": [[1], {"": 0}]}},
        {"meta": {"profile": ["urn:x"], "source": "urn:y", "tag": [{"code": "z"}]}},
    ],
)
def test_good(elements: dict[str, Any]) -> None:
    assert faults(report(**elements)) == ()


@pytest.mark.parametrize(
    "text", ["<", "< ", "< / ", "<a href= ", "<a onx ", "<a href=' ", " onx", "<a src ="]
)
@pytest.mark.parametrize("filler", ["<", " ", "", "< on"])
def test_a_long_narrative_is_read_in_one_go(text: str, filler: str) -> None:
    """Read from each `<` to its end, or with blanks shared out in each way, it takes hours."""
    repeated = text * 50_000 if not filler else text + filler * 50_000
    div = f"{DIV}{repeated}</div>"
    assert faults(report(text={"status": "generated", "div": div})) == ()
    [fault] = faults(
        report(text={"status": "generated", "div": f"{DIV}{repeated}<p <b onclick = 'x'></div>"})
    )
    assert "active content" in fault.text


def test_what_is_issued_is_an_instant_of_reports_and_observations_only() -> None:
    assert faults({"resourceType": "Contract", "issued": "2013-11"}) == ()
    [fault] = faults({"resourceType": "Observation", "issued": "2013-11"})
    assert fault.expression == ("Observation.issued",)


@pytest.mark.parametrize(
    ("elements", "path"),
    [
        ({"issued": "2023"}, "issued"),
        ({"issued": "2023-01-01T00:00:00"}, "issued"),
        ({"issued": "2023-02-30T00:00:00Z"}, "issued"),
        ({"text": {"status": "empty"}}, "text"),
        ({"text": SENTINEL}, "text"),
        ({"text": {"status": "generated", "div": SENTINEL}}, "text"),
        ({"text": {"status": "generated", "div": f"{DIV}<SCRIPT>{SENTINEL}</SCRIPT></div>"}}, "text"),
        ({"text": {"status": "generated", "div": f"{DIV}<a href=' javascript:x'>x</a></div>"}}, "text"),
        ({"text": {"status": "generated", "div": f"{DIV}<p title='x' onclick = 'x'>x</p></div>"}}, "text"),
        ({"text": {"status": "generated", "div": f"{DIV}<svg/onload=x></svg></div>"}}, "text"),
        ({"effectivePeriod": {"start": "2021", "end": "2020"}}, "effectivePeriod"),
        ({"effectivePeriod": {"start": "2020-01-01", "end": "2020-01-01T06:00:00Z"}}, "effectivePeriod"),
        ({"effectivePeriod": {"start": SENTINEL, "end": "2020"}}, "effectivePeriod"),
        ({"presentedForm": [FORM, {"data": "Zm9v"}]}, "presentedForm[1]"),
        ({"presentedForm": [{**FORM, "data": "%%%"}]}, "presentedForm[0]"),
        ({"presentedForm": [{**FORM, "data": 7}]}, "presentedForm[0]"),
        (
            {"extension": [{"url": "urn:x", "valueAttachment": {**FORM, "size": 4}}]},
            "extension[0].valueAttachment",
        ),
        (
            {"extension": [{"url": "urn:x", "valueAttachment": {**FORM, "size": True}}]},
            "extension[0].valueAttachment",
        ),
        ({"extension": [{"url": "u", "valueOid": f"urn:oid:{SENTINEL}"}]}, "extension[0].valueOid"),
        ({"extension": [{"url": "u", "valueBoolean": "true"}]}, "extension[0].valueBoolean"),
        ({"extension": [{"url": "u", "valueInteger": True}]}, "extension[0].valueInteger"),
        ({"extension": [{"url": "u", "valueString": 7}]}, "extension[0].valueString"),
        ({"extension": [{"url": "u", "valueDate": "2020-01-01T00:00:00Z"}]}, "extension[0].valueDate"),
        ({"extension": [{"url": "u", "valueReference": "x"}]}, "extension[0].valueReference"),
        ({"category": [{"coding": []}]}, "category[0].coding"),
        ({"category": [{}]}, "category[0]"),
        ({"meta": {"source": [SENTINEL, SENTINEL]}}, "meta"),
        ({"codedDiagnosis": [{"text": SENTINEL}]}, "codedDiagnosis"),
        ({"composition": {"reference": SENTINEL}}, "composition"),
        ({"performer": [{"actor": {"reference": SENTINEL}}]}, "performer"),
        ({"contained": [{"resourceType": "Patient", "text": {"status": "x"}}]}, "contained[0].text"),
    ],
)
def test_fault(elements: dict[str, Any], path: str) -> None:
    error = refusal(lambda: prepare(report(**elements), "1", base="https://x"))
    assert error.category is Category.UNPROCESSABLE
    assert [issue.expression for issue in error.issues] == [(f"DiagnosticReport.{path}",)]
    assert SENTINEL not in said(error)


def test_as_a_companion_the_same_is_kept_and_named() -> None:
    ready = prepare(report(text={"status": "empty"}), "1", base="https://x", companion=True)
    assert ready.tolerances == ("faulty-companion", "missing-required")


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ({"a": {"b": "", "c": 1}}, {"a": {"c": 1}}),
        ({"a": [{"b": None}, {"c": 1}]}, {"a": [{"c": 1}]}),
        ({"a": {"b": {"c": ""}}}, {}),
        (
            {"a": [None, "x", ""], "_a": [{"id": "1"}, None, None]},
            {"a": [None, "x", ""], "_a": [{"id": "1"}, None, None]},
        ),
        ({"a": {"b": []}, "c": 0, "d": False}, {"a": {"b": []}, "c": 0, "d": False}),
    ],
)
def test_blanks_inside(sent: dict[str, Any], kept: dict[str, Any]) -> None:
    assert without_blanks(sent) == kept


def test_names_of_tolerances_are_unique_and_say_why() -> None:
    assert not {one.name for one in TOLERANCES} & KEPT.keys()
    assert all(KEPT.values())


def test_many_faults_are_told_up_to_a_bound() -> None:
    many = [{"url": "u", "valueOid": "x"} for _ in range(10_000)]
    assert len(faults(report(extension=many))) == ISSUES_MAX


def test_deep_nesting_is_refused() -> None:
    deep: Any = {"x": 1}
    for _ in range(200):
        deep = {"extension": [deep]}
    assert any("nested too deep" in issue.text for issue in faults(report(**deep)))


# --- whatever comes

_NAMES = st.sampled_from(
    "resourceType id meta text status code subject performer result issued effectivePeriod period"
    " presentedForm contained"
    " identifier extension valueOid valueReference data contentType size start end div reference"
    " coding system value url focus source event lastUpdated timestamp entry type".split()
) | st.just(SENTINEL)
_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.just(SENTINEL)
    | st.text(max_size=3)
    | st.sampled_from(["DiagnosticReport", "Patient", "final", "2020", "urn:oid:1.2", "#x", "\ud800"])
)
_ANY = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(_NAMES, _ANY, max_size=6), st.booleans(), st.booleans())
def test_whatever_is_sent_is_made_ready_or_refused_and_never_quoted(
    elements: dict[str, Any],
    companion: bool,
    strict: bool,
) -> None:
    body = json.dumps({**report(), **elements}).encode()

    def run() -> object:
        return prepare(decode(body), "1", base="https://x", companion=companion, strict=strict)

    done = attempt(run)
    if isinstance(done, ServiceError):
        assert done.category in (Category.INCORRECT, Category.UNPROCESSABLE)
        assert done.issues
        assert SENTINEL not in said(done)
