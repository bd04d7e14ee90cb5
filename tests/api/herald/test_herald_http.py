"""A `dod serve` with a herald: what is told, what is counted, and what its end costs."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import httpx

from store.tenancy import SearchScope
from tests.support.fhir import report
from tests.support.receiver import receiver
from tests.support.served import Served, served
from tests.support.service import RunningClock, opened_service
from tests.support.subscriptions import asked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.receiver import Receiver
    from tests.support.service import Service

SECONDS = 60.0
SETTINGS = {"DOD_SUBSCRIPTION_NETWORKS": "127.0.0.0/8", "DOD_SUBSCRIPTION_LEASE_SECONDS": "2"}


class Replica:
    """A `dod serve`, a tenant there, and the receiver of its subscriptions."""

    def __init__(self, process: Served, lab: Service, at: Receiver) -> None:
        self.process = process
        self.at = at
        self._lab = lab

    async def put(self, path: str, body: object) -> None:
        async with httpx.AsyncClient(timeout=SECONDS) as client:
            url = f"{self.process.url}{self._lab.root}/{path}"
            answer = await client.put(url, json=body, headers=dict(self._lab.headers))
        assert answer.status_code == 201, answer.text

    async def subscribe(self) -> None:
        await self.put("Subscription/s1", {**asked(endpoint=self.at.url), "id": "s1"})
        await self.at.until(lambda: bool(self.at.of("handshake")), SECONDS)

    async def tell(self, number: int) -> None:
        """Push a report; returns when the receiver knows of it."""
        await self.put(f"DiagnosticReport/r{number}", report(f"r{number}"))
        wanted = f"DiagnosticReport/r{number}"
        await self.at.until(lambda: any(name == wanted for _, name, _ in self.at.told), SECONDS)

    def heralds(self) -> list[int]:
        """Process ids of its children."""
        pid = self.process.process.pid
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    async def counted(self, name: str) -> float:
        async with httpx.AsyncClient(timeout=SECONDS) as client:
            text = (await client.get(f"{self.process.admin_url}/metrics")).text
        return sum(float(value) for value in re.findall(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE))


@asynccontextmanager
async def replica(mongodb: str, folder: Path, **settings: str) -> AsyncIterator[Replica]:
    name = f"dod_herald_{uuid4().hex[:12]}"
    async with opened_service(mongodb, mongodb_database=name, clock=RunningClock()) as own:
        lab = await own.new_tenant(search_scope=SearchScope.ANY)
    async with receiver() as at, served(folder, mongodb, name, **SETTINGS, **settings) as process:
        yield Replica(process, lab, at)


NEEDED = "dod_subscription_worker_needed"
DELIVERED = 'dod_subscription_deliveries_total{outcome="delivered"}'


async def test_it_tells_from_the_first_subscription_on_and_its_end_loses_nothing(
    mongodb: str, tmp_path: Path
) -> None:
    async with replica(mongodb, tmp_path) as one:
        assert not one.heralds()
        assert await one.counted(DELIVERED) == 0
        async with asyncio.timeout(SECONDS):
            while await one.counted(NEEDED):  # noqa: ASYNC110 -- another process, which has not looked yet
                await asyncio.sleep(0.05)
        await one.subscribe()
        [herald] = one.heralds()
        await one.tell(1)
        delivered = await one.counted(DELIVERED)
        assert delivered >= 2
        assert await one.counted("dod_herald_running") == await one.counted(NEEDED) == 1
        os.kill(herald, signal.SIGKILL)
        await one.tell(2)
        assert await one.counted(DELIVERED) > delivered
        assert await one.counted('dod_herald_ends_total{how="killed"}') == 1
        assert [number for number, _, _ in one.at.told] == [1, 2]
        [herald] = one.heralds()
        one.process.process.terminate()
        await one.process.process.wait()
        assert not _runs(herald)


async def test_it_ends_with_a_service_that_is_killed(mongodb: str, tmp_path: Path) -> None:
    async with replica(mongodb, tmp_path) as one:
        await one.subscribe()
        [herald] = one.heralds()
        await one.process.kill()
        async with asyncio.timeout(SECONDS):
            while _runs(herald):  # noqa: ASYNC110 -- no event tells it
                await asyncio.sleep(0.01)


def _runs(pid: int) -> bool:
    """Whether a process is there, and not a zombie that nobody has asked for."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


async def test_without_one_the_service_tells_by_itself(mongodb: str, tmp_path: Path) -> None:
    async with replica(mongodb, tmp_path, DOD_SUBSCRIPTION_PROCESS="false") as one:
        await one.subscribe()
        await one.tell(1)
        assert not one.heralds()
        assert await one.counted(DELIVERED) >= 2
