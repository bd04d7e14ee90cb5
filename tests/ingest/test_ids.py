"""Ids derived from natural keys."""

from __future__ import annotations

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from ingest.ids import stable_id
from store.tenancy import Tenant

LAB = Tenant("lab", "Production")
SECRET = b"s" * 32


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
