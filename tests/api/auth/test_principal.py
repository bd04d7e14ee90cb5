"""Rights of a principal, as tables."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from api.auth.principal import principal_of
from api.auth.tokens import new_grant
from store.tenancy import Tenant

NOW = datetime(2026, 11, 22, tzinfo=UTC)
LAB = Tenant("lab", "Production")


@pytest.mark.parametrize(
    ("scopes", "type", "letters", "allowed"),
    [
        (["system/DiagnosticReport.rs"], "DiagnosticReport", "s", True),
        (["system/DiagnosticReport.rs"], "DiagnosticReport", "rs", True),
        (["system/DiagnosticReport.rs"], "DiagnosticReport", "c", False),
        (["system/DiagnosticReport.rs"], "Patient", "r", False),
        (["system/*.r"], "Patient", "r", True),
        (["system/*.r", "system/Patient.c"], "Patient", "cr", True),
        (["system/*.r", "system/Patient.c"], "Device", "cr", False),
        (["dod/admin"], "Patient", "r", False),
    ],
)
def test_may(scopes: list[str], type: str, letters: str, allowed: bool) -> None:
    grant = new_grant(token="t", client="c", tenants=[LAB], scopes=scopes, now=NOW, days=1)
    assert principal_of(grant).may(type, letters) is allowed


def test_the_admin_scope_makes_an_admin() -> None:
    grant = new_grant(token="t", client="c", tenants=[LAB], scopes=["dod/admin"], now=NOW, days=1)
    assert principal_of(grant).is_admin
