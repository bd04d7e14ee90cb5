"""Public keys: those that are taken, and the sentences about the others."""

from __future__ import annotations

import itertools
from typing import Any

import orjson
import pytest
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from joserfc.util import urlsafe_b64encode

from api.auth.public_keys import (
    KEYS_MAX,
    algorithm_of,
    imported,
    key_of_pem,
    keys_of_jwks,
    new_key_pair,
    signing_keys_of_jwks,
    thumbprint,
)
from tests.support.oauth import key, public

RSA, EC = key("rsa"), key("ec")


def jwk(signer: RSAKey | ECKey = RSA, **changed: Any) -> dict[str, Any]:
    told = {**public(signer)["keys"][0], **changed}
    return {name: value for name, value in told.items() if value is not None}


def number(value: int) -> str:
    return urlsafe_b64encode(value.to_bytes(2_048).lstrip(b"\0")).decode()


def document(*keys: object) -> bytes:
    return orjson.dumps({"keys": keys})


def test_keys_of_both_kinds_are_taken_and_nothing_private_is_kept() -> None:
    found = keys_of_jwks(document(jwk(RSA, use="sig", alg="RS384", x5c=["…"]), jwk(EC, key_ops=["verify"])))
    assert list(found) == [RSA.kid, EC.kid]
    assert [algorithm_of(imported(text)) for text in found.values()] == ["RS384", "ES384"]
    assert not any({"d", "x5c"} & orjson.loads(text).keys() for text in found.values())


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"{", "is JSON"),
        (b"[]", "has `keys`"),
        (b'{"keys":[]}', "1 to 20"),
        (document(*[jwk(kid=str(n)) for n in range(KEYS_MAX + 1)]), "1 to 20"),
        (document("key"), "JSON object"),
        (document(jwk(kid=None)), "`kid`"),
        (document(jwk(kid="")), "`kid`"),
        (document(jwk(kid="a\nb")), "`kid`"),
        (document(jwk(), jwk(EC, kid=RSA.kid)), "the same `kid`"),
        (document(RSA.as_dict(private=True) | {"kid": "a"}), "private"),
        (document(EC.as_dict(private=True) | {"kid": "a"}), "private"),
        (document(OctKey.generate_key(256).as_dict(private=True) | {"kid": "a"}), "symmetric"),
        (document(OKPKey.generate_key("Ed25519").as_dict(private=False) | {"kid": "a"}), "`kty`"),
        (document(ECKey.generate_key("P-256").as_dict(private=False) | {"kid": "a"}), "`P-384`"),
        (document(jwk(n=number(1 << 8_192 | 1))), "at most 8192"),
        (document(jwk(e=number(1 << 64 | 1))), "at most 64 bits"),
        (document(jwk(alg="RS256")), "`RS384`"),
        (document(jwk(alg="ES384")), "`RS384`"),
        (document(jwk(use="enc")), "`use`"),
        (document(jwk(key_ops=["encrypt"])), "`key_ops`"),
        (document(jwk(n="AQAB")), "2048 bits"),
        (document(jwk(n="_" * 341)), "2048 bits"),
        (document(jwk(n="!")), "2048 bits"),
        (document(jwk(n=7)), "2048 bits"),
        (document(jwk(e="!")), "no valid"),
        (document(jwk(EC, x="AQAB")), "no valid"),
        (document(jwk(kty=[])), "`kty`"),
        (document(jwk(kty={})), "`kty`"),
        (document(jwk(EC, crv=[])), "`P-384`"),
        (document(jwk(EC, x=1)), "no valid"),
        (document(jwk(e=3)), "no valid"),
        (document(jwk(alg=[])), "`RS384`"),
        (document(jwk(use={})), "`use`"),
    ],
    ids=itertools.count(),  # The keys are other ones in each worker.
)
def test_what_is_refused_and_why(sent: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        keys_of_jwks(sent)


def test_of_a_fetched_document_the_other_keys_are_passed_over() -> None:
    other = OKPKey.generate_key("Ed25519").as_dict(private=False) | {"kid": "a"}
    odd: tuple[Any, ...] = ({"kid": "b", "kty": []}, jwk(kty={}), {"kid": {}}, "key", None, jwk(use="enc"))
    assert list(signing_keys_of_jwks(document(other, *odd, jwk(EC)))) == [EC.kid]


def test_a_key_in_pem() -> None:
    for signer in (RSA, EC):
        kid, text = key_of_pem(signer.as_pem(private=False), "mine")
        assert kid == "mine"
        assert thumbprint(text) == signer.thumbprint()


@pytest.mark.parametrize(
    ("sent", "said"),
    [(RSA.as_pem(private=True), "private key"), (b"hello", "no public key"), (b"", "no public key")],
    ids=["private", "text", "nothing"],
)
def test_a_pem_that_is_refused(sent: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        key_of_pem(sent, "mine")


def test_a_new_pair_belongs_together() -> None:
    public_half, private_half = new_key_pair("fresh")
    assert ECKey.import_key(private_half).thumbprint() == thumbprint(public_half)
    assert orjson.loads(public_half)["kid"] == "fresh"
