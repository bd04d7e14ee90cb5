"""Deliveries step by step: a receiver that fails, hangs, is slow, is gone; whoever takes over; what is told.

On a real MongoDB and a real receiver; the clock is the test's.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from aiohttp import web

from api.subscriptions.interactions import rendering
from api.subscriptions.sending.delivery import GIVEN_UP, GONE, Step
from api.subscriptions.sending.notification import status_searchset
from api.subscriptions.standing import UNREADABLE
from store.changes.changes import Position
from store.changes.kinds import Kind
from store.errors import Category, ServiceError
from store.retention.runs import LeaseLost
from store.subscriptions.events import Occurrence, Run
from store.subscriptions.records import Holder, Status
from tests.api.subscriptions.sending.told import status, told
from tests.support.fhir import report
from tests.support.receiver import receiver
from tests.support.store import OTHER
from tests.support.subscriptions import LAB, NOW, kept

if TYPE_CHECKING:
    from collections.abc import Callable

    from store.mongo.driver.client import Database


def asks_to_wait(text: str) -> Any:
    return lambda _: web.Response(status=503, headers={"Retry-After": text})


async def test_a_handshake_then_events_in_order_then_heartbeats(database: Database) -> None:
    async with told(database, kept(status=Status.REQUESTED, heartbeat_seconds=60)) as (on, at):
        await on.change(report("r1"), Kind.CREATED)
        await on.change(report("r1", conclusion="more"), Kind.UPDATED)
        await on.count()
        await on.settle()
        assert [one.kind for one in at.came] == ["handshake", "event-notification"]
        assert at.came[0].status["status"] == "requested"
        assert at.told == [(1, "DiagnosticReport/r1", "created"), (2, "DiagnosticReport/r1", "updated")]
        assert at.came[1].status["events-since-subscription-start"] == "2"
        one = await on.get()
        assert (one.status, one.progress.delivered) == (Status.ACTIVE, 2)
        on.clock.move(seconds=59)
        await on.settle()
        assert len(at.came) == 2
        on.clock.move(seconds=1)
        await on.settle()
        assert [one.kind for one in at.came[2:]] == ["heartbeat"]
        await on.change(report("r2"), Kind.CREATED)
        await on.count()
        await on.settle()
        assert at.told[2:] == [(3, "DiagnosticReport/r2", "created")]


@pytest.mark.parametrize("seconds", [None, 60])
async def test_behind_the_last_event_nothing_is_due_but_a_heartbeat(
    database: Database, seconds: int | None
) -> None:
    async with told(database, kept(heartbeat_seconds=seconds), batch_max=2) as (on, _):
        for number in range(3):
            await on.change(report(f"r{number}"), Kind.CREATED)
        await on.count()
        behind = None if seconds is None else NOW + timedelta(seconds=seconds)
        assert [await on.step(), await on.step()] == [
            Step(NOW, sent=True, delivered=2),
            Step(behind, sent=True, delivered=3),
        ]


async def test_attempts_follow_the_schedule_and_nothing_is_lost(database: Database) -> None:
    async with told(database, kept(), give_up_hours=1) as (on, at):
        at.answer = status(500)
        await on.change(report("r1"), Kind.CREATED)
        await on.count()
        began, moments = on.clock.now, []
        for _ in range(10):
            step = await on.step()
            assert step.at is not None
            moments.append(int((on.clock.now - began).total_seconds()))
            on.clock.now = step.at
        gaps = [later - sooner for sooner, later in pairwise(moments)]
        assert [0, *gaps] == [0, 10, 10, 20, 30, 50, 80, 120, 120, 120]
        assert len(at.came) == 10
        await on.change(report("r1", conclusion="more"), Kind.CORRECTED)
        await on.count()
        assert (await on.step()).sent
        on.clock.move(seconds=120)
        at.answer = status(200)
        await on.settle()
        assert [one.events for one in at.of("event-notification")[-2:]] == [
            [(1, "DiagnosticReport/r1", "created")],
            [(2, "DiagnosticReport/r1", "corrected")],
        ]
        assert (await on.get()).progress.failures == 0


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (status(500), "failed"),
        (status(404), "refused"),
        (lambda _: web.Response(status=302, headers={"Location": "/other"}), "redirected"),
        (lambda _: None, "timeout"),
    ],
    ids=["500", "404", "redirects", "hangs"],
)
async def test_a_receiver_that_does_not_take_it_is_asked_again_then_given_up(
    database: Database, answer: Any, outcome: str
) -> None:
    async with told(database, kept(), give_up_hours=1, timeout_seconds=0.05) as (on, at):
        at.answer = answer
        await on.change(report("r1"), Kind.CREATED)
        await on.count()
        step = await on.step()
        assert step.at == NOW + timedelta(seconds=10)
        assert on.registry.get_sample_value("dod_subscription_deliveries_total", {"outcome": outcome}) == 1
        assert not (await on.step()).sent, "nothing before it is due"
        on.clock.move(hours=1)
        while (step := await on.step()).at is not None:
            on.clock.now = step.at
        one = await on.get()
        assert (one.status, one.reason) == (Status.ERROR, f"{GIVEN_UP} ({_told(outcome)})")
        at.let_go.set()
        at.answer = status(200)
        await on.change(report("r2"), Kind.CREATED)
        await on.count()
        again = replace(one, version=2, status=Status.REQUESTED, reason="")
        assert await on.store.replace(again, instead_of=1)
        on.ports.circuits.succeeded(one)
        await on.settle()
        assert at.of("event-notification")[-1].events == [
            (1, "DiagnosticReport/r1", "created"),
            (2, "DiagnosticReport/r2", "created"),
        ], "what was counted while it was given up is not lost"


def _told(outcome: str) -> str:
    return {"failed": "failed, status 500", "refused": "refused, status 404"}.get(
        outcome, "redirected, status 302" if outcome == "redirected" else outcome
    )


async def test_a_receiver_that_is_gone_hears_nothing_more(database: Database) -> None:
    async with told(database, kept()) as (on, at):
        at.answer = status(410)
        await on.change(report("r1"), Kind.CREATED)
        await on.count()
        assert (await on.step()).at is None
        one = await on.get()
        assert (one.status, one.reason) == (Status.OFF, GONE)
        await on.change(report("r2"), Kind.CREATED)
        await on.count()
        await on.settle()
        assert (len(at.came), (await on.get()).progress.last) == (1, 1)


async def test_a_receiver_may_ask_for_a_longer_pause(database: Database) -> None:
    async with told(database, kept()) as (on, at):
        await on.change(report("r1"), Kind.CREATED)
        await on.count()
        for asked, pause in (("90", 90), ("999999", 3_600), ("soon", 20)):
            at.answer = asks_to_wait(asked)
            step = await on.step()
            assert step.at == on.clock.now + timedelta(seconds=pause)
            on.clock.now = step.at


async def test_what_nobody_noted_as_delivered_is_sent_again_by_who_takes_over(
    database: Database,
) -> None:
    """The process dies between the receiver's answer and the note that it answered."""
    async with told(database, kept()) as (on, at):
        await on.change(report("r1"), Kind.CREATED)
        await on.count()
        await on.step()
        await database["outbox"].update_one({"_id": f"delivered {LAB}"}, {"$set": {"delivered": {}}})
        await on.change(report("r2"), Kind.CREATED)
        await on.count()
        await on.settle()
        assert [number for number, _, _ in at.told] == [1, 1, 2]


async def test_a_lost_race_for_the_lease_counts_nothing_twice(
    database: Database, later: Callable[..., None]
) -> None:
    async with told(database, kept()) as (on, at):
        await on.change(report("r1"), Kind.CREATED)
        frozen = await on.outbox.take()
        assert frozen is not None
        later(seconds=7)
        await on.count()
        with pytest.raises(LeaseLost):
            await on.page(frozen, Position(0))
        await on.settle()
        assert at.told == [(1, "DiagnosticReport/r1", "created")]


async def test_a_failing_receiver_holds_up_no_other_and_its_circuit_serves_all_of_its_subscriptions(
    database: Database,
) -> None:
    async with told(database, kept("s1"), kept("s2")) as (on, at), receiver() as fine:
        await on.store.create(kept("s3", endpoint=fine.url))
        at.answer = status(500)
        await on.change(report("r1"), Kind.CREATED)
        await on.count()
        for id in ("s1", "s2", "s3"):
            await on.step(id)
        on.clock.move(seconds=10)
        await on.step("s1")
        assert len(at.came) == 3
        assert not (await on.step("s2")).sent, "the circuit is open"
        assert len(at.came) == 3
        assert fine.told == [(1, "DiagnosticReport/r1", "created")]
        at.answer = status(200)
        on.clock.move(seconds=20)
        await on.settle("s2")
        await on.settle("s1")
        assert [one.status["notification-event"][0]["event-number"] for one in at.came[3:]] == ["1", "1"]


async def test_what_one_sends_wrongly_or_another_app_or_tenant_sends_holds_up_nobody(
    database: Database,
) -> None:
    app = Holder("app", "def", ("system/*.rs",), NOW)
    some = kept("s1"), kept("s2"), kept("s3", holder=app), kept("s1", tenant=OTHER)
    async with told(database, *some) as (on, at):
        grant = replace(on.access.kept["abc"], digest="def", client="app")
        on.access.kept["def"] = grant
        for tenant in (LAB, OTHER):
            await on.change(report("r1"), Kind.CREATED, tenant=tenant)
            await on.count(tenant)
        for answer, id, tenant, waits in (
            (401, "s1", LAB, False),
            (503, "s1", OTHER, False),
            (503, "s3", LAB, False),
            (503, "s1", LAB, True),
        ):
            at.answer = status(answer)
            for _ in range(3):
                on.clock.now = (await on.step(id, tenant)).at or on.clock.now
            await on.step(id, tenant)
            came = len(at.came)
            await on.step("s2")
            assert (len(at.came) == came) is waits, (answer, id, tenant)
            on.clock.move(seconds=120)
        every = [await on.get(id) for id in ("s1", "s2", "s3")]
        assert on.ports.circuits.open(every) == 2
        assert on.ports.circuits.open([]) == 0, "nobody is sent to"


async def test_a_subscription_with_nothing_to_say_does_not_probe_an_open_circuit(database: Database) -> None:
    async with told(database, kept("s1"), kept("s2", filters=("status=partial",))) as (on, at):
        at.answer = status(500)
        await on.change(report("r1"), Kind.CREATED)
        await on.count()
        for _ in range(3):
            step = await on.step("s1")
            assert step.at is not None
            on.clock.now = step.at
        assert await on.step("s2") == Step(None)
        at.answer = status(200)
        assert (await on.step("s1")).sent


async def test_why_the_last_attempt_failed_is_told_until_one_does_not(database: Database) -> None:
    async with told(database, kept()) as (on, at):
        at.answer = status(503)
        blocked = kept("inside", endpoint="https://10.0.0.1/hook")
        new = kept("new", endpoint="https://10.0.0.1/hook", status=Status.REQUESTED)
        await on.store.create(blocked)
        await on.store.create(new)
        await on.change(report("r1"), Kind.CREATED)
        await on.count()
        for id in ("s1", "inside", "new"):
            await on.step(id)
        failure = "the last attempt failed: "
        assert (await on.get()).problem == f"{failure}failed, status 503"
        assert "blocked: its address is not public" in (await on.get("inside")).problem
        [entry] = orjson.loads(
            status_searchset([await on.get("inside")], id="x", url="https://dod.example/$status")
        )["entry"]
        assert "blocked" in entry["resource"]["parameter"][-1]["valueCodeableConcept"]["text"]
        assert "blocked" in str(rendering.resource(await on.get("inside"))["error"])
        while (step := await on.step("new")).at is not None:
            on.clock.now = step.at
        assert ((await on.get("new")).status, "blocked" in (await on.get("new")).reason) == (
            Status.ERROR,
            True,
        )
        at.answer = status(200)
        await on.settle()
        assert (await on.get()).problem == ""


@pytest.mark.parametrize("changed", [{"filters": ("colour=red",)}, {"sealed": b"x" * 40}])
async def test_what_can_no_longer_be_read_ends_the_subscription(
    database: Database, changed: dict[str, Any]
) -> None:
    async with told(database, kept(**changed)) as (on, _):
        await on.change(report("r1"), Kind.CREATED)
        await on.count()
        assert await on.step() == Step(None)
        assert ((await on.get()).status, (await on.get()).reason) == (Status.ERROR, UNREADABLE)


async def test_no_event_is_left_out_while_the_database_cannot_say_who_may_hear_it(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away() -> Any:
        raise ServiceError(Category.UNAVAILABLE)

    async with told(database, kept()) as (on, at):
        await on.change(report("r1"), Kind.CREATED)
        with monkeypatch.context() as frozen:
            frozen.setattr(on.access, "grants", away)
            with pytest.raises(ServiceError):
                await on.count()
        on.clock.move(seconds=10)
        await on.count()
        await on.settle()
        assert at.told == [(1, "DiagnosticReport/r1", "created")]


async def test_events_that_are_remembered_are_not_read_to_be_sent(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def asked(*_: Any, **__: Any) -> Any:
        raise AssertionError

    async with told(database, kept()) as (on, at):
        for number in range(3):
            await on.change(report(f"r{number}"), Kind.CREATED)
        await on.count()
        run = Run(1, tuple(Occurrence(*event[1:]) for event in await on.told_to()))
        await on.database["outbox"].update_many({}, {"$set": {"expires_at": NOW}})
        monkeypatch.setattr(on.outbox, "events", asked)
        await on.delivery.step(await on.get(), [run])
        assert [number for number, _, _ in at.told] == [1, 2, 3]
