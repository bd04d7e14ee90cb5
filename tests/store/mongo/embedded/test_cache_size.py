"""Share of the memory that the embedded mongod takes for its cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from store.mongo.embedded.cache_size import memory, quarter

if TYPE_CHECKING:
    from pathlib import Path

GIBIBYTE = 1024**3


@pytest.mark.parametrize(
    ("file", "text", "limited"),
    [
        ("memory.max", f"{GIBIBYTE}\n", True),
        ("memory.max", "max\n", False),
        ("memory/memory.limit_in_bytes", f"{GIBIBYTE}\n", True),
        ("memory/memory.limit_in_bytes", "9223372036854771712\n", False),
        ("unrelated", "1\n", False),
    ],
)
def test_a_control_group_may_allow_less_than_the_machine_has(
    tmp_path: Path, file: str, text: str, limited: bool
) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(text)
    assert (memory(tmp_path) == GIBIBYTE) is limited


@pytest.mark.parametrize(("gibibytes", "cache"), [(0.5, 0.25), (1, 0.25), (4, 1.0), (24, 6.0), (3, 0.75)])
def test_a_quarter_but_not_too_little(gibibytes: float, cache: float) -> None:
    assert quarter(int(gibibytes * GIBIBYTE)) == cache
