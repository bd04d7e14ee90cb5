"""Making of tokens, and the part of them that is kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from api.auth.tokens import TOKEN, digest, new_grant, new_token
from store.tenancy import Tenant

NOW = datetime(2026, 11, 22, tzinfo=UTC)
LAB = Tenant("lab", "Production")


def test_tokens_differ_and_have_the_shape_that_is_let_in() -> None:
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(TOKEN.fullmatch(token) for token in tokens)


def test_a_grant_holds_the_digest_and_not_the_token() -> None:
    token = new_token()
    grant = new_grant(token=token, client="c", tenants=[LAB, LAB], scopes=["system/*.r"], now=NOW, days=30)
    assert token not in repr(grant)
    assert grant.digest == digest(token)
    assert grant.tenants == (LAB,)
    assert grant.expires_at == NOW + timedelta(days=30)


def test_a_scope_that_could_not_be_enforced_is_not_issued() -> None:
    with pytest.raises(ValueError, match="names its resource type"):
        new_grant(token="t", client="c", tenants=[LAB], scopes=["system/*.r?x=1"], now=NOW, days=1)
