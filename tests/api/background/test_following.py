"""The follower of a process: it looks again whatever became of the last look, and ends when it is told to."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from api.background import following
from api.background.following import Following
from store.changes.metrics import ChangeMetrics
from store.errors import Category, ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable


class Follower:
    """A follower whose looks end as told, the last one when it is asked to stop."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.follows, self.measured = asyncio.Event(), asyncio.Event()

    async def follow(self, stopping: Callable[[], bool], told: ChangeMetrics) -> bool:
        if self.failures:
            raise self.failures.pop(0)
        self.follows.set()
        return True

    async def behind(self) -> float:
        self.measured.set()
        return 7.0


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (ServiceError(Category.UNAVAILABLE), "the change feed waits"),
        (RuntimeError("made up"), "the change feed failed; it is tried again"),
    ],
)
async def test_a_failure_is_followed_by_another_look(
    failure: Exception, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    registry, follower = CollectorRegistry(), Follower(failure)
    work = Following(follower, ChangeMetrics(registry), seconds=0.01)
    work.start()
    async with asyncio.timeout(30):
        await follower.follows.wait()
        await work.stop()
    assert said in caplog.text
    assert "dod_changes_behind_seconds 7.0" in generate_latest(registry).decode()


async def test_a_process_that_never_follows_measures_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "MEASURE_SECONDS", 0.01)
    registry, follower = CollectorRegistry(), Follower()
    work = Following(follower, ChangeMetrics(registry), seconds=0)
    work.start()
    async with asyncio.timeout(30):
        await follower.measured.wait()
        await work.stop()
    assert "dod_changes_behind_seconds 7.0" in generate_latest(registry).decode()
    assert not follower.follows.is_set()
