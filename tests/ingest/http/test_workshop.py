"""Work beside the event loop: by turns of tenants, bounded in time, few heavy bodies at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from ingest.http.workshop import HEAVY_MAX, Job, Workshop
from store.errors import Category, ServiceError


@pytest.fixture
def workshop() -> Iterator[Workshop]:
    made = Workshop(seconds=5.0, wait_seconds=5.0)
    yield made
    made.close()


async def test_work_is_done_in_one_thread_beside_the_loop(workshop: Workshop) -> None:
    job = Job(workshop, "a")
    threads = await asyncio.gather(*(job(threading.get_ident) for _ in range(5)))
    assert len(set(threads)) == 1
    assert threads[0] != threading.get_ident()


async def test_tenants_take_turns_however_much_one_has_to_do(workshop: Workshop) -> None:
    done: list[str] = []
    gate = threading.Event()
    first = asyncio.ensure_future(Job(workshop, "a")(gate.wait))
    await asyncio.sleep(0)
    jobs = [asyncio.ensure_future(Job(workshop, name)(done.append, name)) for name in "aaaabbc"]
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(first, *jobs)
    assert done == list("abcabaa")


async def test_who_gives_up_passes_the_turn_on(workshop: Workshop) -> None:
    gate = threading.Event()
    first = asyncio.ensure_future(Job(workshop, "a")(gate.wait))
    await asyncio.sleep(0)
    jobs = [asyncio.ensure_future(Job(workshop, "b")(int)) for _ in range(4)]
    await asyncio.sleep(0)
    for job in jobs[:3]:
        job.cancel()
    gate.set()
    assert await jobs[3] == 0
    assert await first
    assert await Job(workshop, "c")(int) == 0


async def test_an_error_of_the_work_is_the_callers(workshop: Workshop) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        await Job(workshop, "a")(int, "x")
    assert await Job(workshop, "a")(int, "1") == 1


async def test_time_is_bounded() -> None:
    workshop = Workshop(seconds=0.0001, wait_seconds=5.0)
    job = Job(workshop, "a")
    await job(threading.Event().wait, 0.001)
    with pytest.raises(ServiceError) as refused:
        await job(int)
    assert (refused.value.category, refused.value.issues[0].code) == (Category.TOO_LARGE, "too-costly")
    assert await Job(workshop, "a")(int) == 0
    workshop.close()


async def test_few_heavy_bodies_are_under_way_and_one_of_each_tenant(workshop: Workshop) -> None:
    entered: list[str] = []

    async def enter(tenant: str) -> None:
        await workshop.enter_heavy(tenant)
        entered.append(tenant)

    tasks = [asyncio.ensure_future(enter(name)) for name in "aabcd"]
    await asyncio.sleep(0)
    assert HEAVY_MAX == 2
    assert entered == ["a", "b"]
    for leaving, expected in (("b", "c"), ("a", "a"), ("c", "d")):
        workshop.leave_heavy(leaving)
        await asyncio.sleep(0)
        assert entered[-1] == expected
    await asyncio.gather(*tasks)


async def test_a_tenant_waits_for_one_heavy_body_of_each_other_one(workshop: Workshop) -> None:
    entered: list[str] = []

    async def enter(tenant: str) -> None:
        await workshop.enter_heavy(tenant)
        entered.append(tenant)

    tasks = [asyncio.ensure_future(enter(name)) for name in "aaaaabbbbbc"]
    await asyncio.sleep(0)
    for leaving in "abab":
        workshop.leave_heavy(leaving)
        await asyncio.sleep(0)
    assert "".join(entered) == "abab" + "ca"
    for task in tasks:
        task.cancel()


async def test_who_waits_too_long_for_a_place_is_told_so_and_leaves_it() -> None:
    workshop = Workshop(seconds=5.0, wait_seconds=0.01)
    await workshop.enter_heavy("a")
    with pytest.raises(ServiceError) as refused:
        await workshop.enter_heavy("a")
    assert refused.value.category is Category.UNAVAILABLE
    workshop.leave_heavy("a")
    for name in "ab":
        await workshop.enter_heavy(name)
        workshop.leave_heavy(name)
    workshop.close()
