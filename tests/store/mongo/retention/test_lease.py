"""A single worker at a time; one that was frozen and wakes up does nothing."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from store.mongo.indexes import LEASES
from store.retention.runs import LeaseLost
from tests.support.runs import LEASE_SECONDS, leases_of, taken
from tests.support.service import Clock

if TYPE_CHECKING:
    from store.mongo.driver.client import Database

HOUR = timedelta(hours=1)


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def test_of_many_one_gets_it(database: Database, clock: Clock) -> None:
    replicas = [leases_of(database, clock) for _ in range(8)]
    got = [one for one in await asyncio.gather(*(one.take("sweep") for one in replicas)) if one]
    assert [one.fence for one in got] == [1]
    holding = await replicas[0].holding("sweep")
    assert holding is not None
    assert holding.holder == got[0].holder
    assert holding.until == clock() + timedelta(seconds=LEASE_SECONDS)


async def test_leases_of_other_names_are_others(database: Database, clock: Clock) -> None:
    leases = leases_of(database, clock)
    await taken(leases, "one")
    assert (await taken(leases, "two")).fence == 1
    assert await leases.take("one") is None


async def test_a_lease_that_ran_out_is_taken_over_with_a_higher_fence(
    database: Database, clock: Clock
) -> None:
    first, second = leases_of(database, clock), leases_of(database, clock)
    old = await taken(first)
    clock.move(seconds=LEASE_SECONDS - 1)
    assert await second.take("sweep") is None
    clock.move(seconds=1)
    new = await taken(second)
    assert (old.fence, new.fence) == (1, 2)
    assert (old.changed, new.changed) == (False, True)
    with pytest.raises(LeaseLost):
        await first.renew(old)
    await first.release(old, done=True)  # Of no effect.
    assert await first.take("sweep") is None
    await second.renew(new)


async def test_a_renewed_lease_lasts(database: Database, clock: Clock) -> None:
    first, second = leases_of(database, clock), leases_of(database, clock)
    lease = await taken(first)
    for _ in range(3):
        clock.move(seconds=LEASE_SECONDS - 1)
        await first.renew(lease)
        assert await second.take("sweep") is None


async def test_what_ran_out_and_nobody_took_is_still_ours(database: Database, clock: Clock) -> None:
    leases = leases_of(database, clock)
    lease = await taken(leases)
    clock.move(seconds=LEASE_SECONDS * 10)
    await leases.renew(lease)


async def test_work_that_is_done_is_due_again_after_its_interval(database: Database, clock: Clock) -> None:
    first, second = leases_of(database, clock), leases_of(database, clock)
    lease = await first.take("sweep", every=HOUR)
    assert lease is not None
    clock.move(minutes=10)
    await first.release(lease, done=True)
    assert await second.take("sweep", every=HOUR) is None
    by_hand = await taken(second)
    await second.release(by_hand, done=True)
    clock.move(minutes=59)
    assert await first.take("sweep", every=HOUR) is None
    clock.move(minutes=1)
    assert await first.take("sweep", every=HOUR) is not None


async def test_work_that_was_broken_off_is_due_at_once(database: Database, clock: Clock) -> None:
    first, second = leases_of(database, clock), leases_of(database, clock)
    given_up = await first.take("sweep", every=HOUR)
    assert given_up is not None
    await first.release(given_up, done=False)
    crashed = await second.take("sweep", every=HOUR)
    assert crashed is not None
    clock.move(seconds=LEASE_SECONDS)
    assert await first.take("sweep", every=HOUR) is not None


async def test_a_transaction_that_its_holder_left_open_does_not_keep_the_next_waiting(
    database: Database, clock: Clock
) -> None:
    first, second = leases_of(database, clock), leases_of(database, clock)
    frozen = await taken(first)
    frozen.session.start_transaction()
    await first.confirm(frozen, frozen.session)  # And now it stands still.
    clock.move(seconds=LEASE_SECONDS + LEASE_SECONDS)
    async with asyncio.timeout(8):  # MongoDB itself would end it after a minute.
        new = await taken(second)
    assert new.fence == 2
    stored = await database[LEASES].find_one({"_id": "sweep"})
    assert stored is not None
    assert stored["holder"] == new.holder
