"""Each way in which a client assertion can be wrong, and what upstream says of it."""

from __future__ import annotations

import hmac
from contextlib import suppress
from typing import Any

import orjson
import pytest
from joserfc import jws
from joserfc.jwk import ECKey
from joserfc.util import urlsafe_b64encode

from api.auth import access_tokens, assertions
from api.auth.assertions import FORM, presented, pretend, prove, read
from api.auth.public_keys import algorithm_of, imported, keys_of_jwks, nobodys_key
from api.auth.refusal import Refusal
from tests.support.oauth import CLIENT, assertion, claims, form, key, public

NOW = 1_790_000_000.0
URL = "https://dod.example/v2/auth/token"
OTHER = "https://api.example/v2/auth/token"
RSA, EC = key("rsa"), key("ec")
KEYS = keys_of_jwks(orjson.dumps(public(RSA, EC)))


def asked(text: str, **changed: Any) -> assertions.Asked:
    return read(FORM, form(text, **changed))


def proven(text: str, kid: str | None = None, **changed: Any) -> assertions.Proven:
    """The whole way, as the endpoint goes it; `kid`: the key that is found, whatever was asked for."""
    shown = presented(asked(text, **changed))
    return prove(shown, KEYS[kid or shown.kid], audiences=(URL, OTHER), now=NOW, leeway=5)


def refusal(text: str, kid: str | None = None, **changed: Any) -> tuple[int, str, str]:
    with pytest.raises(Refusal) as caught:
        proven(text, kid, **changed)
    return caught.value.status, caught.value.error, caught.value.description


@pytest.mark.parametrize("signer", [RSA, EC], ids=["RS384", "ES384"])
@pytest.mark.parametrize("audience", [URL, OTHER, [URL], ["https://elsewhere.example", OTHER]])
def test_a_right_one_proves_the_client(signer: Any, audience: Any) -> None:
    told = claims(NOW, audience, jti="once")
    assert proven(assertion(told, signer)) == (CLIENT, "once", NOW + 300)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"grant_type": None}, (400, "invalid_request", "Missing grant_type parameter")),
        ({"grant_type": ""}, (400, "invalid_request", "Missing grant_type parameter")),
        (
            {"grant_type": "password"},
            (400, "unsupported_grant_type", "The grant_type parameter should equal 'client_credentials'"),
        ),
        ({"client_assertion_type": None}, (401, "invalid_client", "Missing client assertion type")),
        ({"client_assertion_type": "jwt"}, (401, "invalid_client", "Invalid client assertion type")),
        ({"client_assertion": None}, (401, "invalid_client", "Missing client assertion")),
        ({"client_assertion": "a.b"}, (401, "invalid_client", assertions.NO_JWT)),
        ({"client_assertion": "a.b.c"}, (401, "invalid_client", assertions.NO_JWT)),
        ({"client_assertion": "ü.ü.ü"}, (401, "invalid_client", assertions.NO_JWT)),
        ({"client_assertion": "a." * 9_000}, (401, "invalid_client", assertions.NO_JWT)),
        ({"client_id": "somebody else"}, (401, "invalid_client", assertions.WRONG_ISSUER)),
    ],
)
def test_a_wrong_form(changed: dict[str, Any], expected: tuple[int, str, str]) -> None:
    assert refusal(assertion(claims(NOW, URL)), **changed) == expected


def test_a_body_that_is_no_form() -> None:
    with pytest.raises(Refusal) as caught:
        read("application/json", {})
    assert caught.value.description == "x-www-form-urlencoded content-type required"
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"exp": NOW - 5}, assertions.EXPIRED),
        ({"exp": NOW - 3_600}, assertions.EXPIRED),
        ({"exp": NOW + 306}, assertions.TOO_LONG),
        ({"exp": NOW + 3_600}, assertions.TOO_LONG),
        ({"exp": None}, assertions.NO_EXP),
        ({"exp": "soon"}, assertions.NO_EXP),
        ({"exp": True}, assertions.NO_EXP),
        ({"iat": NOW + 60}, assertions.NOT_YET),
        ({"nbf": NOW + 60}, assertions.NOT_YET),
        ({"aud": "https://elsewhere.example"}, f"JWT aud must be the token URL, {URL}"),
        ({"aud": [{"a": 1}, 7]}, f"JWT aud must be the token URL, {URL}"),
        ({"aud": None}, f"JWT aud must be the token URL, {URL}"),
        ({"jti": None}, assertions.NO_JTI),
        ({"jti": ""}, assertions.NO_JTI),
        ({"jti": 7}, assertions.NO_JTI),
        ({"jti": "x" * 513}, assertions.NO_JTI),
        ({"iss": None}, assertions.WRONG_ISSUER),
        ({"sub": None}, assertions.WRONG_ISSUER),
        ({"sub": "another"}, assertions.WRONG_ISSUER),
    ],
)
def test_a_wrong_claim(changed: dict[str, Any], said: str) -> None:
    assert refusal(assertion(claims(NOW, URL, **changed))) == (401, "invalid_client", said)


def test_claims_that_are_nested_deeper_than_json_is_read_are_no_fault_of_ours() -> None:
    told = orjson.dumps(claims(NOW, URL)).removesuffix(b"}") + b',"x":' + b"[" * 1_010 + b"]" * 1_010 + b"}"
    text = jws.serialize_compact({"alg": "RS384", "kid": RSA.kid}, told, RSA, algorithms=["RS384"])
    with suppress(Refusal):
        proven(text)


def test_a_missing_kid() -> None:
    text = assertion(claims(NOW, URL), kid=None)
    assert refusal(text) == (401, "invalid_client", "JWT header kid property is required")


def test_a_key_of_somebody_else_under_the_name_of_ours() -> None:
    for stranger, ours in ((key("rsa", 1), RSA), (key("ec", 1), EC)):
        text = assertion(claims(NOW, URL), stranger, kid=ours.kid)
        assert refusal(text) == (401, "invalid_client", assertions.NO_KEY)


def test_a_changed_claim_under_the_old_signature() -> None:
    head, _, signature = assertion(claims(NOW, URL)).split(".")
    body = urlsafe_b64encode(orjson.dumps(claims(NOW, URL, jti="another"))).decode()
    assert refusal(f"{head}.{body}.{signature}")[2] == assertions.NO_KEY


def unsigned(**header: Any) -> str:
    parts = ({"alg": "none", "kid": RSA.kid, **header}, claims(NOW, URL))
    return ".".join(urlsafe_b64encode(orjson.dumps(one)).decode() for one in parts) + "."


@pytest.mark.parametrize(
    "algorithm", ["none", "None", "NONE", "HS256", "HS384", "RS256", "ES256", "", 7, None]
)
def test_an_algorithm_that_is_not_offered(algorithm: Any) -> None:
    assert refusal(unsigned(alg=algorithm)) == (401, "invalid_client", assertions.WRONG_ALGORITHM)


def test_the_public_key_as_a_shared_secret() -> None:
    head, body, _ = unsigned(alg="HS256").split(".")
    for secret in (RSA.as_pem(private=False), orjson.dumps(RSA.as_dict(private=False))):
        signature = hmac.digest(secret, f"{head}.{body}".encode(), "sha256")
        text = f"{head}.{body}.{urlsafe_b64encode(signature).decode()}"
        assert refusal(text)[2] == assertions.WRONG_ALGORITHM


def test_an_algorithm_that_is_not_the_keys_own() -> None:
    for signer, named in ((RSA, EC), (EC, RSA)):
        text = assertion(claims(NOW, URL), signer, kid=named.kid)
        assert refusal(text)[2] == assertions.NO_KEY


def test_a_signature_on_another_curve() -> None:
    weak = ECKey.generate_key("P-256", {"kid": str(EC.kid)}, private=True)
    head, body, _ = assertion(claims(NOW, URL), EC).split(".")
    forged = assertion(claims(NOW, URL), weak, alg="ES256").split(".")[2]
    assert refusal(f"{head}.{body}.{forged}")[2] == assertions.NO_KEY


def test_nobodys_key_is_as_long_as_a_clients_and_proves_nothing() -> None:
    for signer, algorithm in ((RSA, "RS384"), (EC, "ES384")):
        text = nobodys_key(algorithm)
        assert algorithm_of(imported(text)) == algorithm
        assert len(imported(text).as_dict()[{"RS384": "n", "ES384": "x"}[algorithm]]) == len(
            signer.as_dict()[{"RS384": "n", "ES384": "x"}[algorithm]]
        )
        pretend(presented(asked(assertion(claims(NOW, URL), signer))))


def test_critical_headers_that_nobody_knows() -> None:
    header = urlsafe_b64encode(orjson.dumps({"alg": "RS384", "kid": RSA.kid, "crit": ["x"], "x": 1})).decode()
    _, body, signature = assertion(claims(NOW, URL)).split(".")
    assert refusal(f"{header}.{body}.{signature}")[1] == "invalid_client"


@pytest.mark.parametrize("critical", [5, True, None, 1.5, {}, [1], [[]], [{}], "x", [], ["alg"], ["b64"]])
@pytest.mark.parametrize("algorithm", ["RS384", "HS256"])
def test_headers_that_the_library_does_not_expect(critical: Any, algorithm: str) -> None:
    header = {"alg": algorithm, "kid": RSA.kid, "typ": "at+jwt", "crit": critical, "b64": False}
    _, body, signature = assertion(claims(NOW, URL)).split(".")
    text = f"{urlsafe_b64encode(orjson.dumps(header)).decode()}.{body}.{signature}"
    assert refusal(text)[1] == "invalid_client"
    assert access_tokens.opened(text, access_tokens.signing_key(b"a" * 32)) is None
