"""Verdicts on a service that ran for long."""

from __future__ import annotations

import os

import pytest

from bench.soak.steady import Held, growth, held_by, slope, verdicts


def test_a_slope_is_a_share_of_the_mean_in_ten_minutes() -> None:
    assert slope([100.0] * 40) == 0.0
    assert slope([100.0 + minute * 0.1 for minute in range(40)]) == pytest.approx(1 / 101.95, rel=1e-6)
    assert slope([]) == slope([7.0]) == 0.0


def test_descriptors_that_come_and_go_are_no_growth() -> None:
    assert growth([40, 90, 40, 40, 40, 40, 41, 40, 90]) == 1
    assert growth([40, 40, 40, 50, 50, 50, 60, 60, 60]) == 20


@pytest.mark.parametrize(
    ("rise", "more", "holds"),
    [(0.0, 0, True), (0.05, 0, True), (0.2, 0, False), (0.0, 1, False), (-1.0, 0, True)],
)
def test_a_process_stands_still_or_not(rise: float, more: int, holds: bool) -> None:
    minutes = [
        {"service": Held(100 + minute * rise, 40 + minute * more), "mongod": Held(100.0 + minute, 60)}
        for minute in range(45)
    ]
    assert [verdict for _, verdict in verdicts(minutes)] == [True, holds]


def test_this_process_holds_memory_and_descriptors() -> None:
    held = held_by(os.getpid())["service"]
    assert held.megabytes > 10
    assert held.descriptors > 2
