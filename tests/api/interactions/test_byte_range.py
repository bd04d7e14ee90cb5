"""`Range` headers, row by row, against what RFC 9110 says of them."""

from __future__ import annotations

import pytest

from api.interactions.byte_range import Unsatisfiable, parse

SIZE = 10


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("bytes=0-0", (0, 1)),
        ("bytes=0-9", (0, 10)),
        ("bytes=0-99", (0, 10)),
        ("bytes=9-", (9, 10)),
        ("bytes=0-", (0, 10)),
        ("bytes=3-6", (3, 7)),
        ("bytes=-1", (9, 10)),
        ("bytes=-10", (0, 10)),
        ("bytes=-11", (0, 10)),
        ("Bytes = 3 - 6", (3, 7)),
        (" bytes=3-6 ", (3, 7)),
        # What is no range is ignored, and so are several at once: the whole answers them.
        ("bytes=6-3", None),
        ("bytes=-", None),
        ("bytes=", None),
        ("bytes=a-b", None),
        ("bytes=0-1,3-4", None),
        ("lines=0-1", None),
        ("bytes=0-1;q=1", None),
        ("bytes=\u0663-4", None),
        (f"bytes=0-{'9' * 19}", None),
        ("", None),
    ],
)
def test_a_range(header: str | None, expected: tuple[int, int] | None) -> None:
    assert parse(header, SIZE) == expected


@pytest.mark.parametrize(
    ("header", "size"),
    [
        ("bytes=10-", SIZE),
        ("bytes=10-12", SIZE),
        ("bytes=99-99", SIZE),
        ("bytes=-0", SIZE),
        ("bytes=0-", 0),
        ("bytes=-5", 0),
    ],
)
def test_a_range_of_which_nothing_is_there(header: str, size: int) -> None:
    with pytest.raises(Unsatisfiable):
        parse(header, size)
