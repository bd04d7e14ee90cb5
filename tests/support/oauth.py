"""An OAuth client for tests: keys of both kinds, and assertions that can be wrong in every way."""

from __future__ import annotations

from functools import cache
from typing import Any
from uuid import uuid4

from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey

from api.auth.assertions import ASSERTION_TYPE, GRANT_TYPE

CLIENT = "6d52f7c0-5e0b-4c0f-8d43-0b1f2d6a7c11"
SigningKey = RSAKey | ECKey


@cache
def key(kind: str, number: int = 0) -> SigningKey:
    """A private key, made once."""
    if kind == "rsa":
        return RSAKey.generate_key(2_048, {"kid": f"rsa-{number}"}, private=True)
    return ECKey.generate_key("P-384", {"kid": f"ec-{number}"}, private=True)


def public(*keys: SigningKey) -> dict[str, Any]:
    """The JWKS document of these keys."""
    return {"keys": [{**one.as_dict(private=False), "kid": one.kid} for one in keys]}


def claims(now: float, audience: str, **changed: Any) -> dict[str, Any]:
    """Claims that are right, with some changed; None leaves one out."""
    told = {
        "iss": CLIENT,
        "sub": CLIENT,
        "aud": audience,
        "iat": int(now),
        "exp": int(now) + 300,
        "jti": uuid4().hex,
        **changed,
    }
    return {name: value for name, value in told.items() if value is not None}


def assertion(told: dict[str, Any], signer: SigningKey | OctKey | None = None, **header: Any) -> str:
    """Claims as a signed JWT; None in the header leaves a member out."""
    by = signer or key("rsa")
    algorithm = {"RSA": "RS384", "EC": "ES384", "oct": "HS256"}[by.key_type]
    whole = {"alg": algorithm, "kid": by.kid, "typ": "JWT", **header}
    sent = {name: value for name, value in whole.items() if value is not None}
    return jwt.encode(sent, told, by, algorithms=[sent["alg"]])


def form(text: str, **changed: Any) -> dict[str, str]:
    """A token request, with some parameters changed; None leaves one out."""
    told = {
        "grant_type": GRANT_TYPE,
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": text,
        **changed,
    }
    return {name: value for name, value in told.items() if value is not None}
