"""Many searches of one client, and those of others are answered beside them."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from store.mongo.resources.histories import Histories
from store.mongo.search import pace
from store.mongo.search.searches import Searches
from store.tenancy import SearchScope
from tests.support.fhir import report
from tests.support.service import opened_service

if TYPE_CHECKING:
    import pytest

    from store.mongo.search.searches import _Search
    from store.resources.pages import HistoryPage, HistoryQuery, Page
    from store.tenancy import Tenant

SECONDS = 30.0


async def test_one_client_takes_neither_all_threads_nor_all_the_room_to_wait(
    mongodb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, opened = threading.Semaphore(0), threading.Event()
    take = Searches.take

    def held(self: Searches, search: _Search, seconds: float) -> Page:
        if str(search.tenant) == str(greedy.tenant):
            begun.release()
            opened.wait(SECONDS)
        return take(self, search, seconds)

    async with opened_service(
        mongodb, search_scope=SearchScope.ANY, search_timeout_seconds=SECONDS, search_queue_max=16
    ) as greedy:
        other = await greedy.new_tenant(search_scope=SearchScope.ANY)
        for service in (greedy, other):
            await service.load(report())
        monkeypatch.setattr(Searches, "take", held)
        for asked in ("status=final", "patient=p1"):  # A scan, and one that an index entry drives.
            opened.clear()
            many = [asyncio.create_task(greedy.search(asked)) for _ in range(60)]
            try:
                await asyncio.to_thread(begun.acquire, timeout=SECONDS)
                for _ in range(5):
                    assert (await other.search(asked)).ids == ["r1"]
                done, _ = await asyncio.wait(many, return_when=asyncio.FIRST_COMPLETED)
                refused = done.pop().result()
                assert (refused.status, refused.issues) == (429, [("error", "throttled")])
                assert refused.headers["Retry-After"] == "1"
            finally:
                opened.set()
            statuses = {answer.status for answer in await asyncio.gather(*many)}
            assert statuses == {200, 429}
            assert (await greedy.search(asked)).ids == ["r1"]


async def test_slow_searches_of_one_client_are_few_while_others_have_quick_ones(
    mongodb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_end = threading.Semaphore(0), threading.Semaphore(0)
    take = Searches.take

    def held(self: Searches, search: _Search, seconds: float) -> Page:
        if str(search.tenant) == str(greedy.tenant):
            begun.release()
            may_end.acquire(timeout=SECONDS)
        return take(self, search, seconds)

    async def more(number: int) -> None:
        """So many slow searches begin, and no further one."""
        for _ in range(number):
            assert await asyncio.to_thread(begun.acquire, timeout=SECONDS)
        assert (await greedy.get("DiagnosticReport/none")).status == 404
        assert not begun.acquire(blocking=False)

    monkeypatch.setattr(pace, "LATELY_SECONDS", 3_600.0)
    async with opened_service(
        mongodb,
        search_scope=SearchScope.ANY,
        search_timeout_seconds=SECONDS,
        search_slow_beside_max=2,
        search_slow_rest=0,
    ) as greedy:
        other = await greedy.new_tenant(search_scope=SearchScope.ANY)
        await other.load(report())
        monkeypatch.setattr(Searches, "take", held)
        many = [asyncio.create_task(greedy.search("status=final")) for _ in range(9)]
        await more(4)  # Alone: half of a quarter of the threads.
        assert (await other.search("patient=p1")).ids == ["r1"]
        may_end.release(3)
        await more(1)  # Beside others: two.
        may_end.release()
        await more(1)
        may_end.release(9)
        assert {answer.status for answer in await asyncio.gather(*many)} == {200}


async def test_histories_that_look_at_every_version_are_one_of_a_client(
    mongodb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    under_way, most, may_end = 0, 0, asyncio.Event()
    page = Histories.page

    async def held(self: Histories, tenant: Tenant, query: HistoryQuery) -> HistoryPage:
        nonlocal under_way, most
        under_way, most = under_way + 1, max(most, under_way + 1)
        if query.at is not None:
            await may_end.wait()
        under_way -= 1
        return await page(self, tenant, query)

    async with opened_service(mongodb, search_timeout_seconds=SECONDS) as service:
        await service.load(report())
        monkeypatch.setattr(Histories, "page", held)
        many = [asyncio.create_task(service.get("DiagnosticReport/_history?_at=2026")) for _ in range(5)]
        for _ in range(3):  # What an index leads is not held up.
            assert (await service.get("DiagnosticReport/_history")).status == 200
            assert (await service.get("DiagnosticReport/r1/_history")).status == 200
        assert most <= 2
        may_end.set()
        assert {answer.status for answer in await asyncio.gather(*many)} == {200}
