"""Background work at the end of the service: waited for, unless its database is away."""

from __future__ import annotations

import asyncio

import pytest

from store import detached
from store.detached import ended


@pytest.mark.parametrize("is_away", [True, False])
async def test_work_is_cancelled_while_the_database_is_away(
    monkeypatch: pytest.MonkeyPatch, *, is_away: bool
) -> None:
    monkeypatch.setattr(detached, "LOOK_SECONDS", 0.0)
    answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    asked = 0

    async def work() -> int:
        return await answer

    def looks() -> bool:
        nonlocal asked
        asked += 1
        if asked == 3 and not is_away:
            answer.set_result(1)
        return is_away

    task = asyncio.ensure_future(work())
    async with asyncio.timeout(30):
        await ended([task], is_away=looks)
        await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled() is is_away


async def test_nothing_is_waited_for_where_there_is_nothing() -> None:
    await ended([], is_away=lambda: False)
