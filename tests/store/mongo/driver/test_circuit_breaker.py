"""The circuit in front of the writes: what opens it, what closes it, and that one ping at a time tries."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from store.errors import Category, ServiceError
from store.metrics import StoreMetrics
from store.mongo.driver.circuit_breaker import PROBE_SECONDS, WATCH_SECONDS, Pulse


class Database:
    """Answers pings while it is `up`; time passes when the test says so."""

    def __init__(self) -> None:
        self.up = True
        self.pings = self.at_once = self.most_at_once = 0
        self.pauses: list[float] = []
        self.tick = asyncio.Semaphore(0)
        self.fails: Exception = ServiceError(Category.TIMEOUT)
        self.registry = CollectorRegistry()
        self.pulse = Pulse(self.ping, metrics=StoreMetrics(self.registry), pause=self.pause)

    async def ping(self) -> None:
        self.pings += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        if not self.up:
            raise self.fails

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await self.tick.acquire()

    async def passes(self, times: int = 1) -> None:
        for _ in range(times):
            self.tick.release()
            for _ in range(5):
                await asyncio.sleep(0)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)


@pytest.mark.parametrize(
    ("error", "opens"),
    [
        *(
            (ServiceError(category), category in {Category.UNAVAILABLE, Category.TIMEOUT})
            for category in Category
        ),
        (RuntimeError(), False),
        (asyncio.CancelledError(), False),
    ],
)
async def test_only_what_says_something_of_the_database_opens_it(error: BaseException, opens: bool) -> None:
    database = Database()
    database.up = False
    database.pulse.failed(error)
    assert database.pulse.lost is opens
    await database.pulse.stop()


async def test_while_it_is_open_writes_are_refused_and_counted() -> None:
    database = Database()
    database.pulse.check()
    database.up = False
    lost: list[bool] = []
    database.pulse.on_lost = lambda: lost.append(True)
    for _ in range(3):
        database.pulse.failed(ServiceError(Category.UNAVAILABLE))
    assert lost == [True]
    assert database.value("dod_store_available") == 0
    for _ in range(2):
        with pytest.raises(ServiceError) as caught:
            database.pulse.check()
        assert (caught.value.category, caught.value.issues[0].code) == (Category.UNAVAILABLE, "transient")
    assert database.value("dod_store_pushes_rejected_total", reason="away") == 2
    await database.pulse.stop()


async def test_one_ping_at_a_time_tries_until_one_is_answered() -> None:
    database = Database()
    database.up = False
    for _ in range(5):
        database.pulse.failed(ServiceError(Category.TIMEOUT))
    await database.passes(4)
    assert (database.pulse.lost, database.most_at_once) == (True, 1)
    assert database.pings >= 4
    database.up = True
    await database.passes()
    assert not database.pulse.lost
    database.pulse.check()
    assert database.value("dod_store_available") == 1
    assert set(database.pauses) == {PROBE_SECONDS}


async def test_the_watch_finds_out_before_a_push_does() -> None:
    database = Database()
    database.pulse.watch()
    await database.passes(3)
    lost = [database.pulse.lost]
    for database.up in (False, True):
        await database.passes(2)
        lost.append(database.pulse.lost)
    assert lost == [False, True, False]
    assert set(database.pauses) == {WATCH_SECONDS, PROBE_SECONDS}
    await database.pulse.stop()


async def test_a_ping_that_fails_in_a_way_of_its_own_ends_neither_the_probe_nor_the_watch() -> None:
    database = Database()
    database.pulse.watch()
    database.up, database.fails = False, RuntimeError("can't start new thread")
    await database.passes(2)
    lost = [database.pulse.lost]  # It says nothing of the database.
    database.pulse.failed(ServiceError(Category.TIMEOUT))
    await database.passes(4)
    lost.append(database.pulse.lost)
    database.up = True
    await database.passes(4)
    lost.append(database.pulse.lost)
    assert lost == [False, True, False]
    pings = database.pings
    await database.passes(2)
    assert database.pings > pings, "the watch goes on"
    await database.pulse.stop()


async def test_once_stopped_nothing_tries() -> None:
    database = Database()
    database.up = False
    database.pulse.watch()
    database.pulse.failed(ServiceError(Category.TIMEOUT))
    await database.pulse.stop()
    pings = database.pings
    database.pulse.failed(ServiceError(Category.TIMEOUT))
    await database.passes(3)
    assert (database.pings, database.pulse.lost) == (pings, False)
