"""A store in which much has expired, and what a sweep says of it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from store.dead_letters import Refused
from store.fhir.issues import Issue
from store.mongo.files import MongoAttachments
from store.mongo.letters.dead_letters import MongoDeadLetters
from store.resources.resource_keys import ResourceKey
from store.retention.policy import Policy
from store.settings import StoreSettings
from tests.store.mongo.test_files import new_file, refers_to
from tests.support.fhir import coded, patient, refers, report, resource
from tests.support.service import Clock
from tests.support.store import LAB, NOW, metrics, mongo_policies, put

if TYPE_CHECKING:
    from store.mongo.driver.client import Database
    from store.mongo.resources.resources import MongoResources
    from store.retention.receipts import Receipt
    from store.tenancy import Tenant

DAY = timedelta(days=1)


SECOND = timedelta(seconds=1)


OVER = NOW + 10 * DAY + SECOND
"""Versions of one moment are a millisecond apart."""


POLICY = Policy(keep_days=10, superseded_days=3)


def observation(id: str, of: str = "p1") -> dict[str, Any]:
    return resource("Observation", id, status="final", code=coded("1"), subject=refers(f"Patient/{of}"))


def results(*ids: str) -> list[dict[str, str]]:
    return [refers(f"Observation/{one}") for one in ids]


def refused(clock: Clock, body: bytes = b"{}") -> Refused:
    return Refused(
        operation="create",
        method="POST",
        path="Observation",
        headers={},
        origin="https://dod.example",
        client="lab",
        token_id="1234",
        scopes={},
        status=422,
        issues=(Issue("required", "an element is missing"),),
        body=body,
        at=clock(),
    )


async def fill(database: Database, store: MongoResources, clock: Clock, tenant: Tenant = LAB) -> None:
    """Resources of every kind: in ten days from now all of them have expired."""
    settings = StoreSettings(mongodb_database=database.name, dead_letter_days=9)
    files = MongoAttachments(database, settings=settings, clock=clock, metrics=metrics())
    letters = MongoDeadLetters(
        database, settings=settings, clock=clock, metrics=metrics(), policies=mongo_policies(database)
    )
    shared, own = new_file(b"shared"), new_file(b"own", number=1)
    await files.put(tenant, [shared, own])
    await put(store, patient(), patient("p2"), tenant=tenant)
    for number in range(5):
        await put(
            store,
            observation(f"o{number}"),
            report(f"r{number}", result=results(f"o{number}")),
            report(f"s{number}", "p2"),
            tenant=tenant,
        )
    await put(store, refers_to(shared, "f1"), refers_to(shared, "f2"), refers_to(own, "f3"), tenant=tenant)
    await put(store, report("r0", result=results("o0"), conclusion="second"), tenant=tenant)
    await put(store, report("f3", conclusion="without its file"), tenant=tenant)
    await store.delete(tenant, ResourceKey("DiagnosticReport", "r1"))
    for number in range(4):
        await letters.keep(tenant, refused(clock, b"%d" % number))
    await letters.drain()


# --- plan and run


def by_row(found: Any) -> dict[Any, int]:
    """Without the months."""
    counts: dict[Any, int] = {}
    for one, count in found.items():
        counts[one.row] = counts.get(one.row, 0) + count
    return counts


def as_planned(receipt: Receipt) -> dict[Any, int]:
    return {one.row: one.count for one in receipt.rows}
