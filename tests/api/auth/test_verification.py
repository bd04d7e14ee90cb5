"""Verification tokens: which is accepted when, for whom, and what is kept of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from api.auth.principal import Principal
from api.auth.verification import (
    CHALLENGE,
    SHAPE,
    accepted,
    keyed_digest,
    new_verification_token,
    pusher,
)
from store.access import VerificationToken
from store.tenancy import Tenant

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
LAB = Tenant("lab", "Production")
OTHER = Tenant("lab", "Staging")
SECRET = b"s" * 32
OLD, NEW = "o" * 20, "n" * 20


def kept(token: str, *, hours: float | None = None, tenant: Tenant = LAB) -> VerificationToken:
    end = None if hours is None else NOW + timedelta(hours=hours)
    return VerificationToken(keyed_digest(token, tenant, SECRET), NOW, end)


@pytest.mark.parametrize(
    ("presented", "tokens", "good"),
    [
        (NEW, [kept(NEW)], True),
        (OLD, [kept(NEW)], False),
        (OLD, [kept(NEW), kept(OLD, hours=1)], True),
        (NEW, [kept(NEW), kept(OLD, hours=1)], True),
        (OLD, [kept(NEW), kept(OLD, hours=0)], False),
        (OLD, [kept(NEW), kept(OLD, hours=-1)], False),
        (NEW, [], False),
        (NEW, [kept(NEW, tenant=OTHER)], False),
        (NEW[:-1], [kept(NEW)], False),
        (NEW + "n", [kept(NEW)], False),
        ("", [kept(NEW)], False),
        ("ü" * 20, [kept(NEW)], False),
        (keyed_digest(NEW, LAB, SECRET), [kept(NEW)], False),
        ("n" * 257, [kept("n" * 257)], False),
    ],
)
def test_which_token_is_accepted(presented: str, tokens: list[VerificationToken], good: bool) -> None:
    found = accepted(presented, tokens, tenant=LAB, secret=SECRET, now=NOW)
    assert (found is not None) is good


def test_another_secret_makes_another_digest() -> None:
    assert keyed_digest(NEW, LAB, SECRET) != keyed_digest(NEW, LAB, b"t" * 32)
    assert NEW not in keyed_digest(NEW, LAB, SECRET)


def test_new_tokens_differ_and_have_the_shape() -> None:
    tokens = {new_verification_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(SHAPE.fullmatch(token) for token in tokens)


@pytest.mark.parametrize(
    ("letters", "may"), [("c", True), ("u", True), ("r", False), ("s", False), ("d", False)]
)
def test_it_stands_for_somebody_who_may_only_push(letters: str, may: bool) -> None:
    somebody: Principal = pusher(kept(NEW), LAB, NOW)
    assert somebody.may("DiagnosticReport", letters) is may
    assert (somebody.tenants, somebody.is_admin) == (frozenset({LAB}), False)


@pytest.mark.parametrize(
    ("text", "echoed"),
    [
        ("2e73f864-1f5a-4c44-9d58-0d5b0b6d3b7b", True),
        ("a", True),
        ("a" * 200, True),
        ("a" * 201, False),
        ("", False),
        ("<script>", False),
        ("a\nb", False),
        ("a b", False),
    ],
)
def test_which_challenges_are_echoed(text: str, echoed: bool) -> None:
    assert (CHALLENGE.fullmatch(text) is not None) is echoed
