"""Secrets of subscriptions: signing secrets, which are derived and stored nowhere; receivers' own, sealed.

All come from one secret of the deployment (`AccessStore.secret`). Signatures are those of Standard Webhooks:
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import hmac
import os
from base64 import b64encode
from dataclasses import replace
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from store.subscriptions.records import EarlierSecret

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime, timedelta

    from store.subscriptions.records import Subscription

SECRET: Final = "subscriptions"  # noqa: S105 -- its name
"""Name of the deployment's secret."""
PREFIX: Final = "whsec_"
ID: Final = "webhook-id"
TIMESTAMP: Final = "webhook-timestamp"
SIGNATURE: Final = "webhook-signature"
EARLIER_MAX: Final = 4
"""Most secrets before the newest that sign; each is a signature more in a header."""
_NONCE_BYTES: Final = 12
_GENERATION_BYTES: Final = 6


class OAuthClient(NamedTuple):
    """Client credentials by which a receiver's access tokens are had."""

    token_url: str
    client_id: str
    client_secret: str
    scope: str = ""


class Sealed(NamedTuple):
    """Secrets that a receiver wants to be shown."""

    headers: tuple[tuple[str, str], ...] = ()
    oauth: OAuthClient | None = None


NO_SECRETS: Final = Sealed()


def first_generation() -> int:
    """Generation that a subscription begins with: none that one under its id had before."""
    return int.from_bytes(os.urandom(_GENERATION_BYTES)) + 1


def signing_secret(root: bytes, name: str, generation: int) -> str:
    """A subscription's signing secret, as receivers are given it: `whsec_…`."""
    return PREFIX + b64encode(_key(root, name, generation)).decode()


@lru_cache(maxsize=1_000)
def _key(root: bytes, name: str, generation: int) -> bytes:
    return hmac.digest(root, f"sign {name} {generation}".encode(), sha256)


def keys_of(root: bytes, subscription: Subscription, now: datetime) -> list[bytes]:
    """The keys that sign now: the newest, and those before it that are still good."""
    good = (one.generation for one in subscription.earlier if now < one.until)
    return [_key(root, subscription.name, one) for one in (subscription.generation, *good)]


def rotated(subscription: Subscription, *, now: datetime, overlap: timedelta) -> Subscription:
    """The subscription with another signing secret; those before sign as well for their overlaps.

    Without an overlap all before end at once: a secret was stolen.
    """
    earlier: tuple[EarlierSecret, ...] = ()
    if overlap:
        good = (one for one in subscription.earlier if now < one.until)
        earlier = (EarlierSecret(subscription.generation, now + overlap), *good)[:EARLIER_MAX]
    return replace(
        subscription,
        version=subscription.version + 1,
        updated=now,
        generation=subscription.generation + 1,
        earlier=earlier,
    )


def signed(id: str, seconds: int, body: bytes, keys: Iterable[bytes]) -> dict[str, str]:
    """The headers of Standard Webhooks for a body that is sent at this second."""
    content = f"{id}.{seconds}.".encode() + body
    signatures = (b64encode(hmac.digest(key, content, sha256)).decode() for key in keys)
    return {
        ID: id,
        TIMESTAMP: str(seconds),
        SIGNATURE: " ".join(f"v1,{one}" for one in signatures),
    }


def seal(root: bytes, name: str, told: Sealed) -> bytes:
    """Secrets of a receiver, to be stored; readable for the subscription of this name alone."""
    if told == NO_SECRETS:
        return b""
    plain = orjson.dumps({"headers": told.headers, "oauth": None if told.oauth is None else list(told.oauth)})
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(_sealing(root)).encrypt(nonce, plain, name.encode())


def unseal(root: bytes, name: str, sealed: bytes) -> Sealed:
    """Secrets that were sealed. Raises ValueError for bytes that are not this subscription's."""
    if not sealed:
        return NO_SECRETS
    try:
        plain = AESGCM(_sealing(root)).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], name.encode())
    except InvalidTag:
        raise ValueError("the secrets of a subscription cannot be read") from None
    told: Mapping[str, list[list[str]] | list[str] | None] = orjson.loads(plain)
    oauth = told["oauth"]
    headers = tuple((pair[0], pair[1]) for pair in told["headers"] or ())
    return Sealed(headers, None if oauth is None else OAuthClient(*map(str, oauth)))


def _sealing(root: bytes) -> bytes:
    return hmac.digest(root, b"seal", sha256)
