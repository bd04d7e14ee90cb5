"""Deadlines of a request: none of them holds for work that others share, however long it goes on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry

from api.ttl_cache import TtlCache
from store.detached import detached
from store.errors import Category, ServiceError
from store.metrics import StoreMetrics
from store.mongo.audit.group_writer import GroupWriter
from store.mongo.driver.circuit_breaker import Pulse
from store.mongo.driver.group_commit import GroupCommit
from store.mongo.driver.guard import bounded, within
from store.settings import StoreSettings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

SECONDS = 10.0


class Shared:
    """Work that notes how long it may take, as an operation of the driver would."""

    def __init__(self) -> None:
        self.given: list[float] = []
        self.pinged = asyncio.Event()

    async def work(self, works: Sequence[int] = (0,)) -> list[int]:
        await asyncio.sleep(0)
        self.given.append(bounded(SECONDS))
        return list(works)

    async def ping(self) -> None:
        await self.work()
        if len(self.given) == 1:  # Away for one ping longer, so that the probe goes on by itself.
            raise ServiceError(Category.UNAVAILABLE)
        self.pinged.set()


async def commit(shared: Shared) -> None:
    queue: GroupCommit[int, int] = GroupCommit(
        shared.work, same=str, size=lambda _: 1, settings=StoreSettings(commit_parallel=1)
    )
    await queue.submit([1, 1, 1])  # Three groups: each begins the next one.


async def audit(shared: Shared) -> None:
    async def write(items: Sequence[int]) -> None:
        await shared.work(items)

    writer = GroupWriter(write, group_max=1, waiting_max=9)
    for one in [writer.submit(number) for number in range(3)]:
        await one.kept()


async def probe(shared: Shared) -> None:
    pulse = Pulse(shared.ping, metrics=StoreMetrics(CollectorRegistry()), pause=lambda _: asyncio.sleep(0))
    pulse.failed(ServiceError(Category.TIMEOUT))
    await shared.pinged.wait()


async def cache(shared: Shared) -> None:
    async def ask(key: str) -> str:
        await shared.work()
        return key

    await TtlCache(ask, seconds=1).get("key")


async def task(shared: Shared) -> None:
    await detached(shared.work())


@pytest.mark.parametrize("share", [commit, audit, probe, cache, task])
async def test_no_deadline_of_who_began_it_holds(share: Callable[[Shared], Awaitable[None]]) -> None:
    shared = Shared()
    with within(0):
        assert bounded(SECONDS) < SECONDS
        await share(shared)
    assert set(shared.given) == {SECONDS}
