"""Strings: folding, the starts of words, and the three ways to compare."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.fhir.datatypes import Json, Malformed
from store.search.values import strings
from store.search.values.strings import Match, fold, folded_words, texts, words
from tests.support.filters import matches


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        pytest.param("Müller", "muller", id="umlaut"),
        pytest.param("STRASSE", "strasse", id="capitals"),
        pytest.param("Straße", "strasse", id="sharp s"),
        pytest.param("Carreño  Quiñones", "carreno quinones", id="tildes and white space"),
        pytest.param("O'Brien", "obrien", id="apostrophe within a word"),
        pytest.param("Smith-Jones", "smith jones", id="hyphen between words"),
        pytest.param("  (St.) Mary! ", "st mary", id="punctuation"),
        pytest.param("ﬁ", "fi", id="ligature"),
        pytest.param("---", "", id="nothing to search for"),
        pytest.param("Łukasz ŁÓDŹ", "lukasz lodz", id="l with a stroke"),
        pytest.param("Søren ÆGIR Þórðardóttir", "soren aegir thordardottir", id="Nordic letters"),
        pytest.param("Đoković", "dokovic", id="d with a stroke"),
        pytest.param("Œuvrard", "oeuvrard", id="oe"),
        pytest.param("K\u0131z\u0131l İstanbul", "kizil istanbul", id="dotless i"),
        pytest.param("Ka\u02bbahumanu", "kaahumanu", id="okina"),
        pytest.param(
            "O’Brien O\u2018Brien O\u00b4Brien O\u02bcbrien O\uff07Brien",
            "obrien " * 4 + "obrien",
            id="apostrophes",
        ),
        pytest.param("Schmidt\xadMüller", "schmidtmuller", id="soft hyphen"),
        pytest.param("\u200f\u05dc\u05d5\u05d9\u200e", "\u05dc\u05d5\u05d9", id="marks of direction"),
        pytest.param("\u845b\U000e0100\u57ce", "\u845b\u57ce", id="variant of a character"),
    ],
)
def test_fold(text: str, folded: str) -> None:
    assert fold(text) == folded


def test_who_is_who_is_told_by_words_that_no_change_of_searches_changes() -> None:
    """Stored evidence was folded so: another folding would make two people of one."""
    assert folded_words("Łukasz Ka\u02bbahumanu") == ["łukasz", "ka\u02bbahumanu"]


def test_each_word_is_a_start() -> None:
    assert words("Carreño Quiñones") == ["carreno quinones", "quinones"]
    assert words("") == []
    assert len(words("a " * 100)) == strings.WORDS_MAX


def test_of_a_long_text_the_beginning_is_indexed() -> None:
    assert words("a" * strings.TEXT_MAX + "b") == ["a" * strings.TEXT_MAX]


def test_a_ligature_is_folded_whole_and_a_text_of_them_grows_within_bounds() -> None:
    assert len(fold("\ufdfa").replace(" ", "")) == len(fold("\ufdfa" * 50).replace(" ", "")) / 50
    assert len(fold("\ufdfa" * 10_000)) <= 40_000
    assert len(fold("\ud55c" * 10_000)) == 30_000  # Each syllable of Hangul is three letters.


def test_a_name_or_address_is_all_its_texts() -> None:
    name: Json = {"use": "official", "family": "Made", "given": ["Up", "Person"], "period": {"start": "2020"}}
    assert list(texts(name, "name")) == ["Made", "Up", "Person"]
    address: Json = {"line": ["1 Example Road"], "city": "Nowhere", "postalCode": "00000"}
    assert list(texts(address, "address")) == ["1 Example Road", "Nowhere", "00000"]
    assert list(texts("plain", "name")) == ["plain"]


@pytest.mark.parametrize(
    ("value", "path"), [(7, "name"), ({"family": 7}, "name.family"), ({"given": [{}]}, "name.given")]
)
def test_a_wrong_shape_is_named(value: object, path: str) -> None:
    with pytest.raises(Malformed) as raised:
        list(texts(value, "name"))  # type: ignore[arg-type]  # that is the point
    assert raised.value.path == path


def test_what_folds_to_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no letter or digit"):
        strings.parse("-", Match.START)
    assert strings.parse("-", Match.EXACT) == "-"


_WORDS = st.text(alphabet="abcÄé' -", max_size=8)


@given(_WORDS, _WORDS)
def test_a_start_is_found_by_the_definition(stored: str, asked: str) -> None:
    wanted = fold(asked)
    if not wanted:
        return
    document = {"index": {"name": words(stored)}}
    # In words: one of the stored words begins the text that was asked.
    gaps = [0, *(n + 1 for n, c in enumerate(fold(stored)) if c == " ")]
    expected = any(fold(stored)[gap:].startswith(wanted) for gap in gaps)
    assert matches(document, strings.to_filter("index.name", [wanted], Match.START)) is expected


ACCENTS = "\u0315\u0300\u0f73\u0f75"


def test_accents_without_end_are_not_brought_into_their_order() -> None:
    """Unicode's order of them takes the square of their number: a megabyte would take minutes."""
    assert folded_words("a" + ACCENTS * 60_000 + "b") == ["ab"]


@given(st.text(alphabet=st.sampled_from("aé\u0300\u0315\u0f73\uac00 İ-ﬁ"), max_size=40), st.integers(1, 30))
def test_a_text_in_pieces_is_folded_as_a_whole(text: str, times: int) -> None:
    whole = unicodedata.normalize("NFKD", text * times).casefold()
    base = "".join(c if c.isalnum() else " " for c in whole if not unicodedata.combining(c))
    assert folded_words(text * times) == base[: max(strings.TEXT_MAX, len(text * times) * 4)].split()
