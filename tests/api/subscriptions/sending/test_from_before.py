"""Subscriptions that the version before kept go on where they were."""

from __future__ import annotations

from typing import TYPE_CHECKING

from store.changes.kinds import Kind
from tests.api.subscriptions.sending.told import told
from tests.support.fhir import report
from tests.support.store import OTHER
from tests.support.subscriptions import LAB, NOW, kept

if TYPE_CHECKING:
    from store.mongo.driver.client import Database
    from tests.support.subscriptions import Bench


async def as_before(on: Bench) -> None:
    """Keep the numbers where the version before kept them: in the document of each subscription."""
    for one in await on.store.every():
        progress = one.progress
        numbers = {"last": progress.last, "delivered": progress.delivered, "heard_at": progress.heard_at}
        change = {"$set": {f"progress.{name}": value for name, value in numbers.items()}}
        await on.database["subscriptions"].update_one({"_id": one.name}, change)
    for begin in ("position ", "delivered "):
        gone = {"$unset": {"last": "", "delivered": "", "heard": ""}}
        await on.database["outbox"].update_one({"_id": f"{begin}{LAB}"}, gone)


async def test_a_subscription_from_before_goes_on_where_it_was(database: Database) -> None:
    some = [kept("s1"), kept("s.2", filters=("status=partial",)), kept("new", tenant=OTHER)]
    async with told(database, *some) as (on, at):
        for number in range(3):
            await on.change(report(f"r{number}"), Kind.CREATED)
        await on.count()
        await on.store.acknowledged(await on.get("s1"), 1, at=NOW)
        before = await on.get("s1")
        await as_before(on)
        assert await on.get("s1") == before
        assert (before.progress.last, before.progress.delivered, before.progress.heard_at) == (3, 1, NOW)
        await on.change(report("r3"), Kind.CREATED)
        await on.count()
        await on.settle("s1")
        assert at.told == [(number, f"DiagnosticReport/r{number - 1}", "created") for number in (2, 3, 4)]
        of_old = {"_id": before.name, "progress.last": {"$exists": True}}
        assert not await database["subscriptions"].count_documents(of_old), "nobody counts on from there"
        assert (await on.get("s.2")).progress.last == 0
