"""Deliveries step by step: a receiver that fails, hangs, is slow, is gone; whoever takes over; what is told.

On a real MongoDB and a real receiver; the clock is the test's.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from aiohttp import web

from api.subscriptions.counting import FULL, GAP
from api.subscriptions.holders import LOST, UNREADABLE, Holders
from api.subscriptions.interactions import rendering
from api.subscriptions.secrets import OAuthClient, Sealed, seal
from api.subscriptions.sending.delivery import GIVEN_UP, GONE, OVER, Step
from api.subscriptions.sending.notification import status_searchset
from store.changes.changes import Position
from store.changes.kinds import Kind
from store.clients import Client
from store.errors import Category, ServiceError
from store.resources.resource_keys import ResourceKey
from store.retention.runs import LeaseLost
from store.subscriptions.records import Content, Form, Holder, Status
from tests.support.fhir import patient, refers, report, resource
from tests.support.receiver import receiver
from tests.support.store import OTHER
from tests.support.subscriptions import LAB, NOW, ROOT, bench, kept

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from store.mongo.driver.client import Database
    from store.subscriptions.records import Subscription
    from tests.support.receiver import Came, Receiver
    from tests.support.subscriptions import Bench


@asynccontextmanager
async def told(
    database: Database, *some: Subscription, **changed: Any
) -> AsyncIterator[tuple[Bench, Receiver]]:
    """A bench with a receiver, and these subscriptions at its address."""
    async with bench(database, **changed) as on, receiver() as at:
        for one in some:
            await on.store.create(replace(one, channel=replace(one.channel, endpoint=at.url)))
        yield on, at


def status(number: int) -> Any:
    return lambda _: web.Response(status=number)


def answers(**told: Any) -> Any:
    return lambda _: web.Response(**told)


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
        last = at.of("event-notification")[-1]
        assert last.events == [(1, "DiagnosticReport/r1", "created"), (2, "DiagnosticReport/r1", "corrected")]
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
        assert (await on.step()).at is None
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
        before = await on.get()
        await on.step()
        await database["subscriptions"].update_one({"_id": before.name}, {"$set": {"progress.delivered": 0}})
        await on.change(report("r2"), Kind.CREATED)
        await on.count()
        await on.settle()
        assert [number for number, _, _ in at.told] == [1, 1, 2]


async def test_a_lost_race_for_the_lease_counts_nothing_twice(database: Database) -> None:
    async with told(database, kept()) as (on, at):
        await on.change(report("r1"), Kind.CREATED)
        frozen = await on.outbox.take()
        assert frozen is not None
        on.clock.move(seconds=7)
        await on.count()
        with pytest.raises(LeaseLost):
            await on.counting.page(frozen, LAB, [await on.get()], Position(0))
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


async def test_what_one_sends_wrongly_or_sends_of_another_tenant_holds_up_nobody(database: Database) -> None:
    async with told(database, kept("s1"), kept("s2"), kept("s1", tenant=OTHER)) as (on, at):
        for tenant in (LAB, OTHER):
            await on.change(report("r1"), Kind.CREATED, tenant=tenant)
            await on.count(tenant)
        for answer, tenant, waits in ((401, LAB, False), (503, OTHER, False), (503, LAB, True)):
            at.answer = status(answer)
            for _ in range(3):
                on.clock.now = (await on.step("s1", tenant)).at or on.clock.now
            await on.step("s1", tenant)
            came = len(at.came)
            await on.step("s2")
            assert (len(at.came) == came) is waits, (answer, tenant)
            on.clock.move(seconds=120)
        every = [await on.get(id) for id in ("s1", "s2")]
        assert on.ports.circuits.open(every) == 1
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


# --- who hears of what


async def test_filters_are_our_search_on_the_index_side(database: Database) -> None:
    filters = {
        "patient": ("patient=Patient/p1",),
        "status": ("DiagnosticReport?status=final",),
        "both": ("patient=Patient/p1", "status=final"),
        "not": ("status:not=final",),
        "date": ("date=ge2026-06",),
        "identifier": ("patient.identifier=urn:mr|7",),
        "code": ("code=http://loinc.org|58410-2",),
        "all": (),
    }
    some = [kept(name, filters=asked) for name, asked in filters.items()]
    async with told(database, *some) as (on, _):
        await on.change(patient("p1", {"system": "urn:mr", "value": "7"}), Kind.CREATED)
        await on.change(report("r1", effectiveDateTime="2026-07-01"), Kind.CREATED)
        await on.change(report("r2", status="partial", effectiveDateTime="2026-01-01"), Kind.CREATED)
        await on.change(report("r3", "p2", effectiveDateTime="2026-07-01"), Kind.CREATED)
        await on.count()
        heard = {
            name: sorted(
                event.key.removeprefix("DiagnosticReport/")
                for event in await on.outbox.events(LAB, name, after=0, limit=10)
            )
            for name in filters
        }
        assert heard == {
            "patient": ["r1", "r2"],
            "status": ["r1", "r3"],
            "both": ["r1"],
            "not": ["r2"],
            "date": ["r1", "r3"],
            "identifier": ["r1", "r2"],
            "code": ["r1", "r2", "r3"],
            "all": ["r1", "r2", "r3"],
        }


async def test_topics_of_new_reports_and_of_completion(database: Database) -> None:
    topic = "urn:data-on-demand:topic:DiagnosticReport"
    some = (kept("new", topic=f"{topic}-created"), kept("done", topic=f"{topic}-completed"))
    async with told(database, *some) as (on, _):
        await on.change(report("r1", status="registered"), Kind.CREATED)
        await on.change(report("r1", status="partial"), Kind.UPDATED)
        await on.change(report("r1", status="final"), Kind.UPDATED)
        await on.count()
        for name, changes in (("new", ["created"]), ("done", ["created", "updated", "updated"])):
            events = await on.outbox.events(LAB, name, after=0, limit=10)
            assert [event.change for event in events] == changes


async def test_what_a_backfill_stores_is_told_to_those_alone_who_knew_of_it(database: Database) -> None:
    async with told(database, kept(filters=("status=final,corrected",))) as (on, at):
        await on.change(report("old"), Kind.CREATED, quiet=True)
        await on.change(report("known"), Kind.CREATED)
        await on.count()
        await on.change(report("known", status="corrected"), Kind.CORRECTED, quiet=True)
        await on.change(report("old", status="corrected"), Kind.CORRECTED, quiet=True)
        await on.count()
        await on.change(report("known", status="entered-in-error"), Kind.ENTERED_IN_ERROR, quiet=True)
        await on.change(report("old", conclusion="live", status="corrected"), Kind.CORRECTED)
        await on.count()
        await on.settle()
        assert at.told == [
            (1, "DiagnosticReport/known", "created"),
            (2, "DiagnosticReport/known", "corrected"),
            (3, "DiagnosticReport/known", "unmatched"),
            (4, "DiagnosticReport/old", "corrected"),
        ]


async def test_who_was_told_of_a_report_is_told_that_it_went_or_no_longer_fits(database: Database) -> None:
    async with told(
        database, kept("p1", filters=("patient=Patient/p1",)), kept("p2", filters=("patient=Patient/p2",))
    ) as (on, at):
        await on.change(report("r1"), Kind.CREATED)
        await on.change(report("r2"), Kind.CREATED)
        await on.count()
        await on.change(report("r1", "p2"), Kind.CORRECTED)
        await on.change(report("r1", "p2", conclusion="more"), Kind.UPDATED)
        await on.count()
        await on.resources.delete(LAB, ResourceKey("DiagnosticReport", "r2"))
        on.changes.tell("DiagnosticReport/r2", Kind.DELETED, version=2)
        on.changes.tell("DiagnosticReport/r9", Kind.DELETED, version=2)
        await on.count()
        await on.settle("p1")
        assert at.told == [
            (1, "DiagnosticReport/r1", "created"),
            (2, "DiagnosticReport/r2", "created"),  # Deleted by now: its history is there.
            (3, "DiagnosticReport/r1", "unmatched"),
            (4, "DiagnosticReport/r2", "deleted"),
        ]
        at.came.clear()
        await on.settle("p2")
        assert [change for _, _, change in at.told] == ["corrected", "updated"]


async def test_nothing_of_an_erased_patient_is_sent_but_that_it_was_erased(database: Database) -> None:
    secret = "Erased-Name"
    some = (kept("full", content=Content.FULL_RESOURCE), kept("ids"), kept("none", content=Content.EMPTY))
    async with told(database, *some) as (on, at):
        await on.change(report("r1", conclusion=secret), Kind.CREATED)
        await on.change(report("r2"), Kind.CREATED)
        await on.count()
        await database["resources"].delete_one({"id": "r1"})
        for name in ("full", "ids", "none"):
            await on.settle(name)
        assert [number for number, _, _ in at.told] == [1, 2] * 3, "numbers have no gap"
        assert all(b"r1" not in one.body and secret.encode() not in one.body for one in at.came)
        on.changes.tell("DiagnosticReport/r1", Kind.ERASED)
        await on.count()
        await on.settle("ids")
        assert at.told[-1] == (3, "DiagnosticReport/r1", "erased")
        stored = [str(one) async for one in database["outbox"].find({"first": 1})]
        assert all("DiagnosticReport/r1" not in one for one in stored)


async def test_content_is_what_the_subscriber_may_read_when_it_is_sent(database: Database) -> None:
    scopes = ("system/DiagnosticReport.rs?category=laboratory",)
    narrow = kept(content=Content.FULL_RESOURCE, holder=Holder("narrow", "key k1", scopes, NOW))
    laboratory = [{"coding": [{"code": "laboratory"}]}]
    async with told(database, narrow) as (on, at):
        client = Client("narrow", "", (LAB,), ("system/*.rs",), NOW, NOW - timedelta(days=1), revision=1)
        on.clients.kept["narrow"] = client
        await on.change(report("r1", category=laboratory, conclusion="ours"), Kind.CREATED)
        await on.change(report("r2", conclusion="theirs"), Kind.CREATED)
        await on.change(report("r3", category=laboratory, conclusion="ours"), Kind.CREATED)
        await on.count()
        await on.change(report("r3", conclusion="theirs now"), Kind.UPDATED)
        await on.settle()
        [one] = at.of("event-notification")
        assert one.events == [(1, "DiagnosticReport/r1", "created"), (2, "", "")]
        assert b"theirs" not in one.body
        [entry] = one.json["entry"][1:]
        assert entry["resource"]["conclusion"] == "ours"
        assert entry["request"] == {"method": "POST", "url": "DiagnosticReport"}
        # The client is disabled: not a word more, whatever was counted.
        on.clients.kept["narrow"] = replace(client, disabled_at=on.clock.now)
        await on.change(report("r4", category=laboratory), Kind.CREATED)
        await on.count()
        await on.settle()
        found = await on.get()
        assert (found.status, found.reason) == (Status.ERROR, LOST)
        assert len(at.came) == 1


async def test_a_credential_that_was_lost_in_silence_ends_its_subscription_at_the_next_change(
    database: Database,
) -> None:
    client = Client("app", "", (LAB,), ("system/Patient.rs",), NOW, NOW - timedelta(days=1), revision=1)
    cut = kept("cut", holder=Holder("app", "key k1", ("system/DiagnosticReport.rs",), NOW))
    async with told(database, kept("revoked"), cut) as (on, at):
        on.clients.kept["app"] = client
        on.access.kept.clear()
        await on.change(report("r1"), Kind.CREATED)
        await on.count()
        for id in ("revoked", "cut"):
            assert ((await on.get(id)).status, (await on.get(id)).reason) == (Status.ERROR, LOST)
        assert at.came == []


@pytest.mark.parametrize("how", ["revoked", "expired", "moved", "rotated", "cut"])
async def test_a_credential_that_lost_the_tenant_hears_nothing_more(database: Database, how: str) -> None:
    client = Client("app", "", (LAB,), ("system/*.rs",), NOW, NOW - timedelta(days=1), revision=1)
    token = kept("token")
    registered = kept("client", holder=Holder("app", "key k1", ("system/DiagnosticReport.rs",), NOW))
    async with told(database, token, registered) as (on, at):
        on.clients.kept["app"] = client
        await on.change(report("r1"), Kind.CREATED)
        await on.count()
        if how == "revoked":
            on.access.kept.clear()
            on.clients.kept["app"] = replace(client, disabled_at=NOW)
        elif how == "expired":
            on.clock.move(days=31)
            on.clients.kept.clear()
        elif how == "moved":
            on.access.kept["abc"] = replace(on.access.kept["abc"], tenants=())
            on.clients.kept["app"] = replace(client, tenants=())
        elif how == "rotated":
            on.access.kept.clear()
            on.clients.kept["app"] = replace(client, tokens_since=NOW)
        else:
            on.access.kept.clear()
            on.clients.kept["app"] = replace(client, scopes=("system/Patient.rs",))
        for id in ("token", "client"):
            await on.settle(id)
            assert ((await on.get(id)).status, (await on.get(id)).reason) == (Status.ERROR, LOST)
        assert at.came == []


async def test_a_token_that_was_issued_a_moment_ago_is_known(database: Database) -> None:
    """Grants are remembered for a moment; one that is not among them is looked for anew."""
    async with told(database, kept("old")) as (on, at):
        holders = Holders(on.access, on.clients, clock=on.clock, seconds=60)
        assert await holders.reach(await on.get("old")) is not None
        on.access.kept["new"] = replace(on.access.kept["abc"], digest="new", client="app")
        fresh = kept("new", holder=Holder("app", "new", ("system/*.rs",), NOW))
        assert await holders.reach(fresh) is not None
        on.clients.kept["late"] = Client("late", "", (LAB,), ("system/*.rs",), NOW, NOW - timedelta(days=1))
        late = kept("late", holder=Holder("late", "key k1", ("system/*.rs",), NOW))
        assert await holders.reach(late) is not None
        assert at.came == []


async def test_the_end_of_a_subscription_and_a_pause(database: Database) -> None:
    async with told(database, kept(ends=NOW + timedelta(hours=1))) as (on, at):
        await on.store.pause(LAB, "s1", paused=True)
        await on.change(report("r1"), Kind.CREATED)
        await on.count()
        await on.settle()
        assert at.came == []
        await on.store.pause(LAB, "s1", paused=False)
        await on.settle()
        assert len(at.told) == 1
        await on.store.rewind(LAB, "s1", 0)
        await on.settle()
        assert [number for number, _, _ in at.told] == [1, 1]
        await on.store.pause(LAB, "s1", paused=True)
        assert await on.step() == Step(NOW + timedelta(hours=1))
        on.clock.move(hours=1)
        await on.settle()
        assert ((await on.get()).status, (await on.get()).reason) == (Status.OFF, OVER)


async def test_content_is_on_record_before_it_leaves_and_references_need_no_record(
    database: Database,
) -> None:
    async with told(database, kept("full", content=Content.FULL_RESOURCE), kept("ids")) as (on, at):
        await on.change(report("r1"), Kind.CREATED)
        await on.count()
        on.trail.fails = True
        with pytest.raises(ServiceError):
            await on.step("full")
        assert at.came == []
        on.trail.fails = False
        await on.settle("full")
        await on.settle("ids")
        [record] = on.trail.records
        assert (record.did, record.by, record.resource) == ("notification", "tests", "Subscription/full")
        assert record.patients == ("Patient/p1",)


async def test_what_is_held_past_its_end_is_not_told(database: Database) -> None:
    """A hold keeps it from being deleted; it is not served for that."""
    async with told(database, kept("full", content=Content.FULL_RESOURCE, filters=("status=final",))) as (
        on,
        at,
    ):
        await on.change(report("r1", conclusion="held"), Kind.CREATED)
        await on.count()
        await on.change(report("r2", conclusion="held"), Kind.CREATED)
        over = {"$set": {"expires_at": on.clock.now}}
        await database["resources"].update_many({"type": "DiagnosticReport"}, over)
        await on.count()
        await on.settle("full")
        assert at.told == [(1, "", "")]
        assert all(b"held" not in one.body for one in at.came)


# --- bounds


async def test_notifications_are_bounded_in_events_and_bytes(database: Database) -> None:
    full = kept("full", content=Content.FULL_RESOURCE)
    async with told(database, full, kept("few", max_count=2), batch_max=4, bytes_max=4_000) as (on, at):
        for number in range(6):
            await on.change(report(f"r{number}", conclusion="x" * 1_500), Kind.CREATED)
        await on.count()
        await on.settle("few")
        assert [len(one.events) for one in at.came] == [2, 2, 2]
        at.came.clear()
        await on.settle("full")
        assert [number for number, _, _ in at.told] == [1, 2, 3, 4, 5, 6]
        assert all(len(one.body) < 6_000 for one in at.came)
        assert [len(one.json["entry"]) - 1 for one in at.came] == [len(one.events) for one in at.came]


async def test_a_queue_that_is_full_ends_the_subscription_and_says_so(database: Database) -> None:
    async with told(database, kept("s1"), kept("s2"), queue_max=3) as (on, _):
        for number in range(3):
            await on.change(report(f"r{number}"), Kind.CREATED)
        await on.count()
        await on.settle("s2")
        await on.change(report("r3"), Kind.CREATED)
        await on.count()
        assert ((await on.get("s1")).status, (await on.get("s1")).reason) == (Status.OFF, FULL)
        assert (await on.get("s2")).progress.last == 4


async def test_changes_that_were_lost_are_told_as_an_error(database: Database) -> None:
    async with told(database, kept()) as (on, _):
        on.changes.lost = True
        own = await on.outbox.take()
        assert own is not None
        on.changes.tell("DiagnosticReport/r1", Kind.CREATED)
        after, counts = await on.counting.page(own, LAB, [await on.get()], Position(0))
        assert (after, counts) == (Position(1), {})
        assert ((await on.get()).status, (await on.get()).reason) == (Status.ERROR, GAP)
        await own.release()


async def test_events_that_are_no_longer_kept_do_not_hold_up_the_next_ones(database: Database) -> None:
    async with told(database, kept()) as (on, at):
        await on.change(report("r1"), Kind.CREATED)
        await on.count()
        await database["outbox"].delete_many({"first": 1})
        await on.change(report("r2"), Kind.CREATED)
        await on.count()
        await on.settle()
        assert at.told == [(2, "DiagnosticReport/r2", "created")]


# --- authorisation at the receiver


async def test_a_receiver_is_shown_its_headers_and_a_token_of_its_own_server(database: Database) -> None:
    async with bench(database) as on, receiver() as at:
        tokens = iter(["first", "second"])

        def answer(came: Came) -> web.StreamResponse:
            if came.path == "/token":
                return web.json_response({"access_token": next(tokens), "expires_in": 100})
            return web.Response(status=401 if came.headers.get("authorization") == "Bearer first" else 200)

        at.answer = answer
        client = OAuthClient(str(at.server.make_url("/token")), "me", "s3cret", "push")
        sealed = seal(ROOT, f"{LAB}/s1", Sealed((("X-Route", "one"),), client))
        await on.store.create(kept(endpoint=at.url, sealed=sealed))
        await on.change(report("r1"), Kind.CREATED)
        await on.count()
        await on.step()
        on.clock.move(seconds=10)
        await on.step()
        assert [one.path for one in at.came] == ["/token", "/hook", "/token", "/hook"]
        assert at.came[0].body == b"grant_type=client_credentials&scope=push"
        assert at.came[3].headers["authorization"] == "Bearer second"
        assert at.came[3].headers["x-route"] == "one"
        assert (await on.get()).progress.delivered == 1
        await on.store.rewind(LAB, "s1", 0)
        for answered, said in (
            ({"status": 400}, "no token: refused, status 400"),
            ({"text": "[]"}, "no token: its answer has no `access_token`"),
            ({"text": '{"access_token": "x", "expires_in": "nan"}'}, "no token: its answer"),
        ):
            at.answer = answers(**answered)
            on.clock.move(hours=1)
            came = len(at.came)
            await on.step()
            assert [one.path for one in at.came[came:]] == ["/token"]
            assert said in (await on.get()).problem
        assert on.ports.circuits.open([await on.get()]) == 0, "the receiver itself was not asked"


# --- upstream's messages


async def test_upstreams_light_message_has_identifiers_time_and_references(
    database: Database,
) -> None:
    """The destination is verified first, by its challenge."""
    sealed = seal(ROOT, f"{LAB}/up", Sealed((("verification-token", "t0ken"),)))
    light = kept("up", status=Status.REQUESTED, form=Form.LIGHT, sealed=sealed, holder=None, resource=b"")
    async with told(database, light) as (on, at):
        at.answer = lambda _: web.Response(text="something else")
        assert (await on.step("up")).at == NOW + timedelta(seconds=10)
        at.answer = lambda came: (
            web.json_response({"challenge": orjson.loads(came.body)["challenge"]})
            if b"challenge" in came.body
            else web.Response()
        )
        on.clock.move(seconds=10)
        identifier = {"system": "urn:mr", "value": "7"}
        await on.change(patient("p1", identifier, name=[{"family": "Secret"}]), Kind.CREATED)
        await on.change(report("r1", conclusion="secret result"), Kind.CREATED)
        await on.count()
        await on.settle("up")
        assert (await on.get("up")).status is Status.ACTIVE
        assert orjson.loads(at.came[1].body)["verification-token"] == "t0ken"
        message = at.came[-1].json
        assert (message["type"], at.came[-1].headers["verification-token"]) == ("message", "t0ken")
        header, person = (entry["resource"] for entry in message["entry"])
        assert header["resourceType"] == "MessageHeader"
        assert header["eventUri"] == "urn:data-on-demand:event:DiagnosticReport-created"
        references = [one["reference"].rpartition("Production/")[2] for one in header["focus"]]
        assert references == ["DiagnosticReport/r1", "Patient/p1"]
        assert person == {"resourceType": "Patient", "id": "p1", "identifier": [identifier]}
        assert b"ecret" not in at.came[-1].body
        assert message["timestamp"] == "2026-11-22T12:00:10.000Z"


async def test_upstreams_detailed_message_has_the_resources(database: Database) -> None:
    detailed = kept("up", form=Form.DETAILED, holder=None, resource=b"")
    async with told(database, detailed) as (on, at):
        await on.change(patient("p1"), Kind.CREATED)
        await on.change(resource("Observation", "o1", status="final", code={"text": "x"}), Kind.CREATED)
        await on.change(report("r1", result=[refers("Observation/o1")]), Kind.CREATED)
        await on.count()
        await on.settle("up")
        [message] = [one.json for one in at.came]
        kinds = [entry["resource"]["resourceType"] for entry in message["entry"]]
        assert kinds == ["MessageHeader", "Patient", "DiagnosticReport", "Observation"]
        await on.resources.delete(LAB, ResourceKey("DiagnosticReport", "r1"))
        on.changes.tell("DiagnosticReport/r1", Kind.DELETED, version=2)
        await on.count()
        await on.settle("up")
        [entry] = at.came[-1].json["entry"]
        assert entry["resource"]["eventUri"].endswith("DiagnosticReport-deleted")
        assert entry["resource"]["focus"][0]["reference"].endswith("DiagnosticReport/r1")
