"""Large bodies beside `--workers`: an annex for each worker; what ends costs what it had, nothing more."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

import httpx

from tests.api.annex.annexed import SECONDS, Push, Running, running, until
from tests.support.fhir import report
from tests.support.proc import children, is_running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from store.mongo.driver.client import Client

SENDERS = 3
TEXT: dict[str, Any] = {"extension": [{"url": "urn:x", "valueString": "made up " * 10_000}]}


@dataclass
class Sending:
    """Senders of large pushes, each on a connection of its own for each push."""

    service: Running
    ids: Iterator[int] = field(default_factory=count)
    acknowledged: set[str] = field(default_factory=set)
    refused: int = 0
    cut: int = 0
    odd: list[str] = field(default_factory=list)
    stop: bool = False

    async def send(self) -> None:
        """Push until told to stop; what is refused for a while, or cut off, is not sent again."""
        while not self.stop:
            name = f"large-{next(self.ids)}"
            push = Push(201, "PUT", f"DiagnosticReport/{name}", report(name, **TEXT), {"Connection": "close"})
            try:
                answer = await self.service.push(push)
            except httpx.TransportError:
                self.cut += 1
                await asyncio.sleep(0.05)
                continue
            if answer.status_code == 201:
                self.acknowledged.add(name)
                await asyncio.sleep(0.02)  # Without a pause, what starts waits for a processor.
            elif answer.status_code == 503 and answer.headers["Retry-After"]:
                self.refused += 1
                await asyncio.sleep(0.1)
            else:
                self.odd.append(answer.text)

    async def more(self, number: int = 2 * SENDERS) -> None:
        """Wait until so many more are acknowledged."""
        enough = len(self.acknowledged) + number
        async with asyncio.timeout(SECONDS):
            while len(self.acknowledged) < enough:  # noqa: ASYNC110 -- by other tasks
                await asyncio.sleep(0.02)


def annexes(service: Running) -> list[int]:
    """Process ids of the annexes of all workers."""
    return [annex for worker in service.annexes() for annex in children(worker)]


async def reloaded(sending: Sending) -> None:
    """Replace all workers: they and their annexes end behind their last answer."""
    service = sending.service
    before = {*service.annexes(), *annexes(service)}
    service.process.process.send_signal(signal.SIGHUP)
    await until(service, lambda counted: counted.get('dod_reloads_total{outcome="complete"}') == 1)
    await sending.more()
    assert (sending.refused, sending.cut, sending.odd) == (0, 0, [])
    assert not before & {*service.annexes(), *annexes(service)}


async def annex_killed(sending: Sending) -> None:
    """Kill an annex: what it had is told as 503, and that of the other worker goes on."""
    os.kill(annexes(sending.service)[0], signal.SIGKILL)
    await until(sending.service, lambda counted: counted['dod_annex_ends_total{how="killed"}'] == 1)
    await sending.more()
    assert (sending.cut, sending.odd) == (0, [])


async def worker_killed(sending: Sending) -> None:
    """Kill a worker: what it had is lost, its annex ends, and another one takes its place."""
    worker, *_ = sending.service.annexes()
    orphans = children(worker)
    os.kill(worker, signal.SIGKILL)
    await until(
        sending.service,
        lambda counted: counted['dod_worker_ends_total{how="killed"}'] == 1 and counted["dod_workers"] == 2,
    )
    await sending.more()
    assert sending.cut <= SENDERS
    assert sending.odd == []
    async with asyncio.timeout(SECONDS):
        while any(map(is_running, orphans)):  # noqa: ASYNC110 -- nobody's child
            await asyncio.sleep(0.05)


async def test_what_ends_costs_what_it_had(mongodb: str, mongo_client: Client, tmp_path: Path) -> None:
    async with running(mongodb, tmp_path / "workers", DOD_WORKERS="2", DOD_DRAIN_SECONDS="1") as service:
        await until(service, lambda counted: counted["dod_workers"] == 2)
        sending = Sending(service)
        senders = [asyncio.create_task(sending.send()) for _ in range(SENDERS)]
        async with asyncio.timeout(SECONDS):
            while len(annexes(service)) < 2:  # noqa: ASYNC110 -- of other processes
                await asyncio.sleep(0.05)
        await reloaded(sending)
        await annex_killed(sending)
        await worker_killed(sending)
        every, cut, refused = [*service.annexes(), *annexes(service)], sending.cut, sending.refused

        # One scrape is what was sent, to workers and annexes that are gone too.
        sending.stop = True
        await asyncio.gather(*senders)
        made = sum(
            value
            for name, value in (await service.counted()).items()
            if name.startswith("dod_http_requests_total{") and 'code="201"' in name
        )
        assert len(sending.acknowledged) <= made <= len(sending.acknowledged) + cut
        kept = await mongo_client[service.database]["resources"].distinct("id", {"type": "DiagnosticReport"})
        assert sending.acknowledged <= set(kept)

        # The service ends behind its last large body, and leaves nothing behind.
        sending.stop = False
        senders = [asyncio.create_task(sending.send()) for _ in range(SENDERS)]
        await sending.more()
        sending.stop = True
        service.process.process.terminate()
        await asyncio.gather(*senders)
        assert (sending.cut, sending.refused, sending.odd) == (cut, refused, [])
        assert await asyncio.wait_for(service.process.process.wait(), SECONDS) == 0
        assert not any(map(is_running, every))
