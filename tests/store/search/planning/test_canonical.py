"""Spellings of one question have one canonical form, other questions have another."""

from __future__ import annotations

from typing import get_args
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.search.criteria import Clause
from store.search.parsing.context import SearchContext, SearchLimits
from store.search.parsing.parse import parse
from store.search.planning.canonical import FORMS, canonical

BASE = "https://dod.example/fhir/R4/lab/Production"


def form(text: str, type: str = "DiagnosticReport", now: int = 0) -> object:
    pairs = parse_qsl(text, keep_blank_values=True)
    return canonical(parse(type, pairs, SearchContext(SearchLimits(), BASE, now, strict=True)).query.clauses)


SAME = [
    ("identifier=urn:a|1", "identifier=urn%3Aa%7C1"),
    ("identifier=urn:a|1", "identifier=urn:a|1&identifier=urn:a|1"),
    ("identifier=urn:a|1", "identifier=urn:a|1,urn:a|1"),
    ("identifier=urn:a|1,urn:a|2", "identifier=urn:a|2,urn:a|1"),
    ("identifier=urn:a|1", "identifier=urn:a|1&_sort=date&_count=3&_format=json"),
    ("patient=p1&code=x", "code=x&patient=p1"),
    ("patient=p1", "patient=Patient/p1"),
    ("patient=p1", f"patient={BASE}/Patient/p1"),
    ("subject=Patient/p1", "subject:Patient=p1"),
    ("subject:Patient.identifier=a|1", "patient.identifier=a|1"),
    ("code=http://loinc.org|ABC", "code=http://loinc.org|abc"),
    (
        "category=http://hl7.org/fhir/v2/0074|LAB",
        "category=http://terminology.hl7.org/CodeSystem/v2-0074|lab",
    ),
    ("code:text=blood count", "code:text=Blood++COUNT"),
    ("date=2020-05-05", "date=eq2020-05-05"),
    ("date=2020-05-05T10:00:00Z", "date=2020-05-05T12:00:00%2B02:00"),
    ("date=ge2020&date=lt2021", "date=lt2021&date=ge2020"),
    ("date=ge2021,lt2020", "date=lt2020,ge2021"),
    ("order=7", "order=7&order=7"),
    ("_content=blood count", "_content=count blood"),
    ("_has:Provenance:target:agent=x", "_has:Provenance:target:agent=x&_has:Provenance:target:agent=x"),
    ("media:missing=true", "media:missing=true&media:missing=true"),
    ("results-interpreter=Practitioner/1", "resultsInterpreter=Practitioner/1"),
]
OTHER = [
    ("identifier=urn:a|1", "identifier=urn:a|2"),
    ("identifier=urn:a|1", "identifier=1"),
    ("identifier=a", "identifier=A"),
    ("identifier=a,b", "identifier=a&identifier=b"),
    ("identifier=a\\,b", "identifier=a,b"),
    ("code=a", "code:not=a"),
    ("code=a", "code:text=a"),
    ("code=a", "category=a"),
    ("code:missing=true", "code:missing=false"),
    ("subject=Patient/p1", "subject=Group/p1"),
    ("subject=Patient/p1", "subject:identifier=Patient/p1"),
    ("patient=p1", f"patient={BASE}x/Patient/p1"),
    ("patient=p1", "patient=Patient/p1/_history/1"),
    ("patient.identifier=a|1", "patient.identifier=a|2"),
    ("patient.identifier=a|1", "subject.identifier=a|1"),
    ("performer:Organization.identifier=1", "performer:Practitioner.identifier=1"),
    ("date=2020", "date=ge2020"),
    ("date=2020", "date=2020-01"),
    ("date=ap2020", "date=ap2021"),
    ("patient.name=lee", "patient.name:exact=lee"),
    ("order=7", "order=8"),
    ("_content=blood count", "_content=blood,count"),
]


def test_each_kind_of_clause_has_a_form() -> None:
    assert set(FORMS) == set(get_args(Clause))


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_same_question(one: str, other: str) -> None:
    assert form(one) == form(other)
    assert ascii(form(one)) == ascii(form(other))


@pytest.mark.parametrize(("one", "other"), OTHER)
def test_another_question(one: str, other: str) -> None:
    assert form(one) != form(other)
    assert ascii(form(one)) != ascii(form(other))


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("value-quantity=5.4", "value-quantity=eq5.4", True),
        ("value-quantity=5.4", "value-quantity=5.40", False),
        ("value-quantity=5.4||mg", "value-quantity=5.4", False),
        ("code-value-quantity=a$5", "code-value-quantity=A$5", True),
        ("code-value-quantity=a$5", "code-value-quantity=a$6", False),
        ("code-value-quantity=a$5,b$6", "code-value-quantity=b$6,a$5", True),
    ],
)
def test_of_observations(one: str, other: str, *, equal: bool) -> None:
    assert (form(one, "Observation") == form(other, "Observation")) is equal


PARTS = [one for pair in SAME for one in pair]


@given(
    st.lists(st.sampled_from(PARTS), min_size=1, max_size=6).flatmap(
        lambda p: st.tuples(st.just(p), st.permutations(p))
    )
)
def test_neither_order_nor_repetition_matters(parts: tuple[list[str], list[str]]) -> None:
    one, other = parts
    assert form("&".join(one)) == form("&".join([*other, *one]))
