"""Bearer tokens of an external issuer: an identity provider that the settings name.

Its tokens say who the client is. What the client may do, and for which tenants, is registered here.
"""

from __future__ import annotations

from contextlib import suppress
from math import isfinite
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson
from joserfc import jwk, jws, jwt

from api.auth.access_tokens import UNREADABLE, AccessToken
from api.auth.assertions import named_in
from api.auth.key_sets import UnreadableError
from store.errors import Category, ServiceError
from store.fhir.issues import Issue

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from api.auth.key_sets import KeySets

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
"""Signatures with a private key alone: a shared secret would have to be kept here."""
LATEST: Final = 32_503_680_000
"""The year 3000, in seconds since 1970: no token is good for longer, and dates end some time."""
_CLIENT_CLAIMS: Final = ("client_id", "azp", "sub")
_UNREADABLE: Final = Issue("transient", "The keys of the token's issuer cannot be read; try again.")


class IssuerSettings(NamedTuple):
    """Settings of the issuer."""

    issuer: str
    audience: str
    jwks_url: str
    leeway: float
    """Seconds that its clock may be ahead of ours."""


class ExternalIssuer:
    """Opens tokens of one issuer."""

    def __init__(self, told: IssuerSettings, *, keys: KeySets, clock: Callable[[], datetime]) -> None:
        self._told = told
        self._keys = keys
        self._clock = clock

    async def opened(self, text: str) -> AccessToken | None:
        """Claims of a token, expired or not; None: it is none of the issuer's, or not for this service.

        Raises ServiceError `unavailable` when the issuer's keys cannot be read.
        """
        try:
            header = jws.extract_compact(text.encode()).headers()
        except UNREADABLE:
            return None
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm not in ALGORITHMS or not isinstance(kid, str):
            return None
        try:
            key = await self._keys.key(self._told.jwks_url, kid)
        except UnreadableError:
            raise ServiceError(Category.UNAVAILABLE, _UNREADABLE) from None
        if key is None:
            return None
        try:
            claims = jwt.decode(text, jwk.import_key(orjson.loads(key)), algorithms=[algorithm]).claims
        except UNREADABLE:
            return None
        return self._read(claims)

    def _read(self, claims: dict[str, Any]) -> AccessToken | None:
        told, latest = self._told, self._clock().timestamp() + self._told.leeway
        ends, issued, begins = (_moment(claims.get(name, 0)) for name in ("exp", "iat", "nbf"))
        if claims.get("iss") != told.issuer or told.audience not in named_in(claims.get("aud")):
            return None
        if ends is None or issued is None or begins is None:
            return None
        if not 0 < ends < LATEST or max(issued, begins) > latest:
            return None
        client = next((claims[name] for name in _CLIENT_CLAIMS if isinstance(claims.get(name), str)), None)
        said = claims.get("scope", claims.get("scp", ""))
        scopes = said if isinstance(said, list) else str(said).split()
        if client is None or not all(isinstance(one, str) for one in scopes):
            return None
        return AccessToken(client, tuple(scopes), issued, ends, str(claims.get("jti", "")))


def _moment(value: object) -> float | None:
    """A NumericDate; None for anything else, NaN too, which is before and after nothing."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    with suppress(OverflowError):
        return float(value) if isfinite(value) else None
    return None


def keys_of_issuer(document: bytes) -> dict[str, str]:
    """The verifying keys of an issuer's JWKS document: kid → JWK. Raises ValueError when it is none."""
    try:
        listed = orjson.loads(document)["keys"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise ValueError("it is no JWKS document") from None
    found: dict[str, str] = {}
    for one in listed if isinstance(listed, list) else ():
        usable = isinstance(one, dict) and one.get("kty") in ("RSA", "EC") and one.get("use", "sig") == "sig"
        if usable and isinstance(one.get("kid"), str):
            found.setdefault(one["kid"], orjson.dumps(one).decode())
    return found
