"""Signatures as the reference library of Standard Webhooks checks them; what is sealed, and for whom."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from api.subscriptions.secrets import (
    EARLIER_MAX,
    NO_SECRETS,
    OAuthClient,
    Sealed,
    keys_of,
    rotated,
    seal,
    signed,
    signing_secret,
    unseal,
)
from tests.support.subscriptions import NOW, kept

ROOT = b"r" * 32
BODY = b'{"resourceType":"Bundle"}'


def sent(subscription: object, at: datetime, moment: datetime) -> dict[str, str]:
    return signed("s1.1.1", int(moment.timestamp()), BODY, keys_of(ROOT, subscription, at))  # type: ignore[arg-type]


def test_a_receiver_with_the_reference_library_accepts_what_is_signed_and_nothing_else() -> None:
    one, now = kept(), datetime.now(UTC)
    receiver = Webhook(signing_secret(ROOT, one.name, 1))
    headers = sent(one, NOW, now)
    receiver.verify(BODY, headers)
    stranger = Webhook(signing_secret(ROOT, "lab/Production/other", 1))
    late = sent(one, NOW, now - timedelta(minutes=10))
    for verifier, body, shown in (
        (stranger, BODY, headers),
        (receiver, BODY + b" ", headers),
        (receiver, BODY, {**headers, "webhook-id": "another"}),
        (receiver, BODY, {**headers, "webhook-timestamp": str(int(now.timestamp()) + 1)}),
        (receiver, BODY, late),
    ):
        with pytest.raises(WebhookVerificationError):
            verifier.verify(body, shown)


def test_both_secrets_sign_while_they_overlap() -> None:
    before = kept()
    after = rotated(before, now=NOW, overlap=timedelta(hours=1))
    old, new = (Webhook(signing_secret(ROOT, before.name, number)) for number in (1, 2))
    now = datetime.now(UTC)
    during = sent(after, NOW + timedelta(minutes=59), now)
    old.verify(BODY, during)
    new.verify(BODY, during)
    behind = sent(after, NOW + timedelta(hours=1), now)
    new.verify(BODY, behind)
    with pytest.raises(WebhookVerificationError):
        old.verify(BODY, behind)
    assert after.version == before.version + 1


def test_a_second_rotation_ends_no_overlap_unless_it_has_none() -> None:
    first = rotated(kept(), now=NOW, overlap=timedelta(hours=24))
    second = rotated(first, now=NOW, overlap=timedelta(hours=1))
    body = sent(second, NOW + timedelta(hours=2), datetime.now(UTC))
    for number, good in ((1, True), (2, False), (3, True)):
        verifier = Webhook(signing_secret(ROOT, second.name, number))
        with nullcontext() if good else pytest.raises(WebhookVerificationError):
            verifier.verify(BODY, body)
    stolen = rotated(second, now=NOW, overlap=timedelta())
    assert len(keys_of(ROOT, stolen, NOW)) == 1
    often = kept()
    for _ in range(9):
        often = rotated(often, now=NOW, overlap=timedelta(hours=1))
    assert len(keys_of(ROOT, often, NOW)) == 1 + EARLIER_MAX


def test_what_is_sealed_opens_for_its_own_subscription_alone() -> None:
    told = Sealed((("Authorization", "Bearer x"),), OAuthClient("https://a.example/t", "id", "secret", "s"))
    sealed = seal(ROOT, "lab/Production/s1", told)
    assert b"secret" not in sealed
    assert unseal(ROOT, "lab/Production/s1", sealed) == told
    assert seal(ROOT, "lab/Production/s1", told) != sealed
    for root, name in ((ROOT, "lab/Production/s2"), (b"x" * 32, "lab/Production/s1")):
        with pytest.raises(ValueError, match="cannot be read"):
            unseal(root, name, sealed)
    assert unseal(ROOT, "any", seal(ROOT, "any", NO_SECRETS)) == NO_SECRETS
    assert replace(kept(), sealed=b"").sealed == b""
