"""Flow of a client: what it may send in a second, and what it waits for. Time is passed in."""

from __future__ import annotations

import pytest

from ingest.http.admission import REMEMBERED, SMALL_BYTES, Admission, Flow, Room, Shares
from tests.support.pauses import pausing

MB = 1_000_000


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_sender_waits_for_what_it_has_sent_on_all_connections_together() -> None:
    clock = Clock()
    flow = Flow(10 * MB, clock=clock)
    assert [flow.wait("one", MB) for _ in range(3)] == pytest.approx([0.1, 0.2, 0.3])
    assert flow.wait("another", MB) == pytest.approx(0.1)
    clock.now = 0.25
    assert flow.wait("one", MB) == pytest.approx(0.15)
    clock.now = 9.0  # What it did not send meanwhile it has not saved.
    assert flow.wait("one", MB) == pytest.approx(0.1)


def test_what_is_little_is_not_waited_for_and_counts() -> None:
    flow = Flow(10 * MB, clock=Clock())
    waits = [flow.wait("one", 10_000) for _ in range(10)]
    assert waits[:4] == [0.0] * 4
    assert waits[-1] == pytest.approx(0.01)


def test_zero_is_no_bound() -> None:
    assert Flow(0, clock=Clock()).wait("one", 10**12) == 0.0


def test_those_that_are_not_behind_are_forgotten() -> None:
    clock = Clock()
    flow = Flow(MB, clock=clock)
    flow.wait("far behind", 10 * MB)
    for number in range(REMEMBERED):
        flow.wait(number, 1)
    clock.now = 1.0
    assert flow.wait("far behind", MB) == pytest.approx(10.0)
    assert len(flow._paid) == 1


@pytest.mark.parametrize(("size", "waits"), [(SMALL_BYTES, []), (SMALL_BYTES + 1, [0.5])])
async def test_small_bodies_keep_no_pace(size: int, waits: list[float]) -> None:
    shares = Shares(*[100 * MB] * 3)
    admission = Admission(shares, check=lambda: None, rejected=lambda _: None, rate=MB, clock=Clock())
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    with Room(admission, "tenant", "client") as room, pausing("ingest.http.admission", sleep):
        room.take(size)
        await room.keep_pace(MB // 2)
    assert slept == waits
