"""Conclusions that a comparison of the benchmark draws from its legs."""

from __future__ import annotations

import pytest

from bench.load import Measured
from bench.rounds import Target

FAST = Measured(seconds=1.0, latencies=[0.001, 0.002, 0.003, 0.004], failures=0, sample=[], busy=0.0)
SLOW = Measured(seconds=1.0, latencies=[0.002, 0.009], failures=0, sample=[], busy=0.0)


@pytest.mark.parametrize(
    ("target", "name", "ratio"),
    [
        (Target(0.6), "ratio", 0.5),
        (Target(1.2, at_most=True), "cost ratio", 2.0),
        (Target(1.3, at_most=True, of_p50=True), "p50 ratio", 3.0),
    ],
)
def test_a_ratio_is_of_rates_of_costs_or_of_medians(target: Target, name: str, ratio: float) -> None:
    assert target.name == name
    assert target.of(SLOW, FAST) == pytest.approx(ratio)


@pytest.mark.parametrize(
    ("target", "ratio", "words"),
    [
        (Target(0.6), 0.6, "PASS (target >= 0.6)"),
        (Target(0.6), 0.59, "FAIL (target >= 0.6)"),
        (Target(0.6, 0.75), 0.7, "PASS (target >= 0.6, stretch 0.75 not reached)"),
        (Target(0.6, 0.75), 0.75, "PASS (target >= 0.6, stretch 0.75 reached)"),
        (Target(1.3, at_most=True), 1.3, "PASS (target <= 1.3)"),
        (Target(1.3, at_most=True), 1.31, "FAIL (target <= 1.3)"),
        (Target(None, at_most=True), 9.0, ""),
    ],
)
def test_a_verdict_says_what_was_to_be_reached(target: Target, ratio: float, words: str) -> None:
    assert target.verdict(ratio) == words
