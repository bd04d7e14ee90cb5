"""Tests that `make test-fast` leaves out: all that lead to a mongod; no other can start one."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support import memory_backed
from tests.support.memory_backed import FREE_BYTES_MIN

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
    monkeypatch.setattr(memory_backed, "_available_bytes", lambda: available)
    assert memory_backed.memory_backed(tmp_path) == (tmp_path if taken else None)
    assert memory_backed.memory_backed(tmp_path / "nowhere") is None
