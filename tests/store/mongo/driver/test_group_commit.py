"""Group commit in front of a function that only pretends: who goes with whom, and who is told what."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

import pytest
from prometheus_client import CollectorRegistry

from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.metrics import StoreMetrics
from store.mongo.driver import group_commit as commit
from store.mongo.driver.circuit_breaker import Pulse
from store.mongo.driver.group_commit import GroupCommit
from store.settings import StoreSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

REFUSED = ServiceError(Category.PRECONDITION, Issue("conflict", "no"))


class Work(NamedTuple):
    name: str
    number: int = 0
    size: int = 1


class Desk:
    """Answers a group when it is let: `hold` makes it wait, `fail` raises, `refuse` answers with an error."""

    def __init__(self, **settings: int) -> None:
        self.groups: list[list[Work]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.fail: BaseException | None = None
        self.refuse: set[str] = set()
        self.at_once = self.most_at_once = 0
        self.registry = CollectorRegistry()
        self.queue: GroupCommit[Work, str] = GroupCommit(
            self.commit,
            same=lambda work: work.name,
            size=lambda work: work.size,
            settings=StoreSettings.model_validate(settings),
            metrics=(metrics := StoreMetrics(self.registry)),
            pulse=(pulse := Pulse(self.ping, metrics=metrics)),
        )
        self.pulse = pulse

    async def ping(self) -> None:
        await self.gate.wait()

    async def commit(self, works: Sequence[Work]) -> list[str | ServiceError]:
        self.groups.append(list(works))
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        try:
            await self.gate.wait()
        finally:
            self.at_once -= 1
        if self.fail is not None:
            raise self.fail
        return [REFUSED if work.name in self.refuse else f"{work.name}{work.number}" for work in works]

    def submitted(self, *works: Work) -> asyncio.Task[list[str]]:
        return asyncio.ensure_future(self.queue.submit(works))


async def turn() -> None:
    """Let all that can run, run."""
    for _ in range(5):
        await asyncio.sleep(0)


def works(names: str) -> list[Work]:
    return [Work(name) for name in names]


def names(groups: list[list[Work]]) -> list[str]:
    return ["".join(work.name for work in group) for group in groups]


async def test_one_alone_waits_for_nobody() -> None:
    desk = Desk()
    assert await desk.queue.submit([Work("a", 1)]) == ["a1"]
    assert names(desk.groups) == ["a"]


async def test_nothing_is_answered_with_nothing() -> None:
    desk = Desk()
    assert await desk.queue.submit([]) == []
    assert desk.groups == []


async def test_results_come_in_the_order_of_the_works() -> None:
    desk = Desk(commit_operations_max=2)
    assert await desk.queue.submit([Work(name, n) for n, name in enumerate("edcba")]) == [
        *("e0", "d1", "c2", "b3", "a4")
    ]


async def test_those_that_wait_go_together() -> None:
    desk = Desk(commit_parallel=1)
    desk.gate.clear()
    tasks = [desk.submitted(Work(name)) for name in "abcde"]
    await turn()
    assert names(desk.groups) == ["a"]
    desk.gate.set()
    assert [await task for task in tasks] == [[f"{name}0"] for name in "abcde"]
    assert names(desk.groups) == ["a", "bcde"]


@pytest.mark.parametrize(
    ("limits", "sent", "groups"),
    [
        ({"commit_operations_max": 2}, works("abcde"), ["ab", "cd", "e"]),
        ({"commit_operations_max": 1}, works("abc"), ["a", "b", "c"]),
        ({"commit_operations_max": 5}, works("abcde"), ["abcde"]),
        (
            {"commit_bytes_max": 1_000_000},
            [Work("a", size=500_000), Work("b", size=500_000), Work("c", size=1), Work("d")],
            ["ab", "cd"],
        ),
        ({"commit_bytes_max": 1_000_000}, [Work("a", size=9_000_000), Work("b"), Work("c")], ["a", "bc"]),
        ({"commit_bytes_max": 1_000_000}, [Work("a"), Work("b", size=1_000_000), Work("c")], ["a", "b", "c"]),
        ({}, works("abab"), ["ab", "ab"]),
        ({}, works("aaa"), ["a", "a", "a"]),
        ({}, works("abca"), ["abc", "a"]),
    ],
)
async def test_a_group_keeps_to_the_limits_and_has_no_resource_twice(
    limits: dict[str, int], sent: list[Work], groups: list[str]
) -> None:
    desk = Desk(**{"commit_parallel": 1, **limits})
    assert await desk.queue.submit(sent) == [f"{work.name}0" for work in sent]
    assert names(desk.groups) == groups


async def test_works_on_one_resource_are_done_one_after_another_in_order() -> None:
    desk = Desk(commit_parallel=4)
    desk.gate.clear()
    tasks = [desk.submitted(Work("a", n)) for n in range(4)]
    other = desk.submitted(Work("b"))
    await turn()
    assert names(desk.groups) == ["a"]
    desk.gate.set()
    assert [await task for task in tasks] == [[f"a{n}"] for n in range(4)]
    assert await other == ["b0"]
    assert [work.number for group in desk.groups for work in group if work.name == "a"] == [0, 1, 2, 3]


@pytest.mark.parametrize("parallel", [1, 2, 3])
async def test_so_many_groups_are_under_way_at_once(parallel: int) -> None:
    desk = Desk(commit_parallel=parallel, commit_operations_max=1)
    desk.gate.clear()
    tasks = [desk.submitted(Work(name)) for name in "abcdef"]
    await turn()
    assert len(desk.groups) == parallel
    desk.gate.set()
    await asyncio.gather(*tasks)
    assert desk.most_at_once == parallel


async def test_a_full_queue_refuses_at_once_and_only_the_one_too_many() -> None:
    desk = Desk(commit_parallel=1, commit_queue_max=2)
    desk.gate.clear()
    under_way, *waiting = [desk.submitted(Work(name)) for name in "abc"]
    await turn()
    with pytest.raises(ServiceError) as caught:
        await desk.queue.submit([Work("d")])
    assert caught.value.category is Category.UNAVAILABLE
    assert caught.value.issues[0].code == "transient"
    desk.gate.set()
    assert await under_way == ["a0"]
    assert [await task for task in waiting] == [["b0"], ["c0"]]
    assert await desk.queue.submit([Work("d")]) == ["d0"]


async def test_a_queue_is_full_by_bytes_as_well() -> None:
    desk = Desk(commit_queue_bytes_max=1_000_000)
    desk.gate.clear()
    tasks = [desk.submitted(Work("a", size=5_000_000)), desk.submitted(Work("b", size=600_000))]
    await turn()
    assert desk.registry.get_sample_value("dod_store_commit_queue_bytes") == 600_000
    with pytest.raises(ServiceError) as caught:
        await desk.queue.submit([Work("c", size=200_000), Work("d", size=200_001)])
    assert caught.value.category is Category.UNAVAILABLE
    rejected = desk.registry.get_sample_value("dod_store_pushes_rejected_total", {"reason": "bytes"})
    assert rejected == 1
    tasks.append(desk.submitted(Work("c", size=400_000)))
    await turn()
    desk.gate.set()
    await asyncio.gather(*tasks)
    assert names(desk.groups) == ["a", "bc"]
    assert desk.registry.get_sample_value("dod_store_commit_queue_bytes") == 0


@pytest.mark.parametrize("category", [Category.UNAVAILABLE, Category.TIMEOUT])
async def test_when_the_database_is_away_those_that_wait_are_told_and_new_ones_refused(
    category: Category,
) -> None:
    desk = Desk(commit_operations_max=1)
    desk.fail = ServiceError(category)
    desk.gate.clear()
    tasks = [desk.submitted(Work(name)) for name in "abc"]
    await turn()
    desk.gate.set()
    errors = await asyncio.gather(*tasks, return_exceptions=True)
    said = [error.category for error in errors if isinstance(error, ServiceError)]
    assert said == [category, Category.UNAVAILABLE, Category.UNAVAILABLE]
    assert names(desk.groups) == ["a"], "those that waited were not begun"
    desk.fail = None
    await turn()
    assert await desk.queue.submit([Work("d")]) == ["d0"]


async def test_nothing_new_is_taken_while_the_database_is_away() -> None:
    desk = Desk()
    desk.gate.clear()
    desk.pulse.failed(ServiceError(Category.TIMEOUT))
    with pytest.raises(ServiceError):
        await desk.queue.submit(works("a"))
    assert desk.groups == []
    await desk.pulse.stop()


async def test_a_push_larger_than_the_queue_is_taken_when_nobody_waits() -> None:
    desk = Desk(commit_queue_max=2)
    assert len(await desk.queue.submit(works("abcde"))) == 5


async def test_a_refusal_reaches_its_own_waiter_alone() -> None:
    desk = Desk(commit_parallel=1)
    desk.refuse = {"b"}
    desk.gate.clear()
    tasks = [desk.submitted(Work(name)) for name in "abc"]
    await turn()
    desk.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert (results[0], results[2]) == (["a0"], ["c0"])
    refused = results[1]
    assert isinstance(refused, ServiceError)
    assert (refused.category, refused.issues) == (REFUSED.category, REFUSED.issues)


async def test_of_several_works_the_first_refusal_is_raised_after_all_are_done() -> None:
    desk = Desk(commit_operations_max=1, commit_parallel=1)
    desk.refuse = {"a", "b"}
    with pytest.raises(ServiceError):
        await desk.queue.submit(works("abc"))
    assert names(desk.groups) == ["a", "b", "c"]


async def test_a_failure_reaches_its_group_and_no_other() -> None:
    desk = Desk(commit_parallel=1)
    desk.fail = ServiceError(Category.FAULT)
    desk.gate.clear()
    failing = [desk.submitted(Work("a")), desk.submitted(Work("b"))]
    await turn()
    desk.gate.set()
    errors = await asyncio.gather(*failing, return_exceptions=True)
    assert [error.category for error in errors if isinstance(error, ServiceError)] == [Category.FAULT] * 2
    assert errors[0] is not errors[1]
    desk.fail = None
    assert await desk.queue.submit([Work("c")]) == ["c0"]


async def test_an_unexpected_failure_is_told_too() -> None:
    desk = Desk()
    desk.fail = RuntimeError("broken")
    with pytest.raises(RuntimeError):
        await desk.queue.submit([Work("a")])


async def test_a_waiter_that_goes_away_harms_nobody() -> None:
    desk = Desk(commit_parallel=1)
    desk.gate.clear()
    first, going, staying = [desk.submitted(Work(name)) for name in "abc"]
    await turn()
    first.cancel()
    going.cancel()
    await turn()
    desk.gate.set()
    assert await staying == ["c0"]
    for cancelled in (first, going):
        with pytest.raises(asyncio.CancelledError):
            await cancelled
    assert await desk.queue.submit([Work("a")]) == ["a0"]


async def test_drain_waits_for_all_that_was_submitted() -> None:
    desk = Desk(commit_parallel=1, commit_operations_max=1)
    desk.gate.clear()
    tasks = [desk.submitted(Work(name)) for name in "abc"]
    await turn()
    draining = asyncio.ensure_future(desk.queue.drain())
    await turn()
    assert not draining.done()
    desk.gate.set()
    await draining
    await turn()
    assert all(task.done() for task in tasks)
    assert names(desk.groups) == ["a", "b", "c"]


async def test_what_is_counted() -> None:
    desk = Desk(commit_operations_max=2, commit_parallel=1)
    await desk.queue.submit(works("abcde"))
    assert desk.registry.get_sample_value("dod_store_commit_size_count") == 3
    assert desk.registry.get_sample_value("dod_store_commit_size_sum") == 5
    assert desk.registry.get_sample_value("dod_store_commit_queue") == 0


async def test_what_waited_past_its_deadline_is_told_so_and_not_begun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = Desk()
    desk.gate.clear()
    first = desk.submitted(Work("a"))
    late = desk.submitted(Work("b"))
    await asyncio.sleep(0)
    now = monotonic()
    monkeypatch.setattr(commit, "monotonic", lambda: now + StoreSettings().store_timeout_seconds)
    desk.gate.set()
    assert await first == ["a0"]
    with pytest.raises(ServiceError) as raised:
        await late
    assert raised.value.category is Category.TIMEOUT
    assert desk.groups == [[Work("a")]]
