"""SMART system scopes, by the table."""

from __future__ import annotations

from itertools import chain, combinations, permutations

import pytest

from api.auth.scopes import ADMIN, LETTERS, merge_scopes, parse_scope


@pytest.mark.parametrize(
    ("text", "type", "letters"),
    [
        ("system/DiagnosticReport.rs", "DiagnosticReport", "rs"),
        ("system/DiagnosticReport.s", "DiagnosticReport", "s"),
        ("system/*.cruds", "*", "cruds"),
        ("system/*.*", "*", "cruds"),
        ("system/Patient.read", "Patient", "rs"),
        ("system/Patient.write", "Patient", "cud"),
    ],
)
def test_scope_is_understood(text: str, type: str, letters: str) -> None:
    assert parse_scope(text) == (type, letters)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("system/Observation.rs?category=lab", "not be enforced"),
        ("patient/*.rs", "system/"),
        ("user/*.rs", "system/"),
        ("system/diagnosticReport.rs", "system/"),
        ("system/DiagnosticReport", "system/"),
        ("system/DiagnosticReport.", "system/"),
        ("system/DiagnosticReport.sr", "in this order"),
        ("system/DiagnosticReport.rr", "in this order"),
        ("system/DiagnosticReport.x", "in this order"),
        ("system/DiagnosticReport.rs ", "system/"),
        ("openid", "system/"),
        ("", "system/"),
    ],
)
def test_scope_is_refused_with_the_rule(text: str, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        parse_scope(text)


def test_exactly_the_ordered_subsets_of_the_letters_are_suffixes() -> None:
    sizes = range(1, len(LETTERS) + 1)
    ordered = {"".join(letters) for size in sizes for letters in combinations(LETTERS, size)}
    for letters in chain.from_iterable(permutations(LETTERS, size) for size in sizes):
        suffix = "".join(letters)
        if suffix in ordered:
            assert parse_scope(f"system/Patient.{suffix}").letters == suffix
        else:
            with pytest.raises(ValueError, match="in this order"):
                parse_scope(f"system/Patient.{suffix}")


def test_scopes_add_up_and_the_admin_scope_is_no_resource_scope() -> None:
    merged = merge_scopes(["system/Patient.r", "system/Patient.s", "system/*.c", ADMIN])
    assert merged == {"Patient": frozenset("rs"), "*": frozenset("c")}
