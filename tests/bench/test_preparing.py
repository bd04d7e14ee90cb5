"""The measure of the pure line: it runs, and names each kind."""

from __future__ import annotations

from bench import preparing


def test_each_kind_has_a_line_of_figures() -> None:
    _, columns, *lines = preparing.table(rounds=1)
    assert columns.split() == ["bytes", "decode", "prepare"]
    assert [line.split()[0] for line in lines] == list(preparing.KINDS)
    assert all(float(figure.replace(",", "")) > 0 for line in lines for figure in line.split()[1:])
