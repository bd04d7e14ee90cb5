"""Public keys of clients: read from a JWKS document or a PEM file, checked, and kept in one spelling. Pure.

https://www.rfc-editor.org/rfc/rfc7517, https://hl7.org/fhir/smart-app-launch/client-confidential-asymmetric.html
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Final

import orjson
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, derive_private_key
from joserfc import jwk
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey
from joserfc.util import urlsafe_b64decode, urlsafe_b64encode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ALGORITHMS: Final[Mapping[str, str]] = {"RSA": "RS384", "EC": "ES384"}
"""The one algorithm of each kind of key: those that SMART asks servers for."""
RSA_BITS_MIN: Final = 2_048
RSA_BITS_MAX: Final = 8_192
"""Longest modulus, and `RSA_EXPONENT_BITS_MAX` of an exponent: others publish these keys, and verifying with
one of 3,072 bits in both takes as long as signing."""
RSA_EXPONENT_BITS_MAX: Final = 64
CURVE: Final = "P-384"
KEYS_MAX: Final = 20
"""Keys of one client."""
_KID_MAX: Final = 200
_PUBLIC: Final = ("kty", "kid", "alg", "use", "n", "e", "crv", "x", "y")
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})

PublicJwk = RSAKey | ECKey


def keys_of_jwks(document: bytes) -> dict[str, str]:
    """The keys of a JWKS document: kid → canonical JWK. Raises ValueError with the rule that is broken."""
    try:
        parsed = orjson.loads(document)
    except orjson.JSONDecodeError:
        raise ValueError('a JWKS document is JSON: `{"keys": [...]}`') from None
    listed = parsed.get("keys") if isinstance(parsed, dict) else None
    if not isinstance(listed, list) or not 1 <= len(listed) <= KEYS_MAX:
        raise ValueError(f"a JWKS document has `keys`, a list of 1 to {KEYS_MAX}")
    found: dict[str, str] = {}
    for number, one in enumerate(listed):
        try:
            kid, text = _checked(one)
        except ValueError as error:
            raise ValueError(f"`keys[{number}]`: {error}") from None
        if kid in found:
            raise ValueError(f"`keys[{number}]`: another key has the same `kid`")
        found[kid] = text
    return found


def signing_keys_of_jwks(document: bytes) -> dict[str, str]:
    """The keys of a fetched JWKS document that can verify an assertion; all others are passed over.

    Raises ValueError when it is no JWKS document.
    """
    try:
        parsed = orjson.loads(document)
    except orjson.JSONDecodeError:
        raise ValueError("it is not JSON") from None
    listed = parsed.get("keys") if isinstance(parsed, dict) else None
    if not isinstance(listed, list):
        raise ValueError("it has no `keys`")  # noqa: TRY004 -- one kind of refusal
    found: dict[str, str] = {}
    for one in listed[:KEYS_MAX]:
        try:
            kid, text = _checked(one)
        except ValueError:
            continue
        found.setdefault(kid, text)
    return found


def key_of_pem(pem: bytes, kid: str) -> tuple[str, str]:
    """The public key of a PEM file under this kid: (kid, canonical JWK). Raises ValueError."""
    if b"PRIVATE KEY" in pem:
        raise ValueError("the file holds a private key: keep that to yourself, and register its public half")
    for kind in (RSAKey, ECKey):
        try:
            made = kind.import_key(pem).as_dict(private=False)
        except (JoseError, ValueError, TypeError):
            continue
        return _checked({**made, "kid": kid})
    raise ValueError("the file holds no public key in PEM (`-----BEGIN PUBLIC KEY-----`)")


def new_key_pair(kid: str) -> tuple[str, bytes]:
    """A new pair for ES384: the canonical public JWK, and the private half in PEM."""
    made = ECKey.generate_key(CURVE, {"kid": kid}, private=True)
    _, public = _checked({**made.as_dict(private=False), "kid": kid})
    return public, made.as_pem(private=True)


def algorithm_of(key: PublicJwk) -> str:
    """The algorithm with which this key signs here."""
    return ALGORITHMS[key.key_type]


@lru_cache(maxsize=1_000)
def imported(text: str) -> PublicJwk:
    """A canonical JWK, ready to verify with."""
    made = jwk.import_key(orjson.loads(text))
    if not isinstance(made, RSAKey | ECKey):
        raise TypeError
    return made


@cache
def nobodys_key(algorithm: str) -> str:
    """A canonical JWK of the algorithm to verify with in vain. Anybody may know its private half."""
    if algorithm == ALGORITHMS["EC"]:
        made = derive_private_key(1, SECP384R1()).public_key().public_numbers()
        return _canonical({"kty": "EC", "crv": CURVE, "x": _number(made.x), "y": _number(made.y)})
    modulus = (1 << RSA_BITS_MIN) - 1
    return _canonical({"kty": "RSA", "n": _number(modulus), "e": _number(65_537)})


def _number(value: int) -> str:
    return urlsafe_b64encode(value.to_bytes((value.bit_length() + 7) // 8)).decode()


def _canonical(members: Mapping[str, str]) -> str:
    return orjson.dumps(members, option=orjson.OPT_SORT_KEYS).decode()


def thumbprint(text: str) -> str:
    """The thumbprint of a canonical JWK by RFC 7638, which tells keys apart whatever they are called."""
    return imported(text).thumbprint()


def _checked(one: object) -> tuple[str, str]:
    """Kid and canonical JWK of one member of a JWKS document. Raises ValueError."""
    if not isinstance(one, dict):
        raise ValueError("a key is a JSON object")  # noqa: TRY004 -- one kind of refusal
    kid = one.get("kid")
    if not isinstance(kid, str) or not 1 <= len(kid) <= _KID_MAX or not kid.isprintable():
        raise ValueError(f"a key has a `kid` of 1 to {_KID_MAX} characters")
    if _PRIVATE & one.keys():
        raise ValueError("it is a private or symmetric key: register the public half alone")
    for rule in _broken(one):
        raise ValueError(rule)
    public = {name: one[name] for name in _PUBLIC if name in one}
    text = _canonical(public)
    try:
        imported(text)
    except (JoseError, ValueError, TypeError):
        raise ValueError("it is no valid public key") from None
    return kid, text


def _broken(one: Mapping[str, Any]) -> Iterator[str]:
    """The rules that a key breaks by what it says of itself."""
    algorithm = next((made for kind, made in ALGORITHMS.items() if kind == one.get("kty")), None)
    if algorithm is None:
        yield "`kty` is `RSA` (for RS384) or `EC` (for ES384)"
    if algorithm == ALGORITHMS["RSA"] and not RSA_BITS_MIN <= _bits(one.get("n")) <= RSA_BITS_MAX:
        yield f"an RSA key has {RSA_BITS_MIN} bits or more, and at most {RSA_BITS_MAX}"
    if algorithm == ALGORITHMS["RSA"] and _bits(one.get("e")) > RSA_EXPONENT_BITS_MAX:
        yield f"the exponent `e` of an RSA key has at most {RSA_EXPONENT_BITS_MAX} bits; most are 65537"
    if one.get("kty") == "EC" and one.get("crv") != CURVE:
        yield f"`crv` of an EC key is `{CURVE}`, for ES384"
    if one.get("alg") not in (None, algorithm):
        yield f"`alg` of such a key is `{algorithm}`"
    if one.get("use") not in (None, "sig"):
        yield "`use` is `sig`"
    operations = one.get("key_ops")
    if isinstance(operations, list) and "verify" not in operations:
        yield "`key_ops` has `verify`"


def _bits(modulus: object) -> int:
    """The length of a number in Base64; 0 when it is none."""
    try:
        return int.from_bytes(urlsafe_b64decode(str(modulus).encode())).bit_length()
    except (JoseError, ValueError):
        return 0
