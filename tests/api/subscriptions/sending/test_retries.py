"""The schedule of attempts, and circuits of receivers."""

from __future__ import annotations

from datetime import timedelta

from api.subscriptions.sending.retries import OPENS_AFTER, Circuits, moments, pause_after
from tests.support.subscriptions import NOW, kept

HERE, ELSEWHERE = kept(), kept(endpoint="https://other.example/hook")


def test_attempts_follow_upstreams_schedule() -> None:
    gaps = [int(pause_after(failures).total_seconds()) for failures in range(11)]
    assert gaps == [0, 10, 10, 20, 30, 50, 80, 120, 120, 120, 120]
    assert list(moments(6)) == [0, 10, 20, 40, 70, 120]


def test_a_circuit_opens_after_some_failures_lets_one_through_and_closes_by_its_success() -> None:
    circuits, now = Circuits(), NOW
    for _ in range(OPENS_AFTER - 1):
        circuits.failed(HERE, now)
        assert circuits.waits(HERE, now) is None
    circuits.failed(HERE, now)
    until = circuits.waits(HERE, now)
    assert until == now + pause_after(OPENS_AFTER)
    assert circuits.waits(ELSEWHERE, now) is None
    assert circuits.open((HERE,)) == 1
    now = until
    assert circuits.waits(HERE, now) is None, "the probe"
    assert circuits.waits(HERE, now) is not None, "all others wait for it"
    circuits.failed(HERE, now)
    assert circuits.waits(HERE, now + timedelta(seconds=1)) == now + pause_after(OPENS_AFTER + 1)
    circuits.succeeded(HERE)
    assert circuits.waits(HERE, now) is None
    assert circuits.open((HERE,)) == 0
