"""Every answered request is on record, also when the service is killed the moment after."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from uuid import uuid4

import httpx

from tests.support.fhir import patient, report
from tests.support.served import Served, served
from tests.support.service import opened_service

if TYPE_CHECKING:
    from pathlib import Path

    from store.mongo.driver.client import Client

ANSWERS = 60
"""Answers before the service is killed, while as many are under way as there are clients."""


async def test_what_was_answered_is_on_record_after_a_kill(
    mongodb: str, mongo_client: Client, tmp_path: Path
) -> None:
    name = f"dod_killed_{uuid4().hex[:12]}"
    try:
        async with opened_service(mongodb, mongodb_database=name) as service:
            # The other process looks at the token by the clock of the machine; our sweep must not.
            now = service.clock.now
            service.clock.now = now.replace(year=2125)
            lab = await service.new_tenant()
            service.clock.now = now
            await lab.load(patient("p1"), report("r1"), report("r2"))
            async with served(tmp_path, mongodb, name) as process:
                answered = await until_killed(process, f"{process.url}{lab.root}", dict(lab.headers))
        assert len(answered) >= ANSWERS
        asked = {"tenant": str(lab.tenant), "request": {"$in": sorted(answered)}}
        found = [one["request"] async for one in mongo_client[name]["audit"].find(asked)]
        assert set(found) == answered
        assert len(found) == len(answered)
    finally:
        await mongo_client.drop_database(name)


async def until_killed(process: Served, base: str, headers: dict[str, str]) -> set[str]:
    """The ids of the requests that were answered before the service was killed in their midst."""
    answered: set[str] = set()
    enough = asyncio.Event()
    paths = ("DiagnosticReport?patient=p1", "DiagnosticReport/r1", "DiagnosticReport?_id=r2", "Patient/none")

    async def ask(turn: int) -> None:
        async with httpx.AsyncClient(headers=headers, timeout=60) as client:
            while True:
                try:
                    answer = await client.get(f"{base}/{paths[turn % len(paths)]}")
                except httpx.HTTPError:
                    return
                assert answer.status_code in (200, 404), answer.text
                answered.add(answer.headers["X-Request-Id"])
                turn += 1
                if len(answered) >= ANSWERS:
                    enough.set()

    clients = [asyncio.ensure_future(ask(turn)) for turn in range(8)]
    async with asyncio.timeout(120):
        await enough.wait()
    await process.kill()
    await asyncio.gather(*clients)
    return answered
