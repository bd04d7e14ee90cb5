"""The primary of three members is killed under load: two replicas of the service go on with the next one.

`make chaos` has the machine for itself and holds the documented gap; among other tests it is enough that
service comes back, that nothing acknowledged is lost, and that a balancer always has somewhere to go.
"""

from __future__ import annotations

import asyncio
import os
from itertools import count, pairwise
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest

from api.http.app_keys import READINESS
from store.tenancy import SearchScope
from tests.support.fhir import report
from tests.support.mongods import QUICK_ELECTIONS, primary_of, replica_set, uri_of
from tests.support.service import opened_service

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from api.readiness import Readiness
    from tests.support.mongods import Mongod
    from tests.support.service import Service

ALONE = "CHAOS_SECONDS" in os.environ
GAP_SECONDS = 5.0 if ALONE else 90.0
GAP_FROZEN_SECONDS = 10.0 if ALONE else 90.0
"""A member that stands still has to be asked, and given up."""
SENDERS = 8
PACE_SECONDS = 0.02 if ALONE else 0.1
"""Between two attempts of a sender, and looks at readiness: an election takes seconds, and a processor."""
WANTED: dict[str, Any] = {"access_cache_seconds": 60, "search_scope": SearchScope.ANY}


class Load:
    """Pushes and searches on two replicas in turn, each push again until it is acknowledged."""

    def __init__(self, replicas: list[Service]) -> None:
        self.replicas = replicas
        self.acknowledged: set[str] = set()
        self.pushes: list[float] = [monotonic()]
        self.searches: list[float] = [monotonic()]
        self.stop = False

    async def push(self, sender: int) -> None:
        for turn in count():
            name = f"f{sender}-{turn}"
            for attempt in count():
                answer = await self.replicas[(turn + attempt) % 2].put(report(name))
                assert answer.status in (200, 201, 503, 504), answer.text
                if answer.status in (200, 201):
                    self.acknowledged.add(name)
                    self.pushes.append(monotonic())
                    break
                await asyncio.sleep(PACE_SECONDS)
                if self.stop:
                    return
            if self.stop:
                return
            if not ALONE:
                await asyncio.sleep(PACE_SECONDS)

    async def search(self) -> None:
        """Reports that one replica acknowledged before are found by the other."""
        for turn in count():
            known = sorted(self.acknowledged)[-1:]
            answer = await self.replicas[turn % 2].search(f"_id={known[0]}" if known else "_count=1")
            assert answer.status in (200, 503, 504), answer.text
            if answer.status == 200:
                self.searches.append(monotonic())
                assert answer.ids == known or not known, "acknowledged, and not found"
            await asyncio.sleep(PACE_SECONDS)
            if self.stop:
                return


async def watch(readiness: list[Readiness], load: Load) -> list[list[bool]]:
    """Readiness of both, again and again; what a balancer sees."""
    seen = []
    while not load.stop:
        seen.append([(await one.state())["ready"] for one in readiness])
        await asyncio.sleep(PACE_SECONDS)
    return seen


async def kill(member: Mongod) -> None:
    await member.kill()


async def freeze(member: Mongod) -> None:
    member.freeze()


def longest(moments: list[float], until: float) -> float:
    return max(later - earlier for earlier, later in pairwise([*moments, until]))


async def through(
    tmp_path: Path, blow: Callable[[Mongod], Awaitable[None]], *, gap: float, **changed: Any
) -> None:
    async with (
        replica_set(tmp_path, members=3, settings=QUICK_ELECTIONS) as members,
        opened_service(uri_of(members), **WANTED, **changed) as first,
        opened_service(uri_of(members), **WANTED, **changed) as second,
    ):
        other = type(first)(second.client, first.clock, first.tenant, first.headers)
        readiness = []
        for one in (first, second):
            assert one.client.app is not None
            one.client.app[READINESS].started = True
            readiness.append(one.client.app[READINESS])
        load = Load([first, other])
        watching = asyncio.ensure_future(watch(readiness, load))
        tasks = [asyncio.ensure_future(load.push(n)) for n in range(SENDERS)]
        tasks.append(asyncio.ensure_future(load.search()))
        await more(load, SENDERS * 3)
        await blow(await primary_of(members))
        before = len(load.searches)
        await more(load, SENDERS * 3)
        async with asyncio.timeout(GAP_SECONDS * 2):
            while len(load.searches) < before + 5:  # noqa: ASYNC110
                await asyncio.sleep(PACE_SECONDS)
        until = monotonic()
        load.stop = True
        await asyncio.gather(*tasks)
        seen = await watching
        gaps = longest(load.pushes, until), longest(load.searches, until)
        assert max(gaps) <= gap, gaps
        print(f"gap of pushes {gaps[0]:.1f} s, of searches {gaps[1]:.1f} s")  # noqa: T201
        assert all(any(pair) for pair in seen), "a balancer had nobody"
        for name in load.acknowledged:
            assert (await other.get(f"DiagnosticReport/{name}")).status == 200, name


async def more(load: Load, wanted: int) -> None:
    """Until so many more pushes were acknowledged."""
    until = len(load.acknowledged) + wanted
    async with asyncio.timeout(GAP_SECONDS * 2):
        while len(load.acknowledged) < until:  # noqa: ASYNC110
            await asyncio.sleep(PACE_SECONDS)


async def test_a_primary_that_dies_leaves_a_gap_and_no_loss(tmp_path: Path) -> None:
    await through(tmp_path, kill, gap=GAP_SECONDS)


# The driver forgets the socket of a connection that did not come about in time, and Python closes it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_primary_that_stands_still_is_passed_over(tmp_path: Path) -> None:
    await through(tmp_path, freeze, gap=GAP_FROZEN_SECONDS)
