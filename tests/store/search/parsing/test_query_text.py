"""Query strings and forms as pairs; percent-decoded, and nothing more."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.errors import Category, ServiceError
from store.search.parsing.query_text import PAIRS_MAX, TEXT_MAX, pairs_of, pairs_of_form, value_of
from tests.support.reports import attempt, refusal


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        pytest.param("", [], id="empty"),
        pytest.param("a=1&b=2&a=3", [("a", "1"), ("b", "2"), ("a", "3")], id="order and repetition"),
        pytest.param("a=&b", [("a", ""), ("b", "")], id="blank values stay"),
        pytest.param("&&a=1&", [("a", "1")], id="empty segments"),
        pytest.param("a=b=c", [("a", "b=c")], id="the first sign separates"),
        pytest.param("a=1;b=2", [("a", "1;b=2")], id="a semicolon does not"),
        pytest.param(
            "date=2020-01-01T00:00%2B02:00", [("date", "2020-01-01T00:00+02:00")], id="an escaped plus"
        ),
        pytest.param("date=2020-01-01T00:00+02:00", [("date", "2020-01-01T00:00 02:00")], id="a raw plus"),
        pytest.param("code=a%2Cb%5C%2Cc%7Cd", [("code", r"a,b\,c|d")], id="decoded before it is split"),
        pytest.param("subject%3Aidentifier=x", [("subject:identifier", "x")], id="names too"),
        pytest.param("a=%C3%A9", [("a", "é")], id="UTF-8"),
        pytest.param("a=%zz%", [("a", "%zz%")], id="no escape"),
    ],
)
def test_pairs(text: str, pairs: list[tuple[str, str]]) -> None:
    assert pairs_of(text) == pairs


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_a_posted_file_ends_with_the_end_of_a_line(end: bytes) -> None:
    """The last value is without it, for it would find nothing."""
    assert pairs_of_form(b"a=1&patient=p1" + end) == [("a", "1"), ("patient", "p1")]
    assert pairs_of_form(b"a=1%0A" + end) == [("a", "1\n")]


def test_what_is_not_utf8_is_refused() -> None:
    error = refusal(lambda: pairs_of("patient=%ff"))
    assert error.category is Category.INCORRECT
    assert [issue.text for issue in error.issues] == ["the parameters are not UTF-8 when percent-decoded"]


def test_the_number_of_pairs_is_bounded() -> None:
    assert len(pairs_of("&".join(["a=1"] * PAIRS_MAX))) == PAIRS_MAX
    error = refusal(lambda: pairs_of("&".join(["a=1"] * (PAIRS_MAX + 1))))
    assert error.category is Category.INCORRECT
    assert [issue.text for issue in error.issues] == [f"a search may have at most {PAIRS_MAX} parameters"]


def test_the_length_is_bounded() -> None:
    assert len(pairs_of("a=" + "1" * (TEXT_MAX - 2))) == 1
    assert refusal(lambda: pairs_of("a=" + "1" * (TEXT_MAX - 1))).category is Category.TOO_LARGE


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@given(st.lists(st.tuples(_TEXT, _TEXT), max_size=4))
def test_what_was_encoded_is_decoded(pairs: list[tuple[str, str]]) -> None:
    assert pairs_of(urlencode(pairs)) == pairs


@given(_TEXT | st.text("%0aFf=&+é;", max_size=12))
def test_any_text_is_decoded_or_refused(text: str) -> None:
    found = attempt(lambda: pairs_of(text))
    if isinstance(found, ServiceError):
        assert found.category is Category.INCORRECT
    else:
        assert len(found) <= text.count("&") + 1


PARTS = ["_format", "a", "=", "&", "json", "+", "%20", "%ff", "_format=", ""]


@given(st.lists(st.sampled_from(PARTS), max_size=12))
def test_the_value_of_one_parameter_is_that_of_the_whole(parts: list[str]) -> None:
    text = "".join(parts)
    assert value_of(text, "_format") == dict(parse_qsl(text)).get("_format")
