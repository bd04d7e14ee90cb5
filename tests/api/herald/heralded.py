"""A `dod serve` with a herald, a tenant there, and the receiver of its subscriptions."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

import httpx

from store.tenancy import SearchScope
from tests.support.fhir import report
from tests.support.proc import children, runs
from tests.support.receiver import receiver
from tests.support.served import Served, served
from tests.support.service import RunningClock, opened_service
from tests.support.subscriptions import asked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

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

    async def push(self, path: str, body: object) -> httpx.Response:
        async with httpx.AsyncClient(timeout=SECONDS) as client:
            url = f"{self.process.url}{self._lab.root}/{path}"
            return await client.put(url, json=body, headers=dict(self._lab.headers))

    async def put(self, path: str, body: object) -> None:
        answer = await self.push(path, body)
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
        """Process ids of its heralds, and of those of its workers."""
        own = children(self.process.process.pid)
        every = [*own, *(further for one in own for further in children(one))]
        return [one for one in every if runs(one, "api.herald.process")]

    async def counted(self, name: str) -> float:
        async with httpx.AsyncClient(timeout=SECONDS) as client:
            text = (await client.get(f"{self.process.admin_url}/metrics")).text
        return sum(float(value) for value in re.findall(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE))

    async def counts(self, name: str, value: float) -> bool:
        """Whether a scrape says so."""
        return await self.counted(name) == value


@asynccontextmanager
async def replica(mongodb: str, folder: Path, **settings: str) -> AsyncIterator[Replica]:
    name = f"dod_herald_{uuid4().hex[:12]}"
    async with opened_service(mongodb, mongodb_database=name, clock=RunningClock()) as own:
        lab = await own.new_tenant(search_scope=SearchScope.ANY)
    async with receiver() as at, served(folder, mongodb, name, **SETTINGS, **settings) as process:
        yield Replica(process, lab, at)
