"""Retries: each has a pause and an end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, cast

import pytest

from ingest.writes import conditional
from store.errors import Category, ServiceError
from store.mongo.resources.dependents import Dependents, Touched
from store.resources.resource_keys import ResourceKey
from store.retention.sweep import HoldPlaced, Pace, Sweep
from store.retrying import PAUSE_SECONDS, PAUSE_SECONDS_MAX, pause_before, pause_behind
from tests.support.pauses import pausing

if TYPE_CHECKING:
    from store.mongo.driver.client import Database


def test_pauses_grow_to_a_bound() -> None:
    for attempt in range(2_000):
        longest = min(PAUSE_SECONDS * 2**attempt, PAUSE_SECONDS_MAX) if attempt < 64 else PAUSE_SECONDS_MAX
        assert longest * 0.5 <= pause_behind(attempt) <= longest * 1.5


async def test_there_is_no_pause_before_the_first_attempt() -> None:
    paused: list[float] = []

    async def pause(seconds: float) -> None:
        paused.append(seconds)

    with pausing("store.retrying", pause):
        for attempt in range(3):
            await pause_before(attempt)
    assert len(paused) == 2


async def test_conditional_writes_end_when_somebody_is_always_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    async def lost(*_: Any, **__: Any) -> None:
        calls.append("lost")

    async def pause(attempt: int) -> None:
        calls.append(f"pause {attempt}")

    async def found(*_: Any) -> object:
        return object()

    monkeypatch.setattr(conditional, "ATTEMPTS_MAX", 3)
    monkeypatch.setattr(conditional, "pause_before", pause)
    monkeypatch.setattr(conditional, "_patch_found", lost)
    monkeypatch.setattr(conditional, "check_tests", lambda *_: None)
    monkeypatch.setattr(conditional, "current", lambda *_: object())
    monkeypatch.setattr("ingest.writes.conditional.criteria.read", lambda *_, **__: object())
    monkeypatch.setattr("ingest.writes.conditional.criteria.one_match", found)

    class To:
        tenant = caller = None
        store = cast("Any", type("Store", (), {"get": found}))

    key = ResourceKey("DiagnosticReport", "r1")
    for work in (
        conditional.patch_one(cast("Any", To), key, ()),
        conditional.patch_where(cast("Any", To), key.type, "identifier=a|b", ()),
    ):
        calls.clear()
        with pytest.raises(ServiceError) as refused:
            await work
        assert refused.value.category is Category.CONFLICT
        assert calls == ["pause 0", "lost", "pause 1", "lost", "pause 2", "lost"]


async def test_a_sweep_ends_though_holds_are_placed_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    paused: list[float] = []
    closed: list[bool] = []

    async def sleep(seconds: float) -> None:
        paused.append(seconds)

    class Ledger:
        async def close(self, run: Any, *, complete: bool) -> None:
            closed.append(complete)

    async def placed(*_: Any) -> NoReturn:
        raise HoldPlaced({})

    monkeypatch.setattr("store.retention.sweep.ATTEMPTS_MAX", 3)
    monkeypatch.setattr("store.retention.sweep.replace", lambda run, **_: run)
    monkeypatch.setattr(Sweep, "_go_on", placed)
    sweep = Sweep((), cast("Any", None), cast("Any", None), sleep=sleep)
    await sweep._finish(cast("Any", Ledger()), cast("Any", None), Pace(), lambda _: None)
    assert (closed, len(paused)) == ([False], 3)


async def test_ties_end_when_others_change_them_all_the_while(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    paused: list[float] = []
    monkeypatch.setattr("store.mongo.resources.dependents.sleep", paused.append)
    monkeypatch.setattr("store.mongo.resources.dependents._ATTEMPTS_MAX", 3)
    monkeypatch.setattr(Dependents, "_moved", lambda *_: False)
    ties = Dependents(database)
    with pytest.raises(ServiceError):
        ties.tie("lab/Production", Touched(looked={"Patient/p1"}))
    assert len(paused) == 2
