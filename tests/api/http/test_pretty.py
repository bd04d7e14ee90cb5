"""Indented JSON: every literal as it was, and bounds on what is indented."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from api.http.pretty import BYTES_MAX, indented

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='a"\\{}[],: é\n', max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


@given(JSON, st.booleans())
def test_it_is_what_the_standard_library_writes(value: Any, is_ascii: bool) -> None:
    body = json.dumps(value, separators=(",", ":"), ensure_ascii=is_ascii).encode()
    assert indented(body).decode() == json.dumps(value, indent=2, ensure_ascii=is_ascii) + "\n"


def test_literals_stay_as_they_are_written() -> None:
    assert indented(b'{"a":1.00,"b":[1e400,"\\u00e9"]}') == (
        b'{\n  "a": 1.00,\n  "b": [\n    1e400,\n    "\\u00e9"\n  ]\n}\n'
    )


def test_long_answers_stay_on_their_line() -> None:
    body = b'["%b"]' % (b'\\"' * (BYTES_MAX // 2))
    assert indented(body) == body
    assert indented(b'["%b"]' % (b"a" * 1_000)).count(b"\n") == 3
