"""Records share writes: at once where there is time for nothing else, gathered where searches are slow."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from store.errors import Category, ServiceError
from store.mongo.audit.group_writer import GroupWriter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence


class Disk:
    """Writes that a test lets through one by one, and a clock that it moves."""

    def __init__(self) -> None:
        self.written: list[list[int]] = []
        self.gate = asyncio.Semaphore(0)
        self.begun = asyncio.Queue[int]()
        self.now = 0.0
        self.fails = False
        self.writer = GroupWriter(self.write, group_max=4, waiting_max=6, clock=lambda: self.now)

    async def write(self, items: Sequence[int]) -> None:
        self.begun.put_nowait(len(items))
        await self.gate.acquire()
        if self.fails:
            raise ServiceError(Category.TIMEOUT)
        self.written.append(list(items))


@pytest.fixture
async def disk() -> AsyncIterator[Disk]:
    made = Disk()
    yield made
    for _ in range(100):
        made.gate.release()
    await made.writer.drain()


async def test_a_lone_record_is_written_at_once_and_the_next_ones_together(disk: Disk) -> None:
    first = disk.writer.submit(1)
    await disk.begun.get()
    others = [disk.writer.submit(number) for number in (2, 3, 4, 5, 6)]
    disk.gate.release()
    await first.kept()
    disk.gate.release()
    disk.gate.release()
    for one in others:
        await one.kept()
    assert disk.written == [[1], [2, 3, 4, 5], [6]]


async def test_records_gather_while_there_is_slack_and_nobody_asks(disk: Disk) -> None:
    for _ in range(200):  # Searches take long: the writer learns that.
        slow = disk.writer.submit(0)
        disk.gate.release()
        await asyncio.sleep(0)
        disk.now += 0.05
        await slow.kept()
    disk.written.clear()
    gathered = [disk.writer.submit(number) for number in (1, 2, 3)]
    await asyncio.sleep(0)
    assert disk.written == []
    disk.gate.release()
    await gathered[1].kept()  # Somebody asks: it begins.
    assert disk.written == [[1, 2, 3]]
    for one in gathered:
        await one.kept()


async def test_what_could_not_be_written_is_told_to_each(disk: Disk) -> None:
    disk.fails = True
    pending = [disk.writer.submit(number) for number in (1, 2)]
    disk.gate.release()
    disk.gate.release()
    for one in pending:
        with pytest.raises(ServiceError) as refused:
            await one.kept()
        assert refused.value.category is Category.UNAVAILABLE


async def test_the_queue_is_bounded(disk: Disk) -> None:
    for number in range(7):
        disk.writer.submit(number)
    with pytest.raises(ServiceError) as refused:
        disk.writer.submit(7)
    assert refused.value.category is Category.UNAVAILABLE
    for _ in range(3):
        disk.gate.release()
    await disk.writer.drain()
    assert sum(map(len, disk.written)) == 7


async def test_a_waiter_that_gives_up_takes_nobody_along(disk: Disk) -> None:
    first, second = disk.writer.submit(1), disk.writer.submit(2)
    waiting = asyncio.ensure_future(first.kept())
    await asyncio.sleep(0)
    waiting.cancel()
    disk.gate.release()
    disk.gate.release()
    await second.kept()
    assert disk.written[0][0] == 1
