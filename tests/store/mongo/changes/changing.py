"""Reports that change, and that are erased."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from store.changes.kinds import Kind
from store.mongo.driver.transaction import OpenTransaction, run
from store.mongo.retention.departures import Departure, note
from tests.support.store import LAB, NOW, metrics

if TYPE_CHECKING:
    from store.mongo.driver.client import Database


def report(resource_id: str = "r1", status: str = "final", **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "DiagnosticReport",
        "id": resource_id,
        "status": status,
        "code": {"text": "made up"},
        "subject": {"reference": "Patient/p1"},
        **more,
    }


async def erased(database: Database, resource_id: str) -> None:
    """Delete a resource as an erasure does."""
    [found] = await database["resources"].find({"_id": f"{LAB}/DiagnosticReport/{resource_id}"}).to_list(None)
    going = [Departure(found["_id"], found["type"], found["id"], found["version"])]

    async def work(transaction: OpenTransaction) -> None:
        await database["resources"].delete_one({"_id": found["_id"]}, session=transaction.session)
        await note(database, str(LAB), going, Kind.ERASED, now=NOW, session=transaction.session)

    await run(database.client, work, metrics=metrics(), seconds=10)
