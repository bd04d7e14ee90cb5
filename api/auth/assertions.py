"""Client assertions: what a token request holds, and whether its JWT proves the client. Pure.

The texts of refusals are upstream's, where upstream documents one.
https://www.rfc-editor.org/rfc/rfc7523, https://hl7.org/fhir/smart-app-launch/backend-services.html
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson
from joserfc import jws, jwt

from api.auth.access_tokens import UNREADABLE
from api.auth.public_keys import ALGORITHMS, algorithm_of, imported, nobodys_key
from api.auth.refusal import Reason, Refusal

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

GRANT_TYPE: Final = "client_credentials"
ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
FORM: Final = "application/x-www-form-urlencoded"
LIFE_SECONDS_MAX: Final = 300
"""Time by which the end of an assertion may be ahead: SMART's five minutes."""
LENGTH_MAX: Final = 16_384
"""Characters of an assertion."""
JTI_MAX: Final = 512

NO_FORM: Final = "x-www-form-urlencoded content-type required"
NO_GRANT_TYPE: Final = "Missing grant_type parameter"
WRONG_GRANT_TYPE: Final = "The grant_type parameter should equal 'client_credentials'"
NO_ASSERTION_TYPE: Final = "Missing client assertion type"
WRONG_ASSERTION_TYPE: Final = "Invalid client assertion type"
NO_ASSERTION: Final = "Missing client assertion"
NO_KID: Final = "JWT header kid property is required"
NO_KEY: Final = "Public key not found, check client_id, kid and Redox dashboard settings"
"""Text of every refusal of who has proven nothing: a client that is not there, one without such a key, one
whose key set cannot be read, a signature of another key. They cannot be told apart, nor clients guessed."""
NO_JWT: Final = "The client assertion is not a signed JWT"
WRONG_ALGORITHM: Final = f"JWT header alg must be {' or '.join(ALGORITHMS.values())}, as the key is"
WRONG_ISSUER: Final = "JWT iss and sub must both be the client_id"
NO_EXP: Final = "JWT exp property is required"
EXPIRED: Final = "JWT has expired"
TOO_LONG: Final = "JWT exp must be at most 5 minutes ahead"
NOT_YET: Final = "JWT iat and nbf must not be in the future"
NO_JTI: Final = "JWT jti property is required"
USED: Final = "JWT jti was used before"


class Asked(NamedTuple):
    """A token request whose form is right."""

    assertion: str
    scope: str | None
    """The scopes that are asked for; None: all that the client may have."""
    client_id: str | None


class Presented(NamedTuple):
    """An assertion as it was presented; nothing of it is proven."""

    text: str
    kid: str
    algorithm: str
    client_id: str
    key_url: str | None
    """The header `jku`."""


class Proven(NamedTuple):
    """An assertion whose signature and claims hold."""

    client_id: str
    jti: str
    ends: float
    """Seconds since 1970 when it expires."""


def read(content_type: str, form: Mapping[str, str]) -> Asked:
    """A token request. Raises Refusal by the first rule it breaks."""
    if content_type != FORM:
        raise Refusal("invalid_request", NO_FORM)
    grant, kind, assertion = (
        form.get(name) or "" for name in ("grant_type", "client_assertion_type", "client_assertion")
    )
    if not grant:
        raise Refusal("invalid_request", NO_GRANT_TYPE)
    if grant != GRANT_TYPE:
        raise Refusal("unsupported_grant_type", WRONG_GRANT_TYPE)
    # RFC 6749, 5.2: no client authentication, or an unsupported method, is `invalid_client`.
    if not kind:
        raise Refusal("invalid_client", NO_ASSERTION_TYPE)
    if kind != ASSERTION_TYPE:
        raise Refusal("invalid_client", WRONG_ASSERTION_TYPE)
    if not assertion:
        raise Refusal("invalid_client", NO_ASSERTION)
    return Asked(assertion, form.get("scope"), form.get("client_id"))


def presented(asked: Asked) -> Presented:
    """The assertion taken apart. Raises Refusal."""
    header, claims = _parts(asked.assertion)
    kid, algorithm, key_url = header.get("kid"), header.get("alg"), header.get("jku")
    if not isinstance(kid, str) or not kid:
        raise Refusal("invalid_client", NO_KID)
    if algorithm not in ALGORITHMS.values():  # `none` and `HS256` are not even looked at.
        raise Refusal("invalid_client", WRONG_ALGORITHM)
    issuer, subject = claims.get("iss"), claims.get("sub")
    if not isinstance(issuer, str) or issuer != subject or asked.client_id not in (None, "", issuer):
        raise Refusal("invalid_client", WRONG_ISSUER)
    return Presented(
        asked.assertion, kid, str(algorithm), issuer, key_url if isinstance(key_url, str) else None
    )


def _parts(assertion: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Header and claims of a compact JWS, unverified. Raises Refusal."""
    if len(assertion) > LENGTH_MAX or assertion.count(".") != 2:  # noqa: PLR2004 -- three parts
        raise Refusal("invalid_client", NO_JWT)
    try:
        taken = jws.extract_compact(assertion.encode())
        claims = orjson.loads(taken.payload)
    except UNREADABLE:
        raise Refusal("invalid_client", NO_JWT) from None
    if not isinstance(claims, dict):
        raise Refusal("invalid_client", NO_JWT)
    return taken.headers(), claims


def prove(presented: Presented, key: str, *, audiences: Collection[str], now: float, leeway: float) -> Proven:
    """The assertion verified with a client's canonical JWK. Raises Refusal.

    `now` and `leeway` are seconds; the first of the `audiences` is the one that is named to the client.
    """
    claims = _verified(presented, key)
    ends, jti = _number(claims.get("exp")), claims.get("jti")
    if ends is None:
        raise Refusal("invalid_client", NO_EXP)
    if ends <= now - leeway:
        raise Refusal("invalid_client", EXPIRED)
    if ends > now + LIFE_SECONDS_MAX + leeway:
        raise Refusal("invalid_client", TOO_LONG)
    if any((_number(claims.get(name)) or 0) > now + leeway for name in ("iat", "nbf")):
        raise Refusal("invalid_client", NOT_YET)
    if not any(named in audiences for named in named_in(claims.get("aud"))):
        raise Refusal("invalid_client", f"JWT aud must be the token URL, {next(iter(audiences))}")
    if not isinstance(jti, str) or not 1 <= len(jti) <= JTI_MAX:
        raise Refusal("invalid_client", NO_JTI)
    return Proven(presented.client_id, jti, ends)


def _verified(presented: Presented, key: str) -> Mapping[str, Any]:
    """The claims of an assertion that this key has signed. Raises Refusal."""
    public = imported(key)
    if algorithm_of(public) != presented.algorithm:
        pretend(presented)
        raise Refusal("invalid_client", NO_KEY, reason=Reason.ALGORITHM)
    try:
        return jwt.decode(presented.text, public, algorithms=[presented.algorithm]).claims
    except RecursionError:  # Claims that are nested deeper than the standard library's JSON reads.
        raise Refusal("invalid_client", NO_JWT) from None
    except UNREADABLE:
        raise Refusal("invalid_client", NO_KEY, reason=Reason.SIGNATURE) from None


def pretend(presented: Presented) -> None:
    """Verify an assertion with a key of nobody, in vain: a refusal takes as long as with a client's."""
    algorithm = presented.algorithm
    with suppress(*UNREADABLE):
        jwt.decode(presented.text, imported(nobodys_key(algorithm)), algorithms=[algorithm])


def named_in(audience: object) -> list[str]:
    """The audiences of a claim `aud`, which is one or a list."""
    return [one for one in (audience if isinstance(audience, list) else [audience]) if isinstance(one, str)]


def _number(value: object) -> float | None:
    """A NumericDate; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)
