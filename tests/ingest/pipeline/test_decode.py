"""Bytes → JSON object: every digit and member, or a refusal that quotes nothing; and back into bytes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.pipeline.decode import decode
from ingest.pipeline.stamp import dump, unstamped
from store.errors import Category, ServiceError
from store.fhir.datatypes import Number
from store.resources.resource_keys import ResourceKey
from tests.support.reports import NOW, attempt, refusal, said

KEY = ResourceKey("Basic", "b-1")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.00", Number("1.00")),
        ("1e400", Number("1e400")),
        ("-1E-7", Number("-1E-7")),
        ("-0", Number("-0")),
        ("-0.0", Number("-0.0")),
        ("0", 0),
        ("-7", -7),
        ("9" * 15, 999_999_999_999_999),
        ("9" * 16, Number("9" * 16)),
        ("1" * 40, Number("1" * 40)),
        ("-" + "1" * 40, Number("-" + "1" * 40)),
        ("9" * 5_000, Number("9" * 5_000)),
        ('"\\u00e9\\ud83d\\ude00"', "é😀"),
        ('"\\u0000"', "\0"),
        ("null", None),
        ("[[], {}]", [[], {}]),
    ],
)
def test_values(text: str, value: Any) -> None:
    # The white space keeps it from the fast parser, which has a test of its own.
    assert decode(b'{"a": ' + text.encode() + b"}") == {"a": value}


@pytest.mark.parametrize(
    "text", ["1.00", "1e400", "-0", "1" * 40, '{"b":1,"b":2}', '"\\u00e9"', "NaN", "[1,]", '"\\ud800"']
)
def test_the_fast_parser_is_not_believed_when_it_would_lose_something(text: str) -> None:
    body = b'{"a":' + text.encode() + b"}"
    spaced = b'{"a": ' + text.encode() + b"}"
    answers = []
    for one in (body, spaced):
        try:
            answers.append(repr(decode(one)) + stamped(one))
        except ServiceError as error:
            answers.append(error.issues[0].code)
    assert answers[0] == answers[1]


def stamped(body: bytes) -> str:
    """The digits as they would be stored."""
    return dump(decode(body)).decode()


def test_a_byte_order_mark_is_passed_over() -> None:
    assert decode(b'\xef\xbb\xbf{"a": "\xc3\xa9"}') == {"a": "é"}


DEEP = 10_000


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        pytest.param(b"", "the body is not JSON: Expecting value at line 1 column 1", id="empty"),
        pytest.param(
            b'{"a":1', "the body is not JSON: Expecting ',' delimiter at line 1 column 7", id="cut off"
        ),
        pytest.param(b'{"a":1} {}', "the body is not JSON: Extra data at line 1 column 9", id="two"),
        pytest.param(b'{"a":"\n"}', "the body is not JSON: Invalid control character", id="raw newline"),
        pytest.param(b'{"a":01}', "the body is not JSON", id="leading zero"),
        pytest.param(b'{"a":1,}', "the body is not JSON", id="comma at the end"),
        pytest.param(b"\xff{}", "the body is not UTF-8", id="not UTF-8"),
        pytest.param('{"a":1}'.encode("utf-16"), "the body is not UTF-8", id="UTF-16"),
        pytest.param(b"[]", "the body must be a JSON object", id="list"),
        pytest.param(b'"Doe"', "the body must be a JSON object", id="text"),
        pytest.param(b'{"Doe":1,"Doe":1}', "a JSON object has the same key twice", id="duplicate key"),
        pytest.param(b'{"a":[{"Doe":1,"b":2,"Doe":3}]}', "a JSON object has the same key twice", id="within"),
        pytest.param(
            b'{"a":1,"\\u0061":1}', "a JSON object has the same key twice", id="the same when decoded"
        ),
        pytest.param(b'{"a":NaN}', "NaN and Infinity are not JSON", id="NaN"),
        pytest.param(b'{"a":Infinity}', "NaN and Infinity are not JSON", id="Infinity"),
        pytest.param(b'{"a":-Infinity}', "NaN and Infinity are not JSON", id="-Infinity"),
        pytest.param(b'{"a":' + b"[" * DEEP + b"]" * DEEP + b"}", "nested too deep", id="deep lists"),
        pytest.param(b'{"a":' * DEEP + b"1" + b"}" * DEEP, "nested too deep", id="deep objects"),
        pytest.param(b'{"id":[' * DEEP, "nested too deep", id="deep and cut off"),
        pytest.param(rb'{"a":"\ud800"}', "lone surrogate", id="high surrogate"),
        pytest.param(rb'{"a":"\uDC00 Doe"}', "lone surrogate", id="low surrogate"),
        pytest.param(rb'{"\ud800":1}', "lone surrogate", id="surrogate in a key"),
        pytest.param(rb'{"a":["\ude00\ud83d"]}', "lone surrogate", id="the wrong way round"),
    ],
)
def test_refusal(body: bytes, rule: str) -> None:
    error = refusal(lambda: decode(body))
    assert error.category is Category.INCORRECT
    [issue] = error.issues
    assert issue.code == "structure"
    assert rule in issue.text
    assert "Doe" not in said(error)


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
_NUMBERS = st.one_of(
    st.integers(),
    st.integers(10**39, 10**40 - 1),
    st.builds(
        lambda sign, whole, fraction, exponent: Number(f"{sign}{whole}.{fraction}{exponent}"),
        st.sampled_from(["", "-"]),
        st.integers(0, 10**20),
        st.text("0123456789", min_size=1, max_size=30),
        st.sampled_from(["", "e400", "E-400", "e+1"]),
    ),
    st.sampled_from([Number("-0"), Number("1.00"), Number("1e400")]),
)
_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | _NUMBERS | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=12,
)
_OBJECTS = st.dictionaries(_TEXT, _VALUES, max_size=5)


def written(value: Any, *, ascii_only: bool) -> str:
    """JSON text by other means than ours."""
    if isinstance(value, Number):
        return value.text
    if isinstance(value, dict):
        members = (
            f"{written(k, ascii_only=ascii_only)} : {written(v, ascii_only=ascii_only)}"
            for k, v in value.items()
        )
        return "{" + " , ".join(members) + "}"
    if isinstance(value, list):
        return "[ " + ",".join(written(one, ascii_only=ascii_only) for one in value) + "]"
    return json.dumps(value, ensure_ascii=ascii_only)


def digits(value: Any) -> Any:
    """The value with each number as its text, so that 1 and 1.0 and true differ."""
    if isinstance(value, dict):
        return {name: digits(one) for name, one in value.items()}
    if isinstance(value, list):
        return [digits(one) for one in value]
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return ("", value)
    return ("number", value.text if isinstance(value, Number) else str(value))


@given(_OBJECTS, st.booleans())
def test_decoding_keeps_every_digit_and_member(value: dict[str, Any], ascii_only: bool) -> None:
    assert digits(decode(written(value, ascii_only=ascii_only).encode())) == digits(value)


@given(_OBJECTS, st.booleans())
def test_stamping_keeps_every_digit_and_member(value: dict[str, Any], with_meta: bool) -> None:
    value = {name: one for name, one in value.items() if name not in {"resourceType", "id", "meta"}}
    meta: dict[str, Any] = {"meta": {"tag": [], "versionId": "theirs"}} if with_meta else {}
    decoded = decode(written(value | meta, ascii_only=False).encode())
    again = dict(decode(unstamped(decoded, KEY).stamp(3, NOW)))
    kept: Any = {"tag": []} if with_meta else {}
    assert again.pop("resourceType") == "Basic"
    assert again.pop("id") == "b-1"
    assert again.pop("meta") == kept | {"versionId": "3", "lastUpdated": "2026-11-22T12:00:00.000Z"}
    assert digits(again) == digits(value)
    assert list(again) == list(value)


@given(st.binary(max_size=40) | st.text('{}[]":,\\ud80NaIfinty-+.eE019 \n', max_size=40).map(str.encode))
def test_any_bytes_are_an_object_or_a_refusal(body: bytes) -> None:
    found = attempt(lambda: decode(body))
    if isinstance(found, ServiceError):
        assert found.category is Category.INCORRECT
    else:
        assert decode(unstamped(found, KEY).stamp(1, NOW))["id"] == "b-1"
