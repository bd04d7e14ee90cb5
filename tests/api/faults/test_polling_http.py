"""Eight writers on two replicas, and a poller by `_lastUpdated` beside them: it misses nothing.

`POLLED_PUSHES=10000` makes it as long as that; without, it is short.
"""

from __future__ import annotations

import asyncio
import os
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from store.resources.versions import instant
from store.tenancy import SearchScope
from tests.support.fhir import report
from tests.support.service import RunningClock, opened_service

if TYPE_CHECKING:
    from tests.support.service import Service

PUSHES = int(os.environ.get("POLLED_PUSHES", "240"))
WRITERS = 8
SETTINGS: dict[str, Any] = {"store_timeout_seconds": 3, "clock_skew_seconds": 1, "access_cache_seconds": 60}
HORIZON = timedelta(seconds=3 + 2 * 1)


class Poller:
    """A client that goes by docs/changes.md."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.newest = datetime.fromisoformat("2000-01-01T00:00:00+00:00")
        self.seen: dict[str, int] = {}
        """Newest version that was seen, by id."""
        self.told = 0

    async def poll(self) -> None:
        since = self.newest - HORIZON
        text = f"_lastUpdated=gt{instant(since).decode()}&_sort=_lastUpdated&_count=500&_total=none"
        first = await self.service.search(text)
        assert first.status == 200, first.text
        for page in await self.service.pages(first):
            for match in page.matches:
                meta, name = match["resource"]["meta"], match["resource"]["id"]
                self.newest = max(self.newest, datetime.fromisoformat(meta["lastUpdated"]))
                version = int(meta["versionId"])
                self.told += version > self.seen.get(name, 0)
                self.seen[name] = max(version, self.seen.get(name, 0))


async def test_a_poller_misses_nothing_beside_writers_on_two_replicas(mongodb: str) -> None:
    async with (
        opened_service(mongodb, clock=RunningClock(), search_scope=SearchScope.ANY, **SETTINGS) as first,
        opened_service(mongodb, clock=RunningClock(), **SETTINGS) as second,
    ):
        other = type(first)(second.client, second.clock, first.tenant, first.headers)
        replicas, poller = (first, other), Poller(other)
        written: dict[str, int] = {}

        async def write(writer: int) -> None:
            for turn in range(PUSHES // WRITERS):
                # Each third one is another version of what was there.
                name = f"w{writer}-{turn - turn % 3 // 2}"
                answer = await replicas[turn % 2].put(report(name, conclusion=f"{turn}"))
                assert answer.status in (200, 201), answer.text
                written[name] = int(answer.body["meta"]["versionId"])

        writing = asyncio.gather(*(write(number) for number in range(WRITERS)))
        while not writing.done():
            await poller.poll()
        await writing
        await poller.poll()
    assert len(written) >= PUSHES // 2
    assert poller.seen == written
