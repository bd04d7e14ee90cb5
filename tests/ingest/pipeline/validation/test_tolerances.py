"""Each named deviation, and that nothing else is touched."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.pipeline.validation.tolerances import TOLERANCES, mend
from tests.support.reports import report

CODING = {"coding": [{"code": "LAB"}]}
FORM: dict[str, Any] = {"contentType": "text/plain", "data": "Zm9v"}
SHA1 = "C+7Hteo/D9vJXQ3UfzxbwnXaijM="


@pytest.mark.parametrize(
    ("sent", "kept", "applied"),
    [
        pytest.param({"note": None}, {}, ("null-element",), id="null"),
        pytest.param({"note": ""}, {}, ("empty-element",), id="empty text"),
        pytest.param({"note": []}, {}, ("empty-element",), id="empty list"),
        pytest.param({"note": {}}, {}, ("empty-element",), id="empty object"),
        pytest.param({"category": {}}, {}, ("empty-element",), id="an empty object for a list"),
        pytest.param(
            {"a": None, "b": "", "category": [CODING]},
            {"category": [CODING]},
            ("null-element", "empty-element"),
            id="all of them",
        ),
        pytest.param(
            {"subject": {"display": "x"}}, {"subject": {"display": "x"}}, (), id="an object that is one"
        ),
        pytest.param(
            {"flag": False, "count": 0}, {"flag": False, "count": 0}, (), id="false and zero are values"
        ),
        pytest.param(
            {"presentedForm": [{**FORM, "size": 4, "hash": "eA=="}, FORM]},
            {"presentedForm": [{**FORM, "size": 3, "hash": SHA1}, FORM]},
            ("attachment-size", "attachment-hash"),
            id="what is said of data",
        ),
        pytest.param(
            {"content": [{"attachment": FORM | {"size": True}}], "photo": FORM | {"hash": ""}},
            {"content": [{"attachment": FORM | {"size": 3}}], "photo": FORM | {"hash": SHA1}},
            ("attachment-size", "attachment-hash"),
            id="within an element",
        ),
        pytest.param(
            {
                "presentedForm": [
                    {**FORM, "size": 3, "hash": SHA1},
                    {**FORM, "data": "?", "size": 9},
                    {"size": 1},
                ]
            },
            {
                "presentedForm": [
                    {**FORM, "size": 3, "hash": SHA1},
                    {**FORM, "data": "?", "size": 9},
                    {"size": 1},
                ]
            },
            (),
            id="data that says so, and no data",
        ),
        pytest.param({"extension": [{"url": "urn:x"}]}, {"extension": [{"url": "urn:x"}]}, (), id="unknown"),
    ],
)
def test_mend(sent: dict[str, Any], kept: dict[str, Any], applied: tuple[str, ...]) -> None:
    assert mend(report(**sent)) == (report(**kept), applied)


def test_what_needs_nothing_is_the_same_object() -> None:
    resource = report(category=[CODING])
    assert mend(resource).resource is resource


def test_the_order_of_members_stays() -> None:
    assert list(mend(report(a=1, category=CODING, b=None, c=2)).resource)[-3:] == ["a", "category", "c"]


def test_the_same_name_in_another_type_is_not_touched() -> None:
    resource: dict[str, Any] = {"resourceType": "Basic", "category": CODING}
    assert mend(resource).resource is resource


def test_names_are_unique_and_say_why() -> None:
    assert len({one.name for one in TOLERANCES}) == len(TOLERANCES)
    assert all(one.why for one in TOLERANCES)


_VALUES: st.SearchStrategy[Any] = st.sampled_from([None, "", [], {}, "x", CODING, [CODING], 0, False])
_NAMES = st.sampled_from(["identifier", "category", "result", "subject", "note", "code", "id"])


@given(st.sampled_from(["DiagnosticReport", "Patient", "Basic"]), st.dictionaries(_NAMES, _VALUES))
def test_what_was_mended_once_needs_no_mending(type: str, elements: dict[str, Any]) -> None:
    sent = {"resourceType": type, **elements}
    before = dict(sent)
    mended = mend(sent).resource
    assert sent == before
    assert mend(mended).applied == ()
