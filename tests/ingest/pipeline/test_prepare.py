"""The pure line of a push, from JSON to what the store is given."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.pipeline.prepare import prepare
from ingest.pipeline.stamp import digest
from store.errors import Category, ServiceError
from store.resources.resource_keys import ResourceKey
from store.search.index import index
from tests.support.reports import BASE, attempt, refusal, report, said

DR = "DiagnosticReport"


def test_a_report() -> None:
    resource = report(subject={"reference": f"{BASE}/Patient/p"}, meta={"versionId": "9"})
    ready = prepare(resource, "r-1", base=BASE, fresh=True)
    prepared = ready.prepared
    assert prepared.key == ResourceKey(DR, "r-1")
    assert prepared.indexed == index(resource, DR, base=BASE)
    assert prepared.indexed.fields["patient"] == ["Patient/p"]
    assert prepared.digest == digest(prepared.body)
    assert (prepared.fresh, prepared.only_absent, prepared.only_version, ready.tolerances) == (
        True,
        False,
        None,
        (),
    )


def test_a_mended_report_is_indexed_and_kept_as_mended() -> None:
    lone = {"coding": [{"code": "LAB"}]}
    mended, listed = (prepare(report(category=one), "r", base=BASE) for one in (lone, [lone]))
    assert mended.prepared == listed.prepared
    assert (mended.tolerances, listed.tolerances) == (("object-for-list",), ())


@pytest.mark.parametrize(
    ("more", "paths"),
    [
        pytest.param({"status": "Doe", "id": "_"}, ["id", "status"], id="validation"),
        pytest.param({"issued": "Doe", "subject": "Doe"}, ["issued", "subject"], id="search"),
        pytest.param({"status": None}, ["status"], id="null for what is required"),
        pytest.param({"code": {}}, ["code"], id="empty for what is required"),
    ],
)
def test_all_issues_are_refused_at_once(more: dict[str, Any], paths: list[str]) -> None:
    error = refusal(lambda: prepare(report(**more), "r", base=BASE))
    assert error.category is Category.UNPROCESSABLE
    assert {issue.expression[0] for issue in error.issues} == {f"{DR}.{path}" for path in paths}
    assert "Doe" not in said(error)


_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**15), 10**15) | st.text(max_size=3) | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)
_NAMES = st.sampled_from(
    [
        "resourceType",
        "id",
        "meta",
        "status",
        "code",
        "contained",
        "subject",
        "identifier",
        "issued",
        "media",
        "x",
    ]
)


@given(st.dictionaries(_NAMES, _JSON, max_size=4))
def test_any_json_is_prepared_or_refused(elements: dict[str, Any]) -> None:
    found = attempt(lambda: prepare(report(**elements), "r", base=BASE))
    if isinstance(found, ServiceError):
        assert found.category in {Category.UNPROCESSABLE, Category.INCORRECT}
        assert found.issues
    else:
        assert found.prepared.key.id == "r"
