"""Kinds by status, positions as tokens, and who may hear of what: tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.auth.principal import principal_of
from api.auth.tokens import new_grant
from store.changes.changes import Position
from store.changes.hearing import hears
from store.changes.kinds import Kind, kind_of
from store.changes.positions import position_of, token_of
from store.tenancy import SearchScope
from tests.support.store import LAB, NOW

if TYPE_CHECKING:
    from collections.abc import Sequence


@pytest.mark.parametrize(
    ("status", "first", "later"),
    [
        ((), "created", "updated"),
        (("final", "http://hl7.org/fhir/diagnostic-report-status|final"), "created", "updated"),
        (("registered",), "created", "updated"),
        (("amended",), "created", "corrected"),
        (("corrected",), "created", "corrected"),
        (("appended",), "created", "corrected"),
        (("cancelled",), "cancelled", "cancelled"),
        (("revoked",), "cancelled", "cancelled"),
        (("not-done",), "cancelled", "cancelled"),
        (("entered-in-error",), "entered-in-error", "entered-in-error"),
        (("Cancelled", "x|corrected"), "created", "updated"),
    ],
)
def test_a_kind_is_told_by_the_status(status: Sequence[str], first: str, later: str) -> None:
    assert (kind_of(status, creation=True), kind_of(status, creation=False)) == (Kind(first), Kind(later))


@given(st.integers(0, 10**17), st.integers(0, 2**31 - 1))
def test_a_position_comes_back_from_its_token(number: int, mark: int) -> None:
    token = token_of(Position(number, mark))
    assert position_of(token) == (number, mark)
    assert token.isascii()
    assert not set(token) & set("+/=&?# ")


@pytest.mark.parametrize(
    "token", ["", "x", "MS4w", "MS4wMS4x", "Mi4xLjE", "ä", "MS4xLjE\n", "MS4xLjE" * 9, "%00"]
)
def test_a_token_that_nobody_gave_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match="is no token that this server gave"):
        position_of(token)


@pytest.mark.parametrize(
    ("scope", "type", "patient", "any_"),
    [
        ("system/*.cruds", "DiagnosticReport", True, True),
        ("system/*.rs", "DiagnosticReport", False, True),
        ("system/*.rs", "Organization", True, True),
        ("system/DiagnosticReport.rus", "DiagnosticReport", True, True),
        ("system/DiagnosticReport.rus", "Observation", False, False),
        ("system/DiagnosticReport.r", "DiagnosticReport", False, False),
        ("system/DiagnosticReport.cu", "DiagnosticReport", False, False),
        ("system/Observation.rs?category=laboratory", "Observation", False, True),
        ("dod/admin", "DiagnosticReport", False, False),
    ],
)
def test_who_may_hear_of_a_type(scope: str, type: str, patient: bool, any_: bool) -> None:
    grant = new_grant(token="dod_made-up", client="c", tenants=[LAB], scopes=[scope], now=NOW, days=1)
    caller = principal_of(grant)
    heard = tuple(hears(caller, type, one) for one in (SearchScope.PATIENT, SearchScope.ANY))
    assert heard == (patient, any_)
