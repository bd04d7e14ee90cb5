"""Entries of the `keyed` index that name a patient, and those that say more than that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from store.mongo.documents import patients_among
from store.retention.erased_names import PATIENT, Name, patients_of
from store.search.index import index
from store.search.keys import key, quoted, scoped_key, unquoted
from tests.support.reports import BASE, report

if TYPE_CHECKING:
    from collections.abc import Sequence

VALUES = st.text(st.sampled_from("7&\\=|co\n"), max_size=8)
NAMED = "patient.identifier"


@given(VALUES)
def test_a_patients_spelling_is_read_back(spelling: str) -> None:
    assert unquoted(quoted(spelling)) == spelling
    assert unquoted(f"{quoted(spelling)}&code=8") is None


@given(VALUES, VALUES, VALUES)
def test_no_entry_of_one_patient_is_that_of_another_and_a_code(one: str, other: str, code: str) -> None:
    assert key(NAMED, one) != scoped_key(key(NAMED, other), "code", code)
    if one != other:
        assert scoped_key(key(NAMED, one), "code", "c") != scoped_key(key(NAMED, other), "code", "c")


def entries(**subject: Any) -> Sequence[str]:
    return index(report(subject=subject), "DiagnosticReport", base=BASE).keys


def test_a_number_that_looks_like_a_number_and_a_code() -> None:
    one = entries(identifier={"system": "urn:s", "value": "7"})
    other = entries(identifier={"system": "urn:s", "value": "7&code=58410-2"})
    assert set(one).isdisjoint({k for k in other if k.startswith("patient")})
    told = {Name(PATIENT, "urn:s|7&code=58410-2")}
    assert patients_of(other) == told
    assert patients_of(patients_among(other)) == told
    assert patients_of(one) == patients_of(patients_among(one)) == {Name(PATIENT, "urn:s|7")}
