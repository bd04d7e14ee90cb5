"""Division of a run: `make test-fast` leaves out all that leads to a mongod; each worker has its share."""

from __future__ import annotations

import subprocess
from operator import itemgetter
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import memory_backed
from tests.support.memory_backed import FREE_BYTES_MIN
from tests.support.spread import spread

if TYPE_CHECKING:
    from pathlib import Path


def test_who_asks_for_a_database_is_marked(request: pytest.FixtureRequest) -> None:
    for item in request.session.items:
        assert item.get_closest_marker("mongo") or "mongodb" not in getattr(item, "fixturenames", ()), item


def test_who_is_not_marked_starts_no_mongod() -> None:
    with pytest.raises(pytest.fail.Exception, match="starts a mongod"):
        subprocess.run(["mongod", "--dbpath", "nowhere"], check=False)  # noqa: S607


@pytest.mark.mongo
def test_who_is_marked_may() -> None:
    assert subprocess.run(["true", "--dbpath"], check=True).returncode == 0  # noqa: S607


@pytest.mark.parametrize(
    ("free", "available", "taken"),
    [
        (FREE_BYTES_MIN, FREE_BYTES_MIN, True),
        (64 * 1024**2, FREE_BYTES_MIN, False),  # As in a container that nobody gave more.
        (FREE_BYTES_MIN, 64 * 1024**2, False),
    ],
)
def test_memory_is_taken_where_there_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, available: int, taken: bool
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": free}))
    monkeypatch.setattr(memory_backed, "available_bytes", lambda: available)
    assert memory_backed.memory_backed(tmp_path) == (tmp_path if taken else None)
    assert memory_backed.memory_backed(tmp_path / "nowhere") is None


@given(modules=st.lists(st.tuples(st.integers(1, 9), st.booleans()), max_size=30), workers=st.integers(1, 5))
def test_each_worker_begins_with_its_share_of_what_takes_long(
    modules: list[tuple[int, bool]], workers: int
) -> None:
    items = [(name, number) for name, (size, _) in enumerate(modules) for number in range(size)]
    long = {name for name, (_, is_long) in enumerate(modules) if is_long}
    order = spread(items, workers, module=itemgetter(0), is_long=lambda item: item[0] in long)
    assert sorted(order) == items
    for name in long:
        at = [place for place, item in enumerate(order) if item[0] == name]
        assert at == list(range(at[0], at[0] + modules[name][0])), "together"
        assert [order[place] for place in at] == sorted(order[place] for place in at), "in their order"


def test_long_ones_are_dealt_out_in_turn_and_none_begins_last() -> None:
    items = [
        *((f"short {number // 10}", number) for number in range(80)),
        *((f"long {n}", 0) for n in range(4)),
    ]
    order = spread(items, 2, module=itemgetter(0), is_long=lambda item: item[0].startswith("long"))
    places = {item[0]: place for place, item in enumerate(order) if item[0].startswith("long")}
    assert places == {"long 0": 0, "long 2": 21, "long 1": 42, "long 3": 63}
