"""Senders go on while the database freezes, steps down or is cut off: nothing is lost, nothing doubled.

`make chaos` does it for as long as `CHAOS_SECONDS` says; without, each blow is short.
"""

from __future__ import annotations

import asyncio
import os
import resource as process
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest

from store.tenancy import SearchScope
from tests.support.fhir import MRN, identified, message, report
from tests.support.mongod import Line, frozen, line, step_down
from tests.support.service import answered, opened_service

if TYPE_CHECKING:
    from store.mongo.embedded import Embedded
    from tests.support.service import Service

SECONDS = float(os.environ.get("CHAOS_SECONDS", "0.5"))
"""Duration of each blow, in seconds."""
SENDERS = 12
BACK_SECONDS = 5 if "CHAOS_SECONDS" in os.environ else 60
"""`make chaos` has the machine for itself; among other tests it is enough to come back at all."""
GROWTH_MAX = 200_000_000
"""Bytes that the flood may add to the process, test and service together."""


class Sender:
    """Pushes one thing after the other, each again until it is acknowledged."""

    def __init__(self, service: Service, number: int) -> None:
        self.service = service
        self.number = number
        self.acknowledged: dict[str, int] = {}
        """Last version of the content that was acknowledged, by resource."""
        self.refused = self.attempts = 0
        self.stop = False

    async def run(self) -> None:
        turn = 0
        while not self.stop:
            turn += 1
            name = f"s{self.number}-{turn if self.creates else turn % 40}"
            push = self._create if self.creates else self._put if self.number % 2 else self._message
            await self._until_taken(name, turn, push)

    @property
    def creates(self) -> bool:
        """Each one new, with a key that makes its retries harmless."""
        return self.number % 3 == 2

    async def _until_taken(self, name: str, turn: int, push: Callable[[str, int], Awaitable[int]]) -> None:
        while True:
            self.attempts += 1
            status = await push(name, turn)
            if status in (200, 201):
                self.acknowledged[name] = turn
                return
            assert status in (503, 504), status
            self.refused += 1
            if self.stop:
                return

    async def _put(self, name: str, turn: int) -> int:
        return (await self.service.put(report(name, conclusion=str(turn)))).status

    async def _message(self, name: str, turn: int) -> int:
        sent = report(name, None, identifier=[identified(MRN, name)], conclusion=str(turn))
        answer = await self.service.request("POST", "$process-message", message(sent))
        return answer.status

    async def _create(self, name: str, turn: int) -> int:
        sent = report(name, None, identifier=[identified(MRN, name)], conclusion=str(turn))
        return (await self.service.create(sent, idempotency_key=name)).status


Blow = Callable[["Embedded", Line], Awaitable[None]]


async def freeze(mongod: Embedded, _: Line) -> None:
    with frozen(mongod.pid):
        await asyncio.sleep(SECONDS)


async def retire(mongod: Embedded, _: Line) -> None:
    await step_down(mongod.uri, max(int(SECONDS), 1))
    await asyncio.sleep(max(int(SECONDS), 1))


async def cut(_: Embedded, connection: Line) -> None:
    await connection.cut()
    await asyncio.sleep(SECONDS)
    await connection.mend()


@pytest.mark.parametrize(("blow", "grace"), [(freeze, 0), (retire, 15), (cut, 0)])
async def test_nothing_acknowledged_is_lost_and_nothing_is_doubled(
    frail_mongod: Embedded, tmp_path: Path, blow: Blow, grace: float
) -> None:
    wanted: dict[str, Any] = {"access_cache_seconds": 60, "store_timeout_seconds": max(SECONDS / 4, 0.3)}
    async with (
        line(frail_mongod.uri, tmp_path) as connection,
        opened_service(connection.uri, search_scope=SearchScope.ANY, **wanted) as service,
    ):
        senders = [Sender(service, number) for number in range(SENDERS)]
        tasks = [asyncio.ensure_future(one.run()) for one in senders]
        while sum(len(one.acknowledged) for one in senders) < SENDERS * 3:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        before = process.getrusage(process.RUSAGE_SELF).ru_maxrss
        await blow(frail_mongod, connection)
        back = monotonic()
        while (await service.put(report("probe", conclusion=str(monotonic())))).status not in (200, 201):
            # An election is mongod's to hold, and takes its time.
            assert monotonic() - back < BACK_SECONDS + grace, "no normal service"
        for one in senders:
            one.stop = True
        await asyncio.gather(*tasks)
        assert (process.getrusage(process.RUSAGE_SELF).ru_maxrss - before) * 1024 < GROWTH_MAX
        assert sum(one.refused for one in senders) > 0, "nobody noticed anything"
        for one in senders:
            await check(service, one)


async def check(service: Service, one: Sender) -> None:
    """Every acknowledged content is there or a later one, once, in as many versions as were sent at most."""
    for name, turn in one.acknowledged.items():
        if one.number % 2 and not one.creates:
            stored = (await answered(service.get, f"DiagnosticReport/{name}")).body
        else:
            [match] = (await answered(service.search, f"identifier={MRN}|{name}")).matches
            stored = match["resource"]
        assert int(stored["conclusion"]) >= turn, "an acknowledged version is lost"
        assert int(stored["meta"]["versionId"]) <= (1 if one.creates else one.attempts)
