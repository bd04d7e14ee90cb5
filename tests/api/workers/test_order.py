"""Orders to workers: their number, their settings, and their shares of what the settings allow."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.settings.service import Settings
from api.workers.order import DIVIDED, WorkOrder, cores, divided


@pytest.mark.parametrize("workers", [1, 2, 3, 64])
def test_workers_together_have_no_more_than_the_settings_allow(workers: int) -> None:
    whole = Settings(connections_per_address_max=10)
    part = divided(whole, workers)
    for name, least in DIVIDED.items():
        share = getattr(part, name)
        assert share * workers <= getattr(whole, name) or share == least
    assert part.model_dump(exclude=set(DIVIDED)) == whole.model_dump(exclude=set(DIVIDED))


def test_no_limit_stays_none() -> None:
    assert divided(Settings(connections_per_address_max=0), 4).connections_per_address_max == 0


def test_each_divided_limit_is_a_setting_that_takes_its_least() -> None:
    for name, least in DIVIDED.items():
        assert getattr(Settings(**{name: least}), name) == least  # type: ignore[arg-type]


def test_an_order_comes_as_it_was_sent() -> None:
    order = WorkOrder(
        {"port": 0, "config": "c.toml"}, "mongodb://u:p@h", (3, 4), "/a.sock", "http://h", 2, True
    )
    assert WorkOrder.read(order.line()) == order
    assert order.line().count(b"\n") == 1


@pytest.mark.parametrize(("text", "most"), [("max 100000", None), ("150000 100000", 2), ("50000 100000", 1)])
def test_processors_are_those_that_the_control_group_leaves(
    text: str, most: int | None, tmp_path: Path
) -> None:
    whole = cores(tmp_path)
    (tmp_path / "cpu.max").write_text(text)
    assert cores(tmp_path) == (whole if most is None else min(most, whole))
