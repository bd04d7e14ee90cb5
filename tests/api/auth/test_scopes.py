"""SMART system scopes, by the table."""

from __future__ import annotations

from itertools import chain, combinations, permutations

import pytest

from api.auth.scopes import (
    ADMIN,
    AUDIT,
    LETTERS,
    PURGE,
    PUSH,
    checked,
    granted,
    merge_scopes,
    parse_scope,
    rights_of,
)
from store.search.parameters import TYPES


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
    assert parse_scope(text) == (type, letters, "")


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("system/*.rs?category=lab", "names its resource type"),
        ("system/Observation.cruds?category=lab", "is not tested by a query"),
        ("system/Observation.rs?", "system/"),
        ("system/Observation.rs?category=lab here", "system/"),
        ("system/Observation.rs?category=lab&code=", "with their values"),
        ("system/Observation.rs?category=lab&_format=json", "token and reference"),
        ("system/Observation.rs?kategory=lab", "no search parameter"),
        ("system/Observation.rs?category", "token and reference"),
        ("system/Observation.rs?_count=5&category=lab", "token and reference"),
        ("system/Observation.rs?_sort=date", "token and reference"),
        ("system/Observation.rs?_include=Observation:subject&category=lab", "token and reference"),
        ("system/Observation.rs?date=ge2026", "token and reference"),
        ("system/Observation.rs?code:text=sodium", "token and reference"),
        ("system/Observation.rs?code:missing=true", "token and reference"),
        ("system/Observation.rs?subject.name=smith", "token and reference"),
        ("system/Observation.rs?patient.identifier=a|b", "token and reference"),
        ("system/Observation.rs?_has:DiagnosticReport:result:status=final", "token and reference"),
        ("system/Observation.rs?category:above=lab", "not supported"),
        ("system/Observation.rs?category=%ff", "UTF-8"),
        ("system/Observation.rs?" + "&".join(["category=a"] * 21), "at most 20"),
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


@pytest.mark.parametrize(
    "text",
    [
        "system/Observation.rs?category=http://terminology.hl7.org/CodeSystem/observation-category|laboratory",
        "system/Observation.r?category=laboratory,vital-signs&status=final",
        "system/Observation.s?code:not=1-1",
        "system/Observation.read?subject=Patient/1",
        "system/DiagnosticReport.rs?_security=N,R",
        "system/Patient.rs?identifier=urn:a|7",
        "system/Patient.rs?_id=1",
    ],
)
def test_scopes_with_a_query_are_understood_and_written_again(text: str) -> None:
    scope = parse_scope(text)
    assert parse_scope(scope.text()) == scope
    assert rights_of([text]).whole == {}
    assert [part.type for part in rights_of([text]).parts] == [scope.type]


LAB = "system/Observation.rs?category=laboratory"


@pytest.mark.parametrize(
    ("asked", "allowed", "given"),
    [
        ("system/DiagnosticReport.rs", "system/DiagnosticReport.rs", "system/DiagnosticReport.rs"),
        ("system/DiagnosticReport.rs", "system/*.cruds", "system/DiagnosticReport.rs"),
        ("system/*.read", "system/List.rs system/Patient.r", "system/List.rs system/Patient.r"),
        ("system/DiagnosticReport.cruds", "system/DiagnosticReport.rs", "system/DiagnosticReport.rs"),
        ("system/Patient.rs", "system/DiagnosticReport.rs", ""),
        ("system/DiagnosticReport.u", "system/DiagnosticReport.rs", ""),
        ("system/Observation.rs", LAB, LAB),
        ("system/*.cruds", LAB, LAB),
        (LAB, "system/*.cruds", LAB),
        (LAB, LAB, LAB),
        ("system/Observation.s?status=final", LAB, "system/Observation.s?status=final&category=laboratory"),
        ("dod/admin", "dod/admin system/*.rs", "dod/admin"),
        ("dod/admin dod/purge", "dod/purge", "dod/purge"),
        ("dod/purge", "dod/admin", ""),
        ("dod/push", "dod/push", "dod/push"),
        ("dod/push", "system/*.cruds", ""),
        ("system/Patient.cud", "dod/push", "system/Patient.cu"),
        ("system/Patient.rs", "dod/push", ""),
    ],
)
def test_what_is_granted_of_what_is_asked(asked: str, allowed: str, given: str) -> None:
    assert granted(asked.split(), allowed.split()) == tuple(given.split())


@pytest.mark.parametrize("asked", ["system/DiagnosticReprt.rs", "system/Patient.x", "dod/root", "openid"])
def test_what_is_malformed_or_misspelt_is_refused_before_it_is_granted(asked: str) -> None:
    with pytest.raises(ValueError, match="scope"):
        granted([asked], ["system/*.cruds"])


def test_scopes_that_would_not_fit_into_a_token() -> None:
    many = [f"system/Observation.rs?code=code-{n}" for n in range(200)]
    with pytest.raises(ValueError, match="4000 characters"):
        checked(many)


def test_the_services_own_scopes_allow_nothing_but_their_own() -> None:
    rights = rights_of([ADMIN, PURGE, AUDIT])
    assert not rights.whole
    assert not rights.parts
    assert rights.own == {ADMIN, PURGE, AUDIT}
    assert rights_of([PUSH]).whole == {"*": frozenset("cu")}


def test_each_scope_is_read_once_however_many_there_are() -> None:
    """A token asks for some 150, and each is held against each of its client's."""
    names = [f"system/{name}.{letters}" for name in sorted(TYPES)[:20] for letters in ("r", "rs", "cruds")]
    parse_scope.cache_clear()
    assert set(granted(names, names)) == set(names)
    assert parse_scope.cache_info().misses == len(names)


def test_a_scope_that_was_issued_before_a_rule_gives_nothing_and_spoils_nothing() -> None:
    rights = rights_of(("system/Observation.rs?category=lab&code=", "system/Patient.rs", "system/Old.q"))
    assert (dict(rights.whole), rights.parts) == ({"Patient": frozenset("rs")}, ())
