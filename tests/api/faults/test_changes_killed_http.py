"""The change feed under kill -9 of replicas and of MongoDB, under load: every change, once, in order."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

from store.changes.positions import position_of
from tests.support.fhir import report
from tests.support.mongods import primary_of, replica_set
from tests.support.served import Served, served
from tests.support.service import opened_service

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DATABASE = "dod_changes"
WRITERS = 4
MORE = 40
"""Pushes between two blows."""
PAUSE_SECONDS = 0.0 if "CHAOS_SECONDS" in os.environ else 0.05
"""Between two pushes of a writer: what is waited for takes seconds, and needs a processor itself."""


@dataclass(slots=True)
class Load:
    """Writers and a listener, each of which tries all replicas until one answers."""

    root: str
    headers: Mapping[str, str]
    replicas: list[Served] = field(default_factory=list)
    written: dict[str, int] = field(default_factory=dict)
    """Last version that was acknowledged, by id."""
    heard: list[dict[str, Any]] = field(default_factory=list)
    following: str = ""
    stop: bool = False

    async def ask(self, client: httpx.AsyncClient, method: str, path: str, **more: Any) -> httpx.Response:
        for turn in range(100_000):
            up = [one for one in self.replicas if one.process.returncode is None and one.url]
            if up:
                try:
                    url = f"{up[turn % len(up)].url}{self.root}/{path}"
                    answer = await client.request(method, url, headers=dict(self.headers), **more)
                    if answer.status_code < 500:
                        return answer
                except httpx.HTTPError:
                    pass
            await asyncio.sleep(0.05)
        raise AssertionError

    async def write(self, number: int) -> None:
        async with httpx.AsyncClient(timeout=30) as client:
            turn = 0
            while not self.stop:
                name = f"w{number}-{turn // 3}"
                sent = report(name, conclusion=str(turn))
                answer = await self.ask(client, "PUT", f"DiagnosticReport/{name}", json=sent)
                assert answer.status_code in (200, 201), answer.text
                self.written[name] = int(answer.json()["meta"]["versionId"])
                turn += 1
                await asyncio.sleep(PAUSE_SECONDS)

    async def listen(self, since: str) -> None:
        async with httpx.AsyncClient(timeout=60) as client:
            while not self.stop or not self.is_complete:
                answer = await self.ask(client, "GET", f"$changes?since={since}&_wait=1")
                assert answer.status_code == 200, answer.text
                self.heard += answer.json()["changes"]
                since = answer.json()["next"]

    @property
    def is_complete(self) -> bool:
        last = {one["id"]: one["version"] for one in self.heard}
        return all(last.get(name, 0) >= version for name, version in self.written.items())

    async def more(self) -> None:
        """Return when so much more was acknowledged, and heard of."""
        wanted = len(self.heard) + MORE
        async with asyncio.timeout(120):
            while len(self.heard) < wanted:  # noqa: ASYNC110
                await asyncio.sleep(0.02)


async def test_every_change_is_heard_once_and_in_order_whatever_is_killed(tmp_path: Path) -> None:
    async with replica_set(tmp_path) as members, AsyncExitStack() as stack:
        uri = f"mongodb://{members[0].address}/?replicaSet=tests"
        async with opened_service(uri, mongodb_database=DATABASE) as service:
            # The other processes look at the token by the clock of the machine.
            service.clock.now = service.clock.now.replace(year=2125)
            lab = await service.new_tenant()
            load = Load(lab.root, dict(lab.headers))
            since = (await lab.get("$changes")).body["next"]

        async def started() -> None:
            folder = tmp_path / f"replica-{len(load.replicas)}"
            folder.mkdir()
            load.replicas.append(await stack.enter_async_context(served(folder, uri, DATABASE)))

        await started()
        await started()
        tasks = [asyncio.ensure_future(load.write(number)) for number in range(WRITERS)]
        tasks.append(asyncio.ensure_future(load.listen(since)))
        await load.more()
        await load.replicas[0].kill()  # It was the first, so it follows the log.
        await load.more()
        await started()
        await members[0].kill()
        await members[0].start()
        await primary_of(members)
        await load.more()
        await load.replicas[1].kill()
        await members[0].kill()
        await members[0].start()
        await load.more()
        load.stop = True
        async with asyncio.timeout(120):
            await asyncio.gather(*tasks)
    numbers = [position_of(one["position"]).number for one in load.heard]
    assert numbers == list(range(1, len(numbers) + 1))
    versions: dict[str, list[int]] = {}
    for one in load.heard:
        versions.setdefault(one["id"], []).append(one["version"])
    assert all(found == list(range(1, len(found) + 1)) for found in versions.values())
    assert {name: found[-1] for name, found in versions.items()} == load.written
