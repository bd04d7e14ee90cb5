"""The schedule: what ends with it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from store.retention.schedule import Job, Schedule

if TYPE_CHECKING:
    import pytest


async def test_the_end_in_the_middle_of_a_job_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    """Waited for, and no ERROR that wakes somebody."""
    has_begun, may_end, done = asyncio.Event(), asyncio.Event(), list[str]()

    async def work() -> None:
        has_begun.set()
        await may_end.wait()
        done.append("step")

    schedule = Schedule([Job("sweep", 0.01, 0.0, work)])
    with caplog.at_level(logging.WARNING):
        schedule.start()
        await has_begun.wait()
        stopping = asyncio.ensure_future(schedule.stop())
        for _ in range(10):
            await asyncio.sleep(0)
        may_end.set()
        await stopping
    assert done == ["step"]
    assert [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR] == []
