"""A deployment of two services per role on three members, behind a balancer, under load, rolled and struck.

`make chaos` has the machine for itself and holds the documented gap; among other tests it is enough that
service comes back. In both: a replica that is told to end costs nobody a request, and nothing is lost.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import count, pairwise
from signal import SIGINT
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest

from store.mongo.indexes import RESOURCES
from store.search.index import INDEX_VERSION
from store.tenancy import SearchScope
from tests.support.balancer import Balancer, balancer
from tests.support.fhir import report
from tests.support.mongods import QUICK_ELECTIONS, Client, primary_of, replica_set, uri_of
from tests.support.preloaded import dod
from tests.support.served import Served, served
from tests.support.service import opened_service

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

pytestmark = [pytest.mark.mongo, pytest.mark.slow]

ALONE: Final = "CHAOS_SECONDS" in os.environ
GAP_SECONDS: Final = 5.0 if ALONE else 90.0
DATABASE: Final = "dod_rolled"
SENDERS: Final = 6
SEARCHERS: Final = 2
MORE: Final = 200 if ALONE else 40
"""Pushes between two events."""
PAUSE_SECONDS: Final = 0.05
REPLICAS: Final = ("jobs", "ingest", "ingest", "query", "query")
"""Roles in the order of a roll-out (docs/operations.md#upgrades)."""
DRAIN: Final = {"DOD_DRAIN_SECONDS": "60"}
"""Longer than any machine takes; a second signal ends it, once the balancer and all clients have noticed."""

NEWER: Final = f"""
import sys
from store.mongo import indexes
from store.mongo.resources import reindexing
for name, module in list(sys.modules.items()):
    if name.startswith(("store.", "ingest.", "api.")) and hasattr(module, "INDEX_VERSION"):
        module.INDEX_VERSION = {INDEX_VERSION + 1}
reindexing._OLDER = {{"index_version": {{"$lt": {INDEX_VERSION + 1}}}}}
more = indexes.IndexSpec(indexes.RESOURCES, "newer", (("tenant", 1), ("digest", 1)), "a newer release")
indexes.INDEXES = (*indexes.INDEXES, more)
"""
"""Schema change of a newer release: another version of the index entries, and an index more."""


@dataclass(slots=True)
class Load:
    """Clients that push and search through a balancer; whatever is no success is tried again, and counted."""

    root: str
    headers: Mapping[str, str]
    ingest: Balancer
    query: Balancer
    acknowledged: list[str] = field(default_factory=list)
    pushes: list[float] = field(default_factory=list)
    searches: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    stop: bool = False

    async def push(self, sender: int) -> None:
        async with httpx.AsyncClient(timeout=30, headers=dict(self.headers)) as client:
            for turn in count():
                name = f"r{sender}-{turn}"
                url = f"{self.ingest.url}{self.root}/DiagnosticReport/{name}"
                while not (self.stop or await self._ask(client, "PUT", url, json=report(name))):  # noqa: ASYNC110
                    await asyncio.sleep(PAUSE_SECONDS)
                if self.stop:
                    return
                self.acknowledged.append(name)
                self.pushes.append(monotonic())
                if not ALONE:  # Replicas that start need a processor themselves.
                    await asyncio.sleep(PAUSE_SECONDS)

    async def search(self) -> None:
        async with httpx.AsyncClient(timeout=30, headers=dict(self.headers)) as client:
            while not self.stop:
                known = self.acknowledged[-1:]
                url = f"{self.query.url}{self.root}/DiagnosticReport?_id={''.join(known)}"
                answer = await self._ask(client, "GET", url)
                if answer is not None:
                    self.searches.append(monotonic())
                    found = [entry["resource"]["id"] for entry in answer.json().get("entry", ())]
                    assert found == known or not known, "acknowledged, and not found"
                await asyncio.sleep(PAUSE_SECONDS)

    async def _ask(
        self, client: httpx.AsyncClient, method: str, url: str, **more: Any
    ) -> httpx.Response | None:
        try:
            answer = await client.request(method, url, **more)
        except httpx.HTTPError as error:
            self.errors.append(repr(error))
            return None
        if answer.status_code in (200, 201):
            return answer
        assert answer.status_code in (503, 504), answer.text
        self.errors.append(f"{answer.status_code} {answer.text}")
        return None

    async def more(self) -> None:
        """Return when so much more was acknowledged, and something found."""
        wanted, found = len(self.acknowledged) + MORE, len(self.searches) + 5
        async with asyncio.timeout(GAP_SECONDS * 3):
            while len(self.acknowledged) < wanted or len(self.searches) < found:  # noqa: ASYNC110
                await asyncio.sleep(PAUSE_SECONDS)


@dataclass(slots=True)
class Deployment:
    """Replicas by role, each of which can be replaced."""

    uri: str
    folder: Path
    stack: AsyncExitStack
    fronts: Mapping[str, Balancer]
    running: list[tuple[str, Served]] = field(default_factory=list)
    started: int = 0

    async def start(self, role: str, changed: str = "") -> None:
        self.started += 1
        folder = self.folder / f"service-{self.started}"
        folder.mkdir()
        made = served(folder, self.uri, DATABASE, changed=changed, DOD_ROLE=role, **DRAIN)
        one = await self.stack.enter_async_context(made)
        self.running.append((role, one))
        if role in self.fronts:
            front = self.fronts[role]
            front.replicas.append(one)
            await front.ready(sum(there.process.returncode is None for there in front.replicas))

    async def end(self, role: str, one: Served) -> None:
        """End a replica as Kubernetes does."""
        one.process.terminate()
        if role in self.fronts:
            await self.fronts[role].left(one)
        one.process.send_signal(SIGINT)  # Another one: two of a kind at once may arrive as one.
        assert await one.process.wait() == 0, one.log.read_text()
        self.running.remove((role, one))
        if role in self.fronts:
            self.fronts[role].replicas.remove(one)

    async def roll_out(self, changed: str) -> None:
        """Take another release's replicas in place of these, role by role."""
        for role in dict.fromkeys(REPLICAS):
            olds = [one for name, one in self.running if name == role]
            await asyncio.gather(*(self.start(role, changed) for _ in olds))
            for one in olds:
                await self.end(role, one)


async def test_a_deployment_is_rolled_and_struck_under_load(tmp_path: Path) -> None:
    async with (
        replica_set(tmp_path, members=3, settings=QUICK_ELECTIONS) as members,
        balancer() as ingest,
        balancer() as query,
        AsyncExitStack() as stack,
    ):
        uri = uri_of(members)
        async with opened_service(uri, mongodb_database=DATABASE) as service:
            # The processes have the machine's clock.
            service.clock.now = service.clock.now.replace(year=2125)
            lab = await service.new_tenant(search_scope=SearchScope.ANY)
            load = Load(lab.root, dict(lab.headers), ingest, query)
        running = Deployment(uri, tmp_path, stack, {"ingest": ingest, "query": query})
        await asyncio.gather(*(running.start(role) for role in REPLICAS))
        tasks = [asyncio.ensure_future(load.push(number)) for number in range(SENDERS)]
        tasks += [asyncio.ensure_future(load.search()) for _ in range(SEARCHERS)]
        await load.more()
        # A replica of each role is told to end.
        for role, one in dict(running.running).items():
            await running.end(role, one)
            await running.start(role)
        await load.more()
        assert not load.errors
        # The primary is lost, and comes back.
        primary = await primary_of(members)
        struck = monotonic()
        await primary.kill()
        await load.more()
        lost = len(load.errors)
        gaps = [_longest(moments, struck) for moments in (load.pushes, load.searches)]
        await primary.start()
        # A newer release takes the place of this one, under load, and brings the index up.
        await load.more()
        before = len(load.errors)
        await running.roll_out(NEWER)
        await load.more()
        assert len(load.errors) == before, load.errors[before:]
        await _reindex(uri, tmp_path)
        await load.more()
        load.stop = True
        await asyncio.gather(*tasks)
        assert len(load.errors) == before, load.errors[before:]
        print(  # noqa: T201
            f"{len(load.acknowledged)} pushes, {len(load.searches)} searches; primary killed: {lost} errors,"
            f" gap of pushes {gaps[0]:.1f} s, of searches {gaps[1]:.1f} s"
        )
        assert max(gaps) <= GAP_SECONDS, gaps
        assert lost <= SENDERS + SEARCHERS or not ALONE, "more than were under way"
        await _is_whole(uri, load.acknowledged)


async def _is_whole(uri: str, acknowledged: list[str]) -> None:
    async with Client(uri) as client:
        stored = client[DATABASE][RESOURCES]
        found = [one["id"] async for one in stored.find({"type": "DiagnosticReport"}, {"id": 1})]
        assert set(acknowledged) <= set(found), "an acknowledged push is lost"
        assert len(found) == len(set(found))
        assert await stored.count_documents({"index_version": INDEX_VERSION}) == 0


async def _reindex(uri: str, folder: Path) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DOD_")}
    log = folder / "reindex.log"
    with log.open("wb") as output:
        environment = {**clean, "DOD_MONGODB_URI": uri, "DOD_MONGODB_DATABASE": DATABASE}
        command = dod("reindex", environment=environment, before=NEWER, stdout=output, stderr=output)
        assert await command.wait() == 0, log.read_text()


def _longest(moments: list[float], since: float) -> float:
    """Longest time without a success, in seconds, from then on."""
    later = [since, *(one for one in moments if one > since)]
    return max(after - before for before, after in pairwise(later))
