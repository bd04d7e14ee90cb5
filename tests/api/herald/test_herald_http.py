"""A `dod serve` with a herald: what is told, what is counted, and what its end costs."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

from tests.api.herald.heralded import SECONDS, replica
from tests.support.proc import is_running

if TYPE_CHECKING:
    from pathlib import Path

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
        assert not is_running(herald)


async def test_it_ends_with_a_service_that_is_killed(mongodb: str, tmp_path: Path) -> None:
    async with replica(mongodb, tmp_path) as one:
        await one.subscribe()
        [herald] = one.heralds()
        await one.process.kill()
        async with asyncio.timeout(SECONDS):
            while is_running(herald):  # noqa: ASYNC110 -- no event tells it
                await asyncio.sleep(0.01)


async def test_without_one_the_service_tells_by_itself(mongodb: str, tmp_path: Path) -> None:
    async with replica(mongodb, tmp_path, DOD_SUBSCRIPTION_PROCESS="false") as one:
        await one.subscribe()
        await one.tell(1)
        assert not one.heralds()
        assert await one.counted(DELIVERED) >= 2
