r"""Splitting at unescaped separators. `\,` `\|` `\$` `\\` are the escapes of R4, and no others are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.search.values.escapes import escape, split, unescape


@pytest.mark.parametrize(
    ("text", "separator", "parts"),
    [
        pytest.param("", ",", [""], id="empty"),
        pytest.param("a", ",", ["a"], id="one"),
        pytest.param("a,b", ",", ["a", "b"], id="two"),
        pytest.param(",a,,", ",", ["", "a", "", ""], id="empty members"),
        pytest.param(r"a\,b,c", ",", ["a,b", "c"], id="escaped comma"),
        pytest.param(r"a\\,b", ",", ["a\\", "b"], id="escaped backslash before a comma"),
        pytest.param(r"a\\\,b", ",", [r"a\,b"], id="escaped backslash and comma"),
        pytest.param(r"a\|b|c", "|", ["a|b", "c"], id="escaped bar"),
        pytest.param(r"a\$b", ",", ["a$b"], id="escaped dollar"),
        pytest.param("a\nb,c", ",", ["a\nb", "c"], id="newline"),
        pytest.param("\\\\\n,c", ",", ["\\\n", "c"], id="newline behind an escape"),
    ],
)
def test_split_and_unescape(text: str, separator: str, parts: list[str]) -> None:
    assert [unescape(part) for part in split(text, separator)] == parts


@pytest.mark.parametrize("text", ["\\", "a\\", r"\a", r"a\ b", "\\\n", r"\\\x", "a,b\\"])
def test_any_other_backslash_is_malformed(text: str) -> None:
    with pytest.raises(ValueError, match="a backslash escapes only") as refused:
        split(text, ",")
    assert "a" not in str(refused.value).split("`")[1::2]


@given(st.lists(st.text(alphabet="ab,|$\\é\n"), min_size=1), st.sampled_from(",|"))
def test_escaped_parts_survive_a_join(parts: list[str], separator: str) -> None:
    joined = separator.join(
        "".join(f"\\{letter}" if letter in ",|$\\" else letter for letter in part) for part in parts
    )
    assert [unescape(part) for part in split(joined, separator)] == parts


@given(st.text(alphabet="ab|\\,"))
def test_escape_keeps_a_part_one_part(text: str) -> None:
    assert [unescape(part) for part in split(escape(text), "|")] == [text]
