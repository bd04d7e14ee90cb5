"""Access tokens: signed by any replica, checked by each one without asking anybody. Pure.

The key is a secret that all replicas share. A token names its client, the key that the client proved itself
with, and its scopes; for which tenants it is good is looked up with the client, which may change meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

if TYPE_CHECKING:
    from datetime import datetime

SECRET: Final = "access tokens"  # noqa: S105 (the name of one)
ISSUER: Final = "dod"
TYPE: Final = "at+jwt"
"""https://www.rfc-editor.org/rfc/rfc9068"""
_ALGORITHM: Final = "HS256"
UNREADABLE: Final = (JoseError, ValueError, TypeError, KeyError, RecursionError)
"""Errors of a JWT that was not made as it should be. The library takes a header at its word: `crit` is
iterated whatever it is (TypeError), a key's curve looked up (KeyError), nested claims are read in depth."""
LENGTH_MAX: Final = 7_000
"""Characters of a bearer token that is looked at; a header has little more room."""


class AccessToken(NamedTuple):
    """Claims of an access token."""

    client_id: str
    scopes: tuple[str, ...]
    issued_at: float
    """Seconds since 1970."""
    ends: float
    id: str
    kid: str = ""
    """The client's key with which it was asked for; empty: it came from elsewhere."""


def signing_key(secret: bytes) -> OctKey:
    """The key that a shared secret is."""
    return OctKey.import_key(secret)


def sign(token: AccessToken, key: OctKey) -> str:
    """The token as it is given out."""
    claims = {
        "iss": ISSUER,
        "aud": ISSUER,
        "sub": token.client_id,
        "client_id": token.client_id,
        "scope": " ".join(token.scopes),
        "iat": token.issued_at,
        "exp": token.ends,
        "jti": token.id,
        "kid": token.kid,
    }
    return jwt.encode({"alg": _ALGORITHM, "typ": TYPE}, claims, key, algorithms=[_ALGORITHM])


def opened(text: str, key: OctKey) -> AccessToken | None:
    """Claims of a token of ours, expired or not; None: it is none of ours."""
    try:
        token = jwt.decode(text, key, algorithms=[_ALGORITHM])
    except UNREADABLE:
        return None
    claims = token.claims
    if token.header.get("typ") != TYPE or claims.get("iss") != ISSUER or claims.get("aud") != ISSUER:
        return None
    return _token(claims)


def _token(claims: dict[str, Any]) -> AccessToken:
    return AccessToken(
        client_id=claims["client_id"],
        scopes=tuple(claims["scope"].split()),
        issued_at=claims["iat"],
        ends=claims["exp"],
        id=claims["jti"],
        kid=claims["kid"],
    )


def looks_like_one(token: str) -> bool:
    """Whether a bearer token has the shape of a signed JWT, ours or another issuer's."""
    return len(token) <= LENGTH_MAX and token.count(".") == 2  # noqa: PLR2004 -- three parts


def moment(now: datetime) -> float:
    """A UTC datetime as claims have it."""
    return now.timestamp()
