"""Sealed page links: not to be read, not to be changed, and only for one tenant and a while."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from dataclasses import replace
from string import ascii_letters, digits

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.search.page_token import PageState, seal, unseal
from store.errors import Category, ServiceError
from store.fhir.instants import MISSING, OPEN_END
from store.search.criteria import Position
from tests.support.reports import refusal, said

SECRET = b"k" * 32
TENANT = "lab/Production"
STATE = PageState("DiagnosticReport", (("patient.identifier", "urn:m|Zq7Sentinel"),), 1, 1_000)
ALPHABET = ascii_letters + digits + "-_"


def opened(token: str, *, tenant: str = TENANT, secret: bytes = SECRET, now: int = 999) -> PageState:
    return unseal(token, tenant=tenant, secret=secret, now_seconds=now)


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
_POSITIONS = st.none() | st.builds(
    Position,
    st.lists(st.integers(MISSING, OPEN_END) | _TEXT, max_size=3).map(tuple),
    st.booleans(),
)
_STATES = st.builds(
    PageState,
    st.just("Patient"),
    st.lists(st.tuples(_TEXT, _TEXT), max_size=3).map(tuple),
    st.integers(0, 2**60),
    st.just(1_000),
    _POSITIONS,
    st.none() | st.integers(0, 10**9),
)


@given(_STATES)
def test_what_was_sealed_is_opened(state: PageState) -> None:
    assert opened(seal(state, tenant=TENANT, secret=SECRET)) == state


def test_nothing_of_the_query_is_readable() -> None:
    token = seal(STATE, tenant=TENANT, secret=SECRET)
    assert set(token) <= set(ALPHABET)
    for readable in (token.encode(), urlsafe_b64decode(token + "=" * (-len(token) % 4))):
        for word in (b"Zq7", b"Sentinel", b"patient", b"Diagnostic", b"urn:m"):
            assert word not in readable


def test_the_same_state_is_never_sealed_the_same() -> None:
    assert len({seal(STATE, tenant=TENANT, secret=SECRET) for _ in range(20)}) == 20


@pytest.mark.parametrize(
    "text", ["", "a", "ab", "abc", "abcd", "é", "\ud800", "=", "====", "a b", "x" * 40, "../.."]
)
def test_what_is_no_token_is_not_found(text: str) -> None:
    assert refusal(lambda: opened(text)).category is Category.NOT_FOUND


def test_every_edit_of_a_letter_is_not_found() -> None:
    token = seal(STATE, tenant=TENANT, secret=SECRET)
    for place, letter in enumerate(token):
        others = ALPHABET if place == len(token) - 1 else {"A", "_"}
        for other in set(others) - {letter}:
            assert not_found(token[:place] + other + token[place + 1 :])


def test_another_spelling_of_the_same_bytes_is_not_found() -> None:
    endings = set()
    for size in range(30):
        state = replace(STATE, pairs=(("code", "".join(chr(0x100 + 7 * n) for n in range(size))),))
        token = seal(state, tenant=TENANT, secret=SECRET)
        endings.add(len(token) % 4)
        others = {token[:-1] + letter for letter in ALPHABET}
        others |= {token.replace("-", "+"), token.replace("_", "/"), token + "=" * (-len(token) % 4)}
        assert all(not_found(other) for other in others - {token})
    assert endings == {0, 2, 3}


_TOKEN = seal(STATE, tenant=TENANT, secret=SECRET)


@given(st.integers(0, len(_TOKEN)), st.integers(0, 3), st.text(ALPHABET + "=+/!. \n", max_size=4))
def test_every_edit_is_not_found(place: int, cut: int, put: str) -> None:
    edited = _TOKEN[:place] + put + _TOKEN[place + cut :]
    if edited != _TOKEN:
        assert not_found(edited)


def not_found(token: str) -> bool:
    try:
        opened(token)
    except ServiceError as error:
        return error.category is Category.NOT_FOUND
    return False


@pytest.mark.parametrize("tenant", ["other/Production", "lab/Staging", "Lab/Production", ""])
def test_another_tenants_token_is_not_found(tenant: str) -> None:
    error = refusal(lambda: opened(_TOKEN, tenant=tenant))
    assert error.category is Category.NOT_FOUND
    assert "Zq7" not in said(error)


def test_a_token_of_another_secret_is_not_found() -> None:
    assert refusal(lambda: opened(_TOKEN, secret=b"z" * 32)).category is Category.NOT_FOUND


def test_a_token_works_until_its_last_second_and_is_gone_then() -> None:
    assert opened(_TOKEN, now=999) == STATE
    error = refusal(lambda: opened(_TOKEN, now=1_000))
    assert error.category is Category.GONE
    assert [issue.code for issue in error.issues] == ["expired"]


def test_an_expired_token_of_another_tenant_is_not_found_and_not_gone() -> None:
    assert (
        refusal(lambda: opened(_TOKEN, tenant="other/Production", now=1_000)).category is Category.NOT_FOUND
    )
