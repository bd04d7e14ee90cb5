"""The change feed under kill -9 of replicas and of MongoDB, under load: every change, once, in order."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

from store.changes.positions import position_of
from tests.support.mongods import primary_of, replica_set
from tests.support.replicas import Replicas
from tests.support.served import served
from tests.support.service import opened_service

if TYPE_CHECKING:
    from pathlib import Path

DATABASE = "dod_changes"
WRITERS = 4
MORE = 40
"""Pushes between two blows."""
PAUSE_SECONDS = 0.0 if "CHAOS_SECONDS" in os.environ else 0.05
"""Between two pushes of a writer: what is waited for takes seconds, and needs a processor itself."""


@dataclass(slots=True)
class Listener:
    """Reads the changes of replicas that are written to meanwhile."""

    replicas: Replicas
    heard: list[dict[str, Any]] = field(default_factory=list)

    async def listen(self, since: str) -> None:
        async with httpx.AsyncClient(timeout=60) as client:
            while not self.replicas.stop or not self.is_complete:
                answer = await self.replicas.ask(client, "GET", f"$changes?since={since}&_wait=1")
                assert answer.status_code == 200, answer.text
                self.heard += answer.json()["changes"]
                since = answer.json()["next"]

    @property
    def is_complete(self) -> bool:
        last = {one["id"]: one["version"] for one in self.heard}
        return all(last.get(name, 0) >= version for name, version in self.replicas.written.items())

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
            replicas = Replicas(lab.root, dict(lab.headers), PAUSE_SECONDS)
            heard = Listener(replicas)
            since = (await lab.get("$changes")).body["next"]

        async def started() -> None:
            folder = tmp_path / f"replica-{len(replicas.started)}"
            folder.mkdir()
            replicas.started.append(await stack.enter_async_context(served(folder, uri, DATABASE)))

        await started()
        await started()
        tasks = [asyncio.ensure_future(replicas.write(number)) for number in range(WRITERS)]
        tasks.append(asyncio.ensure_future(heard.listen(since)))
        await heard.more()
        await replicas.started[0].kill()  # It was the first, so it follows the log.
        await heard.more()
        await started()
        await members[0].kill()
        await members[0].start()
        await primary_of(members)
        await heard.more()
        await replicas.started[1].kill()
        await members[0].kill()
        await members[0].start()
        await heard.more()
        replicas.stop = True
        async with asyncio.timeout(120):
            await asyncio.gather(*tasks)
    numbers = [position_of(one["position"]).number for one in heard.heard]
    assert numbers == list(range(1, len(numbers) + 1))
    versions: dict[str, list[int]] = {}
    for one in heard.heard:
        versions.setdefault(one["id"], []).append(one["version"])
    assert all(found == list(range(1, len(found) + 1)) for found in versions.values())
    assert {name: found[-1] for name, found in versions.items()} == replicas.written
