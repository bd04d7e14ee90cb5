"""Polling by `_lastUpdated`: a write is seen later than its moment, by less than the documented horizon."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from typing import TYPE_CHECKING

from store.mongo.resources.commit_attempt import CommitAttempt
from store.resources.versions import instant
from store.settings import StoreSettings
from tests.support.fhir import report
from tests.support.service import Clock
from tests.support.store import LAB, asked, ids, mongo_store, put

if TYPE_CHECKING:
    from datetime import datetime

    import pytest

    from store.mongo.driver.client import Database
    from store.resources.resources import ResourceStore

HORIZON = timedelta(seconds=StoreSettings().horizon_seconds)


async def poll(store: ResourceStore, since: datetime) -> list[str]:
    text = f"_lastUpdated=gt{instant(since).decode()}&_sort=_lastUpdated"
    return ids((await store.search(LAB, asked(text, count=1_000))).entries)


async def test_a_slow_write_is_found_by_who_goes_back_by_the_horizon(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, begun, go = Clock(), asyncio.Event(), threading.Event()
    loop, write = asyncio.get_running_loop(), CommitAttempt.write_together
    one, other = mongo_store(database, clock=clock), mongo_store(database, clock=clock)

    def held(attempt: CommitAttempt) -> None:
        if any(one.key.id == "slow" for one in attempt.writes):
            loop.call_soon_threadsafe(begun.set)
            go.wait(30)
        write(attempt)

    monkeypatch.setattr(CommitAttempt, "write_together", held)
    start = clock() - timedelta(seconds=1)
    slow = asyncio.create_task(put(one, report("slow")))
    await begun.wait()
    clock.move(seconds=9)
    await put(other, report("quick"))
    assert await poll(other, start) == ["quick"]
    newest = clock()
    go.set()
    await slow
    assert await poll(other, newest) == []  # Without the rule it would be missed.
    assert await poll(other, newest - HORIZON) == ["slow", "quick"]


def test_the_horizon_is_an_operation_and_two_clocks() -> None:
    chosen = StoreSettings(store_timeout_seconds=4, clock_skew_seconds=1.5)
    assert (StoreSettings().horizon_seconds, chosen.horizon_seconds) == (70.0, 7.0)
