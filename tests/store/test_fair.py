"""Fair turns: nobody has more than its share, nobody waits while it has a place, and none is lost."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.errors import Category, ServiceError
from store.fair import Asker, FairQueue, Gate, Shares

PLACES = Shares(2, 3, 4)
MANY = Shares(1_000, 1_000, 1_000)
ASKERS = [Asker(tenant, client) for tenant in "ab" for client in "xyz"]

steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from(ASKERS)),
        st.tuples(st.just("take"), st.booleans()),
        st.tuples(st.just("back"), st.integers(0, 9)),
        st.tuples(st.just("ended"), st.integers(0, 9)),
    ),
    max_size=80,
)


@given(steps)
def test_shares_hold_and_nothing_is_lost_whatever_the_order(done: list[tuple[str, object]]) -> None:
    queue: FairQueue[int] = FairQueue(places=PLACES, waiting=MANY)
    waiting: dict[Asker, list[int]] = {asker: [] for asker in ASKERS}
    running: list[tuple[Asker, int]] = []
    for number, (what, whom) in enumerate(done):
        if what == "put":
            assert isinstance(whom, Asker)
            queue.put(whom, number)
            waiting[whom].append(number)
        elif what == "take":
            taken = queue.take()
            runs = Counter(asker for asker, _ in running)
            tenants = Counter(asker.tenant for asker, _ in running)
            free = [
                asker
                for asker in ASKERS
                if waiting[asker] and runs[asker] < PLACES.client and tenants[asker.tenant] < PLACES.tenant
            ]
            assert (taken is None) == (not free)
            if taken is not None:
                asker, item = taken
                assert asker in free
                assert item == waiting[asker].pop(0)
                running.append(taken)
        elif running and isinstance(whom, int):
            asker, item = running.pop(whom % len(running))
            queue.ended(asker)
            if what == "back":
                queue.back(asker, item)
                waiting[asker].insert(0, item)
        assert len(queue) == sum(map(len, waiting.values()))


def test_tenants_and_their_clients_take_turns() -> None:
    queue: FairQueue[str] = FairQueue(places=MANY, waiting=MANY)
    for name in ("ax1", "ax2", "ax3", "ay1", "ay2", "bx1", "bx2"):
        queue.put(Asker(name[0], name[1]), name)
    taken = [one[1] for _ in range(7) if (one := queue.take()) is not None]
    assert taken == ["ax1", "bx1", "ay1", "bx2", "ax2", "ay2", "ax3"]


def test_an_asker_has_as_many_places_as_it_may_have_now() -> None:
    most = {ASKERS[0]: 1, ASKERS[1]: 2}
    queue: FairQueue[int] = FairQueue(places=MANY, waiting=MANY, most=most.__getitem__)
    for number in range(4):
        queue.put(ASKERS[0], number)
    queue.put(ASKERS[1], 4)
    assert [queue.take(), queue.take(), queue.take()] == [(ASKERS[0], 0), (ASKERS[1], 4), None]
    most[ASKERS[0]] = 3
    assert [queue.take(), queue.take(), queue.take()] == [(ASKERS[0], 1), (ASKERS[0], 2), None]


def test_others_of_the_same_asker_may_share_its_place() -> None:
    queue: FairQueue[int] = FairQueue(places=Shares(1, 1, 1), waiting=MANY)
    for number in range(3):
        queue.put(ASKERS[0], number)
    assert queue.take() == (ASKERS[0], 0)
    assert queue.take() is None
    assert queue.take(beside=[ASKERS[0]]) == (ASKERS[0], 1)
    queue.ended(ASKERS[0])
    assert queue.take() == (ASKERS[0], 2)


@pytest.mark.parametrize(
    ("limits", "category"),
    [
        (Shares(2, 9, 9), Category.THROTTLED),
        (Shares(9, 2, 9), Category.THROTTLED),
        (Shares(9, 9, 2), Category.UNAVAILABLE),
    ],
)
def test_too_many_that_wait_are_refused(limits: Shares, category: Category) -> None:
    queue: FairQueue[int] = FairQueue(places=Shares(0, 0, 0), waiting=limits)
    for number in range(2):
        queue.put(ASKERS[0], number)
    with pytest.raises(ServiceError) as raised:
        queue.put(ASKERS[0], 3)
    assert raised.value.category is category
    assert len(queue) == 2


async def test_a_gate_gives_each_place_on_whoever_leaves_or_gives_up() -> None:
    gate = Gate(places=Shares(1, 1, 2), waiting=MANY, seconds=30)
    inside: Counter[Asker] = Counter()
    opened = asyncio.Event()

    async def visit(asker: Asker) -> None:
        async with gate.turn(asker):
            inside[asker] += 1
            assert inside[asker] == 1
            assert inside.total() <= 2
            try:
                await opened.wait()
            finally:
                inside[asker] -= 1

    visits = [asyncio.create_task(visit(ASKERS[number % 4])) for number in range(40)]
    await asyncio.sleep(0)
    for given_up in visits[2:20]:
        given_up.cancel()
    visits[0].cancel()  # It is inside.
    opened.set()
    ended = await asyncio.gather(*visits, return_exceptions=True)
    assert sum(one is None for one in ended) == 21
    for asker in (ASKERS[0], ASKERS[3]):  # Both places are free again, one for each tenant.
        async with asyncio.timeout(30):
            await gate.enter(asker)


async def test_who_waits_at_a_gate_for_too_long_is_refused() -> None:
    gate = Gate(places=Shares(1, 1, 1), waiting=MANY, seconds=0.01)
    async with gate.turn(ASKERS[0]):
        with pytest.raises(ServiceError) as raised:
            await gate.enter(ASKERS[0])
        assert raised.value.category is Category.UNAVAILABLE
    async with gate.turn(ASKERS[5]):
        pass
