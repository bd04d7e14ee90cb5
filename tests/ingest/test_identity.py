"""Natural keys, and the ids derived from them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ingest.identity import Identity, identity, of_source, stable_id
from store.resources import Identified
from store.tenancy import Tenant
from tests.support.reports import report

LAB = Tenant("lab", "Production")
SECRET = b"s" * 32


def numbered(value: str, kind: str | None = None, system: str | None = "urn:n") -> dict[str, Any]:
    found: dict[str, Any] = {"value": value}
    if system is not None:
        found["system"] = system
    if kind is not None:
        found["type"] = {"coding": [{"code": kind}]}
    return found


def of(resource: dict[str, Any]) -> Identity:
    return identity(resource, source="client c", fallback="f")


def named(type: str, spelling: str) -> Identity:
    return Identity(f"{type} {spelling}", Identified(type, spelling))


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        pytest.param(report(identifier=[numbered("1")]), named("DiagnosticReport", "urn:n|1"), id="one"),
        pytest.param(
            report(identifier=[numbered("1"), numbered("2", "ACSN"), numbered("3", "FILL")]),
            named("DiagnosticReport", "urn:n|3"),
            id="the filler's goes first",
        ),
        pytest.param(
            report(identifier=[numbered("1", "PLAC"), numbered("2", "ACSN")]),
            named("DiagnosticReport", "urn:n|2"),
            id="the accession before the order",
        ),
        pytest.param(
            report(identifier=[numbered("1", system=None), numbered("2")]),
            named("DiagnosticReport", "urn:n|2"),
            id="a value without system is no key",
        ),
        pytest.param(report(id="d-1"), Identity("DiagnosticReport client c d-1"), id="the source's id"),
        pytest.param(report(), Identity("DiagnosticReport client c f"), id="the fallback"),
        pytest.param(report(id=7), Identity("DiagnosticReport client c f"), id="an id that is none"),
        pytest.param(
            report(identifier=["x"], id="d-1"),
            Identity("DiagnosticReport client c d-1"),
            id="malformed identifiers",
        ),
        pytest.param(
            {"resourceType": "Patient", "identifier": [numbered("1", "SS"), numbered("2", "MR")]},
            named("Patient", "urn:n|2"),
            id="a patient's record number",
        ),
        pytest.param(
            {"resourceType": "Patient", "identifier": numbered("1")},
            named("Patient", "urn:n|1"),
            id="a lone object",
        ),
        pytest.param(
            {"resourceType": "Patient", "identifier": [numbered("a|b", system="u\\")]},
            named("Patient", "u\\\\|a\\|b"),
            id="bars are escaped",
        ),
    ],
)
def test_identity(resource: dict[str, Any], expected: Identity) -> None:
    assert of(resource) == expected


def test_reports_of_one_order_are_told_apart_by_their_code() -> None:
    order = [numbered("1", "PLAC")]
    blood, urine = (of(report(identifier=order, code={"coding": [{"code": code}]})) for code in ("b", "u"))
    text = of(report(identifier=order, code={"text": "b"}))
    assert blood.name == text.name != urine.name
    assert blood.identifier is None


@pytest.mark.parametrize("code", ["x", 7, None, {"coding": ["x"]}, {"coding": [{}]}, {}])
def test_a_malformed_code_of_an_order_is_not_identitys_to_refuse(code: Any) -> None:
    assert of(report(identifier=[numbered("1", "PLAC")], code=code)).identifier is None


_VALUES = st.text(alphabet="ab| \\", min_size=1, max_size=4)


@example(order="a", code="b", number="a b")
@given(_VALUES, _VALUES, _VALUES)
def test_an_order_and_a_code_never_read_like_another_number(order: str, code: str, number: str) -> None:
    shared = report(identifier=[numbered(order, "PLAC")], code={"coding": [{"code": code}]})
    assert of(shared).name != of(report(identifier=[numbered(number, "FILL")])).name


@example(a="a", b="b c", c="a b", d="c")
@given(_VALUES, _VALUES, _VALUES, _VALUES)
def test_two_orders_with_codes_are_one_only_when_both_are_equal(a: str, b: str, c: str, d: str) -> None:
    first, second = (
        of(report(identifier=[numbered(order, "PLAC")], code={"coding": [{"code": code}]})).name
        for order, code in ((a, b), (c, d))
    )
    assert (first == second) is ((a, b) == (c, d))


def test_the_sources_own_ids_are_kept_apart_by_source() -> None:
    one, other = (
        of_source(report(id="1"), source=source, fallback="f").name for source in ("client a", "client b")
    )
    assert one != other


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_stable_id_is_a_uuid_and_always_the_same(name: str) -> None:
    found = stable_id(LAB, name, SECRET)
    parsed = UUID(found)
    assert (str(parsed), parsed.version, parsed.variant) == (found, 8, "specified in RFC 4122")
    assert stable_id(Tenant("lab", "Production"), name, bytes(SECRET)) == found


def test_a_stable_id_does_not_change_from_release_to_release() -> None:
    assert stable_id(LAB, "Patient urn:n|1", SECRET) == "1d60bde1-ab07-8e97-b012-c7e14c338ad6"


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), unique=True, min_size=2, max_size=5))
def test_another_name_tenant_or_secret_is_another_id(names: list[str]) -> None:
    tenants = [LAB, Tenant("lab", "Staging"), Tenant("other", "Production")]
    found = [stable_id(t, n, s) for t in tenants for n in names for s in (SECRET, b"t" * 32)]
    assert len(set(found)) == len(found)
