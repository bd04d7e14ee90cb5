"""Subscriptions under kill -9 of replicas and of MongoDB, with a receiver that fails, hangs and redirects.

Every change arrives at least once, numbers have no gap, and what arrived last is the last state.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from aiohttp import web

from store.tenancy import SearchScope
from tests.support.mongods import primary_of, replica_set
from tests.support.receiver import receiver
from tests.support.replicas import Replicas
from tests.support.served import served
from tests.support.service import RunningClock, opened_service
from tests.support.subscriptions import asked

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.receiver import Receiver

DATABASE = "dod_subscriptions_killed"
WRITERS = 3
MORE = 30
"""Events between two blows."""
SOON = "from api.subscriptions.sending import retries; retries.PAUSES = (0, 1, 1, 2)"
"""Upstream's schedule takes most of a minute for three faults in a row; its own tests know it."""
SETTINGS = {
    "DOD_SUBSCRIPTION_NETWORKS": "127.0.0.0/8",
    "DOD_SUBSCRIPTION_TIMEOUT_SECONDS": "2",
    "DOD_SUBSCRIPTION_PROCESS": "false",  # `SOON` reaches the process that is started here alone.
}


@dataclass(slots=True)
class Subscriber:
    """Receiver of the events of replicas that are written to meanwhile."""

    at: Receiver

    @property
    def shown(self) -> dict[str, int]:
        """Version of each report as it was shown last."""
        found: dict[str, int] = {}
        for one in self.at.of("event-notification"):
            for entry in one.json["entry"][1:]:
                found[entry["resource"]["id"]] = int(entry["resource"]["meta"]["versionId"])
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
        replicas, subscriber = Replicas(lab.root, dict(lab.headers)), Subscriber(at)

        async def started() -> None:
            folder = tmp_path / f"replica-{len(replicas.started)}"
            folder.mkdir()
            replica = served(folder, uri, DATABASE, changed=SOON, **SETTINGS)
            replicas.started.append(await stack.enter_async_context(replica))

        await started()
        await started()
        async with httpx.AsyncClient(timeout=30) as client:
            sent = {**asked(endpoint=at.url, content="full-resource"), "id": "s1"}
            answer = await replicas.ask(client, "PUT", "Subscription/s1", json=sent)
            assert answer.status_code == 201, answer.text
        tasks = [asyncio.ensure_future(replicas.write(number)) for number in range(WRITERS)]
        await subscriber.more()
        await replicas.started[0].kill()  # It was the first, so it delivers.
        await subscriber.more()
        faults = iter(
            [
                web.Response(status=500),
                None,
                web.Response(status=302, headers={"Location": "/other"}),
            ]
        )
        at.answer = lambda _: _fault(faults)
        await subscriber.more()
        await started()
        await members[0].kill()
        await members[0].start()
        await primary_of(members)
        await subscriber.more()
        await replicas.started[1].kill()
        await subscriber.more()
        replicas.stop = True
        await asyncio.gather(*tasks)
        await at.until(lambda: subscriber.shown == replicas.written, 180)
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
