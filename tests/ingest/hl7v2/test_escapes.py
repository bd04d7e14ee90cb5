"""Escape sequences, as a table; delimiters of MSH may be any."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.hl7v2.delimiters import STANDARD, Delimiters
from ingest.hl7v2.escapes import escape, unescaper

OTHERS = Delimiters("#", "@", "%", "!", "$", "?")
TABLE = [
    (r"a\F\b", "a|b"),
    (r"a\S\b", "a^b"),
    (r"a\T\b", "a&b"),
    (r"a\R\b", "a~b"),
    (r"a\E\b", "a\\b"),
    (r"truncated\P\ ", "truncated# "),
    (r"one\.br\two", "one\ntwo"),
    (r"one\.sp2\two", "one\n\ntwo"),
    (r"one\.sp\two", "one\ntwo"),
    (r"\.in+4\text\.ti-4\ ", "text "),
    (r"\.ce\title", "\ntitle"),
    (r"a\.sk3\b", "a   b"),
    (r"\.fi\a\.nf\ b", "a b"),
    (r"\H\HIGH\N\ value", "HIGH value"),
    (r"\X41\ ", "A "),
    (r"\X0D0A\ ", "\r\n "),
    (r"\XC3A9\ ", "é "),
    (r"\Z12\ stays", r"\Z12\ stays"),
    (r"\C2842\ stays", r"\C2842\ stays"),
    (r"\X00\ stays", r"\X00\ stays"),
    (r"\XZZ\ stays", r"\XZZ\ stays"),
    (r"C:\temp stays", r"C:\temp stays"),
    (r"a\T\b\S\c\F", r"a&b^c\F"),
    (r"\\\\", r"\\\\"),
    (r"\\T\\", r"\\T\\"),
    (r"1\2 of \T\ b", r"1\2 of & b"),
    (r"4\5 re.\.br\next", "4\\5 re.\nnext"),
    (r"\ and \F\ ", r"\ and | "),
    ("no escapes", "no escapes"),
    ("", ""),
]


@pytest.mark.parametrize(("sent", "plain"), TABLE)
def test_escapes_become_plain_text(sent: str, plain: str) -> None:
    assert unescaper(STANDARD)(sent) == plain


def test_escapes_of_other_delimiters() -> None:
    assert unescaper(OTHERS)("a!F!b!S!c!T!d!R!e!E!f!P!") == "a#b@c$d%e!f?"


def test_hexadecimal_text_is_of_the_message_s_charset() -> None:
    assert unescaper(STANDARD, "iso8859-1")(r"\XE9\ ") == "é "
    assert unescaper(STANDARD, "utf-8")(r"\XE9\ ") == r"\XE9\ "


def test_a_number_of_blank_lines_is_bounded() -> None:
    assert len(unescaper(STANDARD)(r"\.sp9999\ ")) < 300


@given(st.text(alphabet=st.characters(exclude_characters="\r", exclude_categories=["Cs"])))
def test_what_is_escaped_comes_back(text: str) -> None:
    for delimiters in (STANDARD, OTHERS):
        sent = escape(text, delimiters)
        assert not set(delimiters[:5]) - {delimiters.escape} & set(sent)
        assert "\n" not in sent
        assert unescaper(delimiters)(sent) == text
