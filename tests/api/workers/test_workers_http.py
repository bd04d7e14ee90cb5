"""`dod serve --workers` for its users: one address, one scrape, no request lost but a killed worker's."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import aiohttp
import pytest

from tests.support.preloaded import Forked, dod
from tests.support.proc import children

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

pytestmark = pytest.mark.mongo
SECONDS = 60.0
METADATA = "/fhir/R4/acme/Development/metadata"


@dataclass
class Running:
    """A `dod serve --workers 2`."""

    process: Forked
    url: str
    admin: str
    log: Path
    client: aiohttp.ClientSession
    answered: int = 0
    failed: int = 0
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def asking(self) -> None:
        """Ask again and again, on one connection after another."""
        while not self.stop.is_set():
            try:
                async with self.client.get(self.url + METADATA) as response:
                    await response.read()
                assert response.status == 200
                self.answered += 1
            except aiohttp.ClientError:
                self.failed += 1
            await asyncio.sleep(0.02)  # Without a pause, workers that start wait for a processor.

    async def counted(self) -> dict[str, float]:
        async with self.client.get(self.admin + "/metrics") as response:
            text = await response.text()
            assert response.status == 200, text
        return {name: float(number) for name, number in re.findall(r"^([^# ]\S*) (\S+)$", text, re.MULTILINE)}

    async def state(self) -> dict[str, Any]:
        async with self.client.get(self.admin + "/readyz") as response:
            return dict(await response.json())

    async def until(self, holds: Callable[[dict[str, float], dict[str, Any]], bool]) -> None:
        async with asyncio.timeout(SECONDS):
            while not holds(await self.counted(), await self.state()):  # noqa: ASYNC110 -- of another process
                await asyncio.sleep(0.2)  # Each look costs what a worker needs to start.

    def workers(self) -> list[int]:
        """Process ids of the workers; the supervisor has no other children here."""
        return children(self.process.pid)


@asynccontextmanager
async def running(mongodb: str, tmp_path: Path) -> AsyncIterator[Running]:
    log = tmp_path / "log"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DOD_")}
    environment |= {
        "DOD_MONGODB_DATABASE": f"dod_{uuid4().hex}",
        "DOD_DRAIN_SECONDS": "0",
        "DOD_MONGODB_URI": mongodb,
    }
    words = ["serve", "--workers", "2", "--port", "0", "--admin-port", "0"]
    with log.open("wb") as out:
        process = dod(*words, environment=environment, stderr=out)
    try:
        async with asyncio.timeout(SECONDS):
            while not (
                found := [line for line in lines(log) if line.get("admin_address", "").startswith("http")]
            ):
                assert process.returncode is None, log.read_text()
                await asyncio.sleep(0.01)
        connector = aiohttp.TCPConnector(force_close=True)
        async with aiohttp.ClientSession(connector=connector) as client:
            yield Running(process, found[0]["address"], found[0]["admin_address"], log, client)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def lines(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]


async def test_workers_serve_one_address_and_are_counted_as_one(mongodb: str, tmp_path: Path) -> None:
    async with running(mongodb, tmp_path) as service:
        await service.until(lambda counted, state: counted["dod_workers"] == 2 and both_ready(state))
        asking = [asyncio.create_task(service.asking()) for _ in range(4)]
        began = (await service.counted())["process_start_time_seconds"]

        # A reload costs nobody a request.
        before = set(service.workers())
        service.process.send_signal(signal.SIGHUP)
        await service.until(lambda counted, _: counted['dod_reloads_total{outcome="complete"}'] == 1)
        assert service.answered > 0
        assert not before & set(service.workers())
        assert service.failed == 0

        # A killed worker costs only what it had, and is replaced.
        os.kill(service.workers()[0], signal.SIGKILL)
        await service.until(
            lambda counted, state: counted['dod_worker_ends_total{how="killed"}'] == 1 and both_ready(state)
        )
        service.stop.set()
        await asyncio.gather(*asking)
        assert service.failed <= len(asking)

        # One scrape is all that was answered, by workers that are gone too.
        name = 'dod_http_requests_total{code="200",method="GET",route="metadata"}'
        counted = await service.counted()
        assert service.answered <= counted[name] <= service.answered + service.failed
        assert counted["process_start_time_seconds"] == began, "an alert takes each change for a restart"
        assert not [name for name in counted if "_created" in name]

        service.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(service.process.wait(), SECONDS) == 0
        assert {line["message"] for line in lines(service.log) if line["level"] == "ERROR"} == {
            "a worker ended by itself"
        }


def both_ready(state: dict[str, Any]) -> bool:
    return [worker.get("ready") for worker in state["workers"]] == [True, True]


async def test_workers_do_not_outlive_their_supervisor(mongodb: str, tmp_path: Path) -> None:
    async with running(mongodb, tmp_path) as service:
        await service.until(lambda _, state: both_ready(state))
        workers = service.workers()
        service.process.kill()
        await service.process.wait()
        async with asyncio.timeout(SECONDS):
            await asyncio.gather(*map(gone, workers))


async def gone(pid: int) -> None:
    """Wait for the end of a process that is nobody's child of ours."""
    watched = os.pidfd_open(pid)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(watched, ended.set)
    try:
        await ended.wait()
    finally:
        asyncio.get_running_loop().remove_reader(watched)
        os.close(watched)
