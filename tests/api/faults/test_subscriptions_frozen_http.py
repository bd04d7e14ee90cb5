"""Subscriptions when the replica that delivers stands still past its lease, and then goes on."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import httpx
import pytest

from store.tenancy import SearchScope
from tests.api.faults.test_subscriptions_killed_http import SETTINGS, SOON, WRITERS, Subscriber
from tests.support.mongods import replica_set
from tests.support.receiver import receiver
from tests.support.replicas import Replicas
from tests.support.served import served
from tests.support.service import RunningClock, opened_service
from tests.support.subscriptions import asked

if TYPE_CHECKING:
    from pathlib import Path

DATABASE = "dod_subscriptions_frozen"


@pytest.mark.slow
async def test_who_is_frozen_is_relieved_and_disturbs_nobody_when_it_goes_on(tmp_path: Path) -> None:
    async with replica_set(tmp_path) as members, AsyncExitStack() as stack, receiver() as at:
        uri = f"mongodb://{members[0].address}/?replicaSet=tests"
        async with opened_service(uri, mongodb_database=DATABASE, clock=RunningClock()) as service:
            lab = await service.new_tenant(search_scope=SearchScope.ANY)
        replicas, subscriber = Replicas(lab.root, dict(lab.headers)), Subscriber(at)
        both = []
        for number in range(2):
            folder = tmp_path / f"replica-{number}"
            folder.mkdir()
            one = served(folder, uri, DATABASE, changed=SOON, **SETTINGS)
            both.append(await stack.enter_async_context(one))
        replicas.started.append(both[1])  # The first one follows and delivers, and takes no pushes.
        async with httpx.AsyncClient(timeout=30) as client:
            sent = {**asked(endpoint=at.url, content="full-resource"), "id": "s1"}
            answer = await replicas.ask(client, "PUT", "Subscription/s1", json=sent)
            assert answer.status_code == 201, answer.text
        tasks = [asyncio.ensure_future(replicas.write(number)) for number in range(WRITERS)]
        await subscriber.more()
        for _ in range(2):
            both[0].process.send_signal(signal.SIGSTOP)
            try:
                await subscriber.more()
                await subscriber.more()
            finally:
                both[0].process.send_signal(signal.SIGCONT)
            await subscriber.more()
            both.reverse()  # The other one has the lease by now, and is the next to stand still.
            replicas.started[:] = [both[1]]
        replicas.stop = True
        await asyncio.gather(*tasks)
        await at.until(lambda: subscriber.shown == replicas.written, 180)
    told = [number for number, _, _ in at.told]
    assert set(told) == set(range(1, max(told) + 1))
    again = len(told) - max(told)
    assert again <= 2 * max(len(one.events) for one in at.of("event-notification"))
