"""The herald beside `--workers`: one for all, whatever is killed, replaced or drained; nothing is lost."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.api.herald.heralded import SECONDS, Replica, replica
from tests.support.fhir import report
from tests.support.proc import children, is_running
from tests.support.subscriptions import asked

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

SUBSCRIPTIONS = 3
MORE = 5
"""Events of each subscription between two blows."""
DELIVERED = 'dod_subscription_deliveries_total{outcome="delivered"}'


@dataclass
class Pushing:
    """A sender that pushes one report after another until each is acknowledged."""

    service: Replica
    acknowledged: set[str] = field(default_factory=set)
    stop: bool = False

    async def send(self) -> None:
        for number in count():
            if self.stop:
                return
            name = f"DiagnosticReport/r{number}"
            while not self.stop:
                try:
                    answer = await self.service.push(name, report(f"r{number}"))
                except httpx.HTTPError:  # Its worker was killed; the same push again is none.
                    await asyncio.sleep(0.05)
                    continue
                assert answer.status_code in (200, 201), answer.text
                self.acknowledged.add(name)
                break
            await asyncio.sleep(0.1)  # Without a pause, what starts waits for a processor.

    def told(self, number: int) -> list[tuple[int, str, str]]:
        """All that a subscription was told, in the order of its arrival."""
        came = self.service.at.of("event-notification")
        return [event for one in came if one.path.endswith(f"/{number}") for event in one.events]

    async def more(self) -> None:
        """Return when each subscription was told of so many more events."""
        wanted = [max((n for n, _, _ in self.told(one)), default=0) + MORE for one in range(SUBSCRIPTIONS)]
        await self.service.at.until(
            lambda: all(any(n >= least for n, _, _ in self.told(one)) for one, least in enumerate(wanted)),
            2 * SECONDS,
        )


async def until(done: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(SECONDS):
        while not await done():  # noqa: ASYNC110 -- of other processes
            await asyncio.sleep(0.2)


async def herald_killed(pushing: Pushing) -> None:
    """Another one begins, beside the same worker."""
    [herald] = pushing.service.heralds()
    os.kill(herald, signal.SIGKILL)
    await until(lambda: pushing.service.counts('dod_herald_ends_total{how="killed"}', 1))


async def reloaded(pushing: Pushing) -> None:
    """The worker that has the duty goes with its herald; the next one has one of its own."""
    before = pushing.service.heralds()
    pushing.service.process.process.send_signal(signal.SIGHUP)
    await until(lambda: pushing.service.counts('dod_reloads_total{outcome="complete"}', 1))
    assert not any(map(is_running, before))


async def worker_killed(pushing: Pushing) -> None:
    """A herald does not outlive its worker."""
    [herald] = pushing.service.heralds()
    [worker] = [one for one in children(pushing.service.process.process.pid) if herald in children(one)]
    os.kill(worker, signal.SIGKILL)
    await until(lambda: pushing.service.counts('dod_worker_ends_total{how="killed"}', 1))

    async def is_over() -> bool:
        return not is_running(herald)

    await until(is_over)


@pytest.fixture
def short() -> Iterator[str]:
    """Folder for temporary ones, whose path leaves room for that of a socket."""
    with TemporaryDirectory() as made:
        yield made


@pytest.mark.slow
async def test_there_is_one_herald_and_it_loses_nothing(mongodb: str, tmp_path: Path, short: str) -> None:
    given = {"DOD_WORKERS": "2", "DOD_DRAIN_SECONDS": "1", "TMPDIR": short}
    async with replica(mongodb, tmp_path, **given) as service:
        await until(lambda: service.counts("dod_workers", 2))
        assert service.heralds() == []
        for one in range(SUBSCRIPTIONS):
            sent = {**asked(endpoint=f"{service.at.url}/{one}"), "id": f"s{one}"}
            await service.put(f"Subscription/s{one}", sent)
        await service.at.until(lambda: len(service.at.of("handshake")) >= SUBSCRIPTIONS, SECONDS)
        pushing = Pushing(service)
        sender = asyncio.create_task(pushing.send())
        delivered = 0.0
        for blow in (herald_killed, reloaded, worker_killed):
            await pushing.more()
            await blow(pushing)
            await pushing.more()
            assert len(service.heralds()) == 1
            assert await service.counted("dod_herald_running") == 1
            assert await service.counted("dod_subscription_worker") == 1
            before, delivered = delivered, await service.counted(DELIVERED)
            assert delivered > before
        pushing.stop = True
        await sender
        await service.at.until(
            lambda: all(
                pushing.acknowledged <= {name for _, name, _ in pushing.told(one)}
                for one in range(SUBSCRIPTIONS)
            ),
            SECONDS,
        )
        for one in range(SUBSCRIPTIONS):
            numbers = [number for number, _, _ in pushing.told(one)]
            assert set(numbers) == set(range(1, max(numbers) + 1))
            firsts = list(dict.fromkeys(numbers))
            assert firsts == sorted(firsts), "in order, but for what comes again"
            assert len(firsts) == len(pushing.acknowledged)
        every = [*service.heralds(), *children(service.process.process.pid)]
        service.process.process.terminate()
        assert await asyncio.wait_for(service.process.process.wait(), SECONDS) == 0
        assert not any(map(is_running, every))
        assert os.listdir(short) == []  # noqa: PTH208 -- asked of a path that is there
