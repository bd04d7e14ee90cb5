"""Hearers of changes: filters, topics, what is still readable, and credentials that were lost."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from api.subscriptions.holders import LOST, Holders
from api.subscriptions.sending.delivery import FRESH_SECONDS, OVER, Step
from store.changes.kinds import Kind
from store.clients import Client
from store.errors import ServiceError
from store.resources.resource_keys import ResourceKey
from store.subscriptions.records import Content, Holder, Status
from tests.api.subscriptions.sending.told import told
from tests.support.fhir import patient, report
from tests.support.subscriptions import LAB, NOW, kept

if TYPE_CHECKING:
    from store.mongo.driver.client import Database

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
            name: sorted(event.key.removeprefix("DiagnosticReport/") for event in await on.told_to(name))
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
            events = await on.told_to(name)
            assert [event.change for event in events] == changes


async def test_what_a_backfill_stores_is_told_to_those_alone_who_knew_of_it(database: Database) -> None:
    async with told(database, kept(filters=("status=final,corrected",))) as (on, at):
        await on.change(report("old"), Kind.CREATED, quiet=True)
        await on.change(report("known"), Kind.CREATED)
        await on.count()
        await on.settle()
        await on.change(report("known", status="corrected"), Kind.CORRECTED, quiet=True)
        await on.change(report("old", status="corrected"), Kind.CORRECTED, quiet=True)
        await on.count()
        await on.settle()
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
        await on.settle("p1")
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
            (2, "DiagnosticReport/r2", "created"),
            (3, "DiagnosticReport/r1", "unmatched"),
            (4, "DiagnosticReport/r2", "deleted"),
        ]
        at.came.clear()
        await on.settle("p2")
        assert [change for _, _, change in at.told] == ["corrected", "updated"]


async def test_what_was_read_long_before_it_would_be_sent_is_read_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process stood still in between, and somebody was erased meanwhile."""
    async with told(database, kept("full", content=Content.FULL_RESOURCE)) as (on, at):
        await on.change(report("r1", conclusion="Erased-Name"), Kind.CREATED)
        await on.count()
        note, now = on.ports.disclosures.note, [0.0]

        async def frozen(*told: Any) -> None:
            await note(*told)
            if not now[0]:
                now[0] += FRESH_SECONDS + 1
                await database["resources"].delete_one({"id": "r1"})

        monkeypatch.setattr(on.ports.disclosures, "note", frozen)
        monkeypatch.setattr(on.delivery, "_monotonic", lambda: now[0])
        await on.settle("full")
        assert at.told == []
        on.clock.move(seconds=1)
        await on.settle("full")
        assert [number for number, _, _ in at.told] == [1]
        assert all(b"Erased-Name" not in one.body for one in at.came)


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
