"""Subscriptions under kill -9 of replicas and of MongoDB, with a receiver that fails, hangs and redirects.

Every change arrives at least once, numbers have no gap, and what arrived last is the last state.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from aiohttp import web

from store.tenancy import SearchScope
from tests.support.fhir import report
from tests.support.mongods import primary_of, replica_set
from tests.support.receiver import receiver
from tests.support.served import Served, served
from tests.support.service import RunningClock, opened_service
from tests.support.subscriptions import asked

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.support.receiver import Receiver

DATABASE = "dod_subscriptions_killed"
WRITERS = 3
MORE = 30
"""Events between two blows."""
PAUSE_SECONDS = 0.05
"""Between two pushes of a writer: what is waited for takes seconds, and needs a processor itself."""
SOON = "from api.subscriptions.sending import retries; retries.PAUSES = (0, 1, 1, 2)"
"""Upstream's schedule takes most of a minute for three faults in a row; its own tests know it."""
SETTINGS = {"DOD_SUBSCRIPTION_NETWORKS": "127.0.0.0/8", "DOD_SUBSCRIPTION_TIMEOUT_SECONDS": "2"}


@dataclass(slots=True)
class Load:
    """Writers, each of which tries all replicas until one answers."""

    root: str
    headers: Mapping[str, str]
    at: Receiver
    replicas: list[Served] = field(default_factory=list)
    written: dict[str, str] = field(default_factory=dict)
    """Last version that was acknowledged, by id."""
    changes: int = 0
    stop: bool = False

    async def ask(self, client: httpx.AsyncClient, method: str, path: str, **more: Any) -> httpx.Response:
        for turn in count():
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
            for turn in count():
                if self.stop:
                    return
                name = f"w{number}-{turn // 3}"
                sent = report(name, conclusion=str(turn))
                answer = await self.ask(client, "PUT", f"DiagnosticReport/{name}", json=sent)
                assert answer.status_code in (200, 201), answer.text
                self.written[name] = answer.json()["meta"]["versionId"]
                await asyncio.sleep(PAUSE_SECONDS)

    @property
    def shown(self) -> dict[str, str]:
        """Version of each report as it was shown last."""
        found: dict[str, str] = {}
        for one in self.at.of("event-notification"):
            for entry in one.json["entry"][1:]:
                found[entry["resource"]["id"]] = entry["resource"]["meta"]["versionId"]
        return found

    async def more(self) -> None:
        """Return when so many more events were told."""
        wanted = max((number for number, _, _ in self.at.told), default=0) + MORE
        await self.at.until(lambda: any(number >= wanted for number, _, _ in self.at.told), 180)


@pytest.mark.slow
async def test_every_change_arrives_whatever_is_killed_and_however_the_receiver_fails(tmp_path: Path) -> None:
    async with replica_set(tmp_path) as members, AsyncExitStack() as stack, receiver() as at:
        uri = f"mongodb://{members[0].address}/?replicaSet=tests"
        async with opened_service(uri, mongodb_database=DATABASE, clock=RunningClock()) as service:
            lab = await service.new_tenant(search_scope=SearchScope.ANY)
        load = Load(lab.root, dict(lab.headers), at)

        async def started() -> None:
            folder = tmp_path / f"replica-{len(load.replicas)}"
            folder.mkdir()
            replica = served(folder, uri, DATABASE, changed=SOON, **SETTINGS)
            load.replicas.append(await stack.enter_async_context(replica))

        await started()
        await started()
        async with httpx.AsyncClient(timeout=30) as client:
            sent = {**asked(endpoint=at.url, content="full-resource"), "id": "s1"}
            answer = await load.ask(client, "PUT", "Subscription/s1", json=sent)
            assert answer.status_code == 201, answer.text
        tasks = [asyncio.ensure_future(load.write(number)) for number in range(WRITERS)]
        await load.more()
        await load.replicas[0].kill()  # It was the first, so it delivers.
        await load.more()
        faults = iter(
            [
                web.Response(status=500),
                None,
                web.Response(status=302, headers={"Location": "/other"}),
            ]
        )
        at.answer = lambda _: _fault(faults)
        await load.more()
        await started()
        await members[0].kill()
        await members[0].start()
        await primary_of(members)
        await load.more()
        await load.replicas[1].kill()
        await load.more()
        load.stop = True
        await asyncio.gather(*tasks)
        await at.until(lambda: load.shown == load.written, 180)
    told = [number for number, _, _ in at.told]
    last = max(told)
    assert set(told) == set(range(1, last + 1))
    firsts = list(dict.fromkeys(told))
    assert firsts == sorted(firsts), "in order, but for what comes again"
    again = len(told) - last
    # One notification at most for each blow and each fault.
    assert again <= 5 * max(len(one.events) for one in at.of("event-notification"))


def _fault(faults: Any) -> web.StreamResponse | None:
    found: web.StreamResponse | None = next(faults, web.Response())
    return found
