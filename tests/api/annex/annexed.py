"""A `dod serve` with an annex, or with one for each worker."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import httpx

from tests.support.proc import children
from tests.support.served import Served, served
from tests.support.service import FHIR, opened_service
from tests.support.strange_folder import strange_folder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from tests.support.service import Service

SECONDS = 60.0


class Push(NamedTuple):
    """Large push, and the status of its answer."""

    status: int
    method: str
    path: str
    body: Any
    headers: Mapping[str, str] = {}


@dataclass
class Running:
    """A `dod serve`, and a tenant there."""

    process: Served
    lab: Service
    database: str
    client: httpx.AsyncClient

    async def push(self, push: Push) -> httpx.Response:
        body = push.body if isinstance(push.body, bytes) else json.dumps(push.body).encode()
        headers = {**self.lab.headers, "Content-Type": FHIR, **push.headers}
        base = "" if push.path.startswith("/") else f"{self.lab.root}/"
        url = f"{self.process.url}{base}{push.path}".rstrip("/")
        return await self.client.request(push.method, url, content=body, headers=headers)

    async def counted(self) -> dict[str, float]:
        text = (await self.client.get(f"{self.process.admin_url}/metrics")).text
        return {name: float(value) for name, value in re.findall(r"^([^# ]\S*) (\S+)$", text, re.MULTILINE)}

    def annexes(self) -> list[int]:
        """Process ids of its children."""
        return children(self.process.process.pid)

    def logged(self) -> dict[str, str]:
        """Tenants of the requests in its log, by their ids; each of them stands there once."""
        told = [json.loads(line) for line in self.process.log.read_text().splitlines()]
        asked = [line for line in told if line["message"] == "request"]
        found = {line["request_id"]: line["tenant"] for line in asked}
        assert len(found) == len(asked)
        return found


@asynccontextmanager
async def running(mongodb: str, folder: Path, **settings: str) -> AsyncIterator[Running]:
    name = f"dod_annex_{uuid4().hex[:12]}"
    given = {"DOD_LARGE_BODY_BYTES": "65536", "DOD_BODY_ELEMENTS_MAX": "60000", **settings}
    async with (
        opened_service(mongodb, mongodb_database=name) as service,
        httpx.AsyncClient(timeout=SECONDS) as client,
    ):
        # The other process looks at the token by the clock of the machine.
        service.clock.now = service.clock.now.replace(year=2125)
        lab = await service.new_tenant()
        there = f"import os; os.chdir({str(await asyncio.to_thread(strange_folder, folder))!r})"
        async with served(folder, mongodb, name, changed=there, **given) as process:
            yield Running(process, lab, name, client)


async def until(service: Running, holds: Any) -> None:
    async with asyncio.timeout(SECONDS):
        while not holds(await service.counted()):  # noqa: ASYNC110 -- of another process
            await asyncio.sleep(0.05)
