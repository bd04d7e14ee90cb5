"""A single worker at a time; one that was frozen and wakes up does nothing."""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta
from socket import gethostname
from typing import TYPE_CHECKING, Any

import pytest

from store.mongo.indexes import LEASES
from store.retention.runs import LeaseLost
from tests.support.runs import LEASE_SECONDS, leases_of, taken

if TYPE_CHECKING:
    from collections.abc import Callable

    from store.mongo.driver.client import Database

HOUR = timedelta(hours=1)


async def test_of_many_one_gets_it(database: Database) -> None:
    replicas = [leases_of(database) for _ in range(8)]
    got = [one for one in await asyncio.gather(*(one.take("sweep") for one in replicas)) if one]
    assert [one.fence for one in got] == [1]
    holding = await replicas[0].holding("sweep")
    assert holding is not None
    assert holding.holder == got[0].holder
    stored = await database[LEASES].find_one({"_id": "sweep"})
    assert stored is not None
    assert holding.until - stored["started_at"] == timedelta(seconds=LEASE_SECONDS)


async def test_leases_of_other_names_are_others(database: Database) -> None:
    leases = leases_of(database)
    await taken(leases, "one")
    assert (await taken(leases, "two")).fence == 1
    assert await leases.take("one") is None


async def test_a_lease_that_ran_out_is_taken_over_with_a_higher_fence(
    database: Database, later: Callable[..., None]
) -> None:
    first, second = leases_of(database), leases_of(database)
    old = await taken(first)
    later(seconds=LEASE_SECONDS - 1)
    assert await second.take("sweep") is None
    later(seconds=1)
    new = await taken(second)
    assert (old.fence, new.fence) == (1, 2)
    assert (old.changed, new.changed) == (False, True)
    with pytest.raises(LeaseLost):
        await first.renew(old)
    await first.release(old, done=True)  # Of no effect.
    assert await first.take("sweep") is None
    await second.renew(new)


async def test_a_renewed_lease_lasts(database: Database, later: Callable[..., None]) -> None:
    first, second = leases_of(database), leases_of(database)
    lease = await taken(first)
    for _ in range(3):
        later(seconds=LEASE_SECONDS - 1)
        await first.renew(lease)
        assert await second.take("sweep") is None


async def test_what_ran_out_and_nobody_took_is_still_ours(
    database: Database, later: Callable[..., None]
) -> None:
    leases = leases_of(database)
    lease = await taken(leases)
    later(seconds=LEASE_SECONDS * 10)
    await leases.renew(lease)


async def test_work_that_is_done_is_due_again_after_its_interval(
    database: Database, later: Callable[..., None]
) -> None:
    first, second = leases_of(database), leases_of(database)
    lease = await first.take("sweep", every=HOUR)
    assert lease is not None
    later(minutes=10)
    await first.release(lease, done=True)
    assert await second.take("sweep", every=HOUR) is None
    by_hand = await taken(second)
    await second.release(by_hand, done=True)
    later(minutes=59)
    assert await first.take("sweep", every=HOUR) is None
    later(minutes=1)
    assert await first.take("sweep", every=HOUR) is not None


async def test_work_that_was_broken_off_is_due_at_once(
    database: Database, later: Callable[..., None]
) -> None:
    first, second = leases_of(database), leases_of(database)
    given_up = await first.take("sweep", every=HOUR)
    assert given_up is not None
    await first.release(given_up, done=False)
    crashed = await second.take("sweep", every=HOUR)
    assert crashed is not None
    later(seconds=LEASE_SECONDS)
    assert await first.take("sweep", every=HOUR) is not None


async def test_a_transaction_that_its_holder_left_open_does_not_keep_the_next_waiting(
    database: Database, later: Callable[..., None]
) -> None:
    first, second = leases_of(database), leases_of(database)
    frozen = await taken(first)
    frozen.session.start_transaction()
    await first.confirm(frozen, frozen.session)  # And now it stands still.
    later(seconds=LEASE_SECONDS + LEASE_SECONDS)
    async with asyncio.timeout(8):  # MongoDB itself would end it after a minute.
        new = await taken(second)
    assert new.fence == 2
    stored = await database[LEASES].find_one({"_id": "sweep"})
    assert stored is not None
    assert stored["holder"] == new.holder


async def test_nobody_waits_for_a_process_of_this_machine_that_is_over(database: Database) -> None:
    ours, next_one = leases_of(database), leases_of(database)
    lease = await taken(ours)
    other = f"{gethostname()}:{os.getpid()}0:x"
    await database[LEASES].insert_one({**(await stored(database)), "_id": "other", "holder": other})
    await next_one.free(os.getpid() + 1)
    assert await next_one.take("sweep") is None
    await next_one.free(os.getpid())
    assert (await taken(next_one)).fence == 2
    with pytest.raises(LeaseLost):
        await ours.renew(lease)
    assert await next_one.take("other") is None


async def stored(database: Database) -> dict[str, Any]:
    found = await database[LEASES].find_one({"_id": "sweep"})
    assert found is not None
    return dict(found)


@pytest.mark.parametrize("done", [True, False])
async def test_a_clock_that_was_set_back_keeps_nobody_waiting(
    database: Database, later: Callable[..., None], done: bool
) -> None:
    """Nobody can tell how long a lease lasts that ends in a day, or when work began that begins tomorrow."""
    first, second = leases_of(database), leases_of(database)
    later(days=1)
    lease = await taken(first)
    if done:
        await first.release(lease, done=True)
    later(days=-1)
    assert await second.holding("sweep") is None
    assert await second.take("sweep", every=HOUR) is not None
