"""Events that waited: what of them is told is what the subscriber may hear when they are sent."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from store.changes.kinds import Kind
from store.resources.resource_keys import ResourceKey
from store.subscriptions.records import Content, Status
from tests.api.subscriptions.sending.told import status, told
from tests.support.fhir import patient, report
from tests.support.store import put
from tests.support.subscriptions import LAB, kept

if TYPE_CHECKING:
    from store.mongo.driver.client import Database

CONTENTS = pytest.mark.parametrize("content", [Content.ID_ONLY, Content.FULL_RESOURCE])


@CONTENTS
@pytest.mark.parametrize("named", ["patient=Patient/p1", "patient.identifier=urn:mr|7"])
async def test_a_report_that_is_another_patients_by_then_is_its_number_alone(
    database: Database, named: str, content: Content
) -> None:
    async with told(database, kept(filters=(named,), content=content)) as (on, at):
        await on.change(patient("p1", {"system": "urn:mr", "value": "7"}), Kind.CREATED)
        for name in ("moved", "own", "deleted"):
            await on.change(report(name), Kind.CREATED)
        await on.count()
        await on.change(report("moved", "p2"), Kind.CORRECTED)
        await on.resources.delete(LAB, ResourceKey("DiagnosticReport", "deleted"))
        await on.settle()
        deleted = "DiagnosticReport/deleted" if content is Content.ID_ONLY else ""  # Its history is there.
        assert [key for _, key, _ in at.told] == ["", "DiagnosticReport/own", deleted]
        await on.count()
        await on.settle()
        assert at.told[3:] == [(4, "DiagnosticReport/moved", "unmatched")]


@CONTENTS
async def test_an_event_of_another_topic_is_its_number_alone(database: Database, content: Content) -> None:
    """The credential may read no reports by now: what was counted of them is nothing to name, nor to read
    by the id of a patient.
    """
    async with told(database, kept(content=content)) as (on, at):
        for name in ("r1", "r2"):
            await on.change(report(name), Kind.CREATED)
        on.changes.tell("DiagnosticReport/r2", Kind.DELETED, version=2)
        await on.count()
        await on.change(patient("r1"), Kind.CREATED)
        other = replace(await on.get(), version=2, topic="urn:data-on-demand:topic:Patient")
        assert await on.store.replace(other, instead_of=1)
        await on.count()
        await on.settle()
        assert at.told == [(1, "", ""), (2, "", ""), (3, "", ""), (4, "Patient/r1", "created")]


async def test_receivers_may_go_by_the_id_of_a_notification(database: Database) -> None:
    """The same in each attempt; another one's of the same Subscription, made anew with numbers from 1 on."""
    first = kept(status=Status.REQUESTED)
    async with told(database, first) as (on, at):
        for attempt in range(2):
            if attempt:
                await on.store.delete(LAB, "s1")
                on.clock.move(seconds=1)
                now, start = on.clock.now, await on.changes.head(LAB)
                channel = replace(first.channel, endpoint=at.url)
                anew = replace(first, created=now, updated=now, start=start, channel=channel)
                assert await on.store.create(anew)
            await on.change(report(f"r{attempt}"), Kind.CREATED)
            await on.count()
            await on.step()
            at.answer = status(500)
            await on.step()
            at.answer = status(200)
            on.clock.move(seconds=10)
            await on.step()
        ids = [one.headers["webhook-id"] for one in at.came]
        assert [one.kind for one in at.came] == ["handshake", *["event-notification"] * 2] * 2
        assert (ids[1], ids[4]) == (ids[2], ids[5])
        assert len(set(ids)) == 4


@pytest.mark.parametrize("name", ["s1", "a.1733011200.b"])
async def test_a_notification_that_was_tried_is_the_same_again(database: Database, name: str) -> None:
    """Later events belong to the next one: a receiver whose answer was lost knows the first by its id."""
    async with told(database, kept(name)) as (on, at):
        for attempt in range(3):
            at.answer = status(500 if attempt < 2 else 200)
            await on.change(report(f"r{attempt}"), Kind.CREATED)
            await on.count()
            on.clock.move(seconds=10)
            await on.step(name)
        await on.settle(name)
        shown = [[number for number, _, _ in one.events] for one in at.came]
        assert shown == [[1], [1], [1], [2, 3]]
        ids = [one.headers["webhook-id"] for one in at.came]
        assert ids[0] == ids[1] == ids[2] != ids[3]
        assert not any("." in one for one in ids), "Standard Webhooks: it may hold no full stop"


async def test_behind_a_scan_who_wants_new_reports_hears_of_those_that_it_did_not_know(
    database: Database,
) -> None:
    """A scan finds the last version of a report alone: one that came and was corrected since is new."""
    created = "urn:data-on-demand:topic:DiagnosticReport-created"
    async with told(database, kept(topic=created)) as (on, at):
        await on.change(report("known"), Kind.CREATED)
        await on.count()
        for name in ("known", "came"):
            await put(on.resources, report(name, status="corrected"))
            on.changes.tell(f"DiagnosticReport/{name}", Kind.CORRECTED, version=2)
            on.changes.changes[LAB][-1] = on.changes.changes[LAB][-1]._replace(scanned=True)
        on.changes.tell("DiagnosticReport/came", Kind.UPDATED, version=3)
        await on.count()
        await on.settle()
        assert [(key, change) for _, key, change in at.told] == [
            ("DiagnosticReport/known", "created"),
            ("DiagnosticReport/came", "corrected"),
        ]
