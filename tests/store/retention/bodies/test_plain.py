"""Spellings of one text in bodies that were never taken apart."""

from __future__ import annotations

import pytest

from store.retention.bodies.plain import in_utf8, unescaped


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        pytest.param(rb'"Patient\/a"', '"Patient/a"', id="a slash"),
        pytest.param(rb'"M\u00FCller O\u0027Neil"', '"Müller O\'Neil"', id="upper case"),
        pytest.param(rb'"\ud83d\ude00"', '"\U0001f600"', id="a pair"),
        pytest.param(rb'"\ud83d"', '"\ufffd"', id="half a pair"),
        pytest.param(rb'"\\u0041\u0022\u005c\n\u000a"', r'"\\u0041\u0022\u005c\n\u000a"', id="needed"),
    ],
)
def test_escapes_that_the_text_does_without_are_undone(sent: bytes, read: str) -> None:
    assert unescaped(sent) == read.encode()


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-16-le", "utf-32"])
def test_any_unicode_is_read(codec: str) -> None:
    assert in_utf8("MSH|Müller".encode(codec)).decode(errors="replace").startswith("MSH|Müller")


def test_what_was_cut_within_a_character_is_read_as_far_as_it_is_ascii() -> None:
    assert b"PID|1||A-1" in in_utf8(
        b"\xff\xfe" + "MSH|\r".encode("utf-16-le")[:-1] + "PID|1||A-1".encode("utf-16-le")
    )
