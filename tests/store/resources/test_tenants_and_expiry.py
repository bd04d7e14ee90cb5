"""The port of resources: verbs keep to their tenant, and what has expired is neither read nor found."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from store.mongo.indexes import RESOURCES
from store.resources.versions import Outcome, Stored
from store.retention.policy import Policy
from store.tenancy import Tenant
from tests.store.resources.dated import MILLISECOND
from tests.support.fhir import (
    LOINC,
    MRN,
    identified,
    patient,
    report,
)
from tests.support.store import (
    LAB,
    NOW,
    OTHER,
    REPORT,
    asked,
    content,
    found,
    let,
    prepared,
    put,
)

if TYPE_CHECKING:
    from store.mongo.driver.client import Database
    from store.mongo.resources.resources import MongoResources

# --- tenants


async def test_every_verb_keeps_to_its_tenant(store: MongoResources) -> None:
    mine = patient("p1", identified(MRN, "1"))
    await put(store, report(), mine)
    assert await store.get(OTHER, REPORT) is None
    assert await store.get_version(OTHER, REPORT, 1) is None
    assert await store.delete(OTHER, REPORT) is None
    assert await store.candidates(OTHER, {"Patient": frozenset({"identifier=1"})}, limit=10) == []
    await store.relate(OTHER, dict.fromkeys(("p1", "p2"), frozenset[tuple[str, str]]()))
    assert await store.candidates(LAB, {"Patient": frozenset({"kin=p2"})}, limit=10) == []
    assert await store.versions(OTHER, [REPORT]) == {}
    for text in ("", "_id=r1", "patient=p1", "patient.identifier=1", "status=final"):
        assert await found(store, text, tenant=OTHER) == []
        assert await found(store, text) == ["r1"]
    theirs = await put(store, report(status="amended"), tenant=OTHER)
    assert (theirs[0].outcome, theirs[0].stored.version) == (Outcome.CREATED, 1)
    assert content(await store.get(LAB, REPORT))["status"] == "final"
    assert await store.delete(OTHER, REPORT) is not None
    assert isinstance(await store.get(LAB, REPORT), Stored)
    # The other tenant's report does not meet this one's patient.
    await put(store, report("theirs", "p1"), tenant=OTHER)
    assert await found(store, "patient.identifier=1", tenant=OTHER) == []


async def test_a_tenant_is_no_prefix_of_another(store: MongoResources) -> None:
    longer = Tenant("lab", "Staging")
    await put(store, report(), tenant=longer)
    assert await store.get(LAB, REPORT) is None
    assert await found(store, "") == []


async def test_late_content_of_two_tenants_in_one_commit(store: MongoResources) -> None:
    """A content that came late to one tenant is not the other's, though its id and bytes are the same."""
    early, newest = "2026-05-01T00:00:00.000000Z", "2026-05-02T00:00:00.000000Z"
    late = prepared(report(status="preliminary"), sourced=early)
    for tenant in (LAB, OTHER):
        await store.put_many(tenant, [prepared(report(), sourced=newest)])
    await store.put_many(LAB, [late])
    # What comes while the first is written is one commit.
    _, *answers = await asyncio.gather(
        put(store, report("r2")), *(store.put_many(tenant, [late]) for tenant in (LAB, OTHER))
    )
    assert [one.outcome for [one] in answers] == [Outcome.STALE, Outcome.STALE]
    for tenant in (LAB, OTHER):
        assert content(await store.get_version(tenant, REPORT, 2))["status"] == "preliminary"
        assert await store.get_version(tenant, REPORT, 3) is None


# --- expiry


async def test_the_expired_are_neither_read_nor_found(store: MongoResources, database: Database) -> None:
    await let(database, Policy(keep_days=3_650))  # Where there is none nothing ends, and nobody looks.
    await put(
        store,
        report(),
        report("kept"),
        patient("p1", identified(MRN, "1")),
        patient("p2", identified(MRN, "2")),
    )
    await put(store, report(status="amended"), report("late", "p2"))
    resources = database[RESOURCES]

    async def expire(id: str, moment: datetime) -> None:
        await resources.update_many({"id": id}, {"$set": {"expires_at": moment}})

    await expire("r1", NOW)
    await expire("p2", NOW - timedelta(days=1))
    await expire("kept", NOW + MILLISECOND)
    assert await store.get(LAB, REPORT) is None
    assert await store.get_version(LAB, REPORT, 2) is None
    assert await store.get_version(LAB, REPORT, 1) is None
    for text in ("", "patient=p1", "_id=r1,kept", f"code={LOINC}|58410-2", "patient.identifier=1"):
        assert "r1" not in await found(store, text)
        assert "kept" in await found(store, text)
    assert await found(store, "patient.identifier=2") == []
    assert await found(store, "patient=p2") == ["late"]
    assert (await store.search(LAB, asked("patient=p1", count=0))).total == 1


async def test_what_is_put_on_top_of_the_expired_can_be_read(
    store: MongoResources, database: Database
) -> None:
    await put(store, report())
    await database[RESOURCES].update_many({}, {"$set": {"expires_at": NOW}})
    await put(store, report())
    assert isinstance(await store.get(LAB, REPORT), Stored)
