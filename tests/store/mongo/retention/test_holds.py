"""Resources that a hold names; nothing else is held."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from store.errors import Category, ServiceError
from store.mongo.indexes import HISTORY, RESOURCES
from store.mongo.retention.holds import MongoHolds
from store.resources.resource_keys import ResourceKey
from store.retention.holds import Hold, HoldKind
from store.settings import StoreSettings
from tests.support.fhir import MRN, identified, patient, refers, report, resource
from tests.support.store import LAB, NOW, OTHER, metrics, mongo_store, put

if TYPE_CHECKING:
    from store.mongo.driver.client import Database, Session

ANNA = identified(MRN, "A-1")
BERT = identified(MRN, "B-2")


def hold(kind: HoldKind, subject: str = "", **changed: Any) -> Hold:
    return Hold(**{
        "id": "h1",
        "tenant": LAB,
        "kind": kind,
        "subject": subject,
        "reason": "litigation",
        "placed_at": NOW,
        "by": "tests",
        **changed,
    })  # fmt: skip


def holds_of(database: Database) -> MongoHolds:
    return MongoHolds(database, settings=StoreSettings(), metrics=metrics())


@pytest.fixture
async def holds(database: Database) -> MongoHolds:
    store = mongo_store(database)
    await put(
        store,
        patient("a", ANNA),
        patient("b", BERT),
        report("ra", "a", category=[{"coding": [{"system": "urn:c", "code": "LAB"}]}]),
        report("rb", "b"),
        report("logical", None, subject={"identifier": ANNA}),
        resource("Observation", "oa", status="final", code={"text": "x"}, subject=refers("Patient/a")),
        report("gone", "a"),
    )
    await put(store, report("ra", "a", conclusion="amended"))
    await store.delete(LAB, ResourceKey("DiagnosticReport", "gone"))
    await put(store, report("ra", "a"), tenant=OTHER)
    # What the store will say of past versions.
    await database[HISTORY].update_many(
        {"id": {"$in": ["ra", "gone"]}}, {"$set": {"of": ["patient=Patient/a"]}}
    )
    return holds_of(database)


async def held(holds: MongoHolds, database: Database, **at: Any) -> set[str]:
    """Names of what is held in the tenant, past versions with their number."""
    documents = [
        document
        for name in (RESOURCES, HISTORY)
        for document in await database[name].find({"tenant": str(LAB)}, {"raw": 0}).to_list(None)
    ]
    found = await holds.held(LAB, documents, at.get("now", NOW))
    return {one.removeprefix(f"{LAB}/") for one in found}


ALL_OF_ANNA = {
    "Patient/a",
    "DiagnosticReport/ra",
    "DiagnosticReport/ra/1",
    "DiagnosticReport/gone/1",
    "Observation/oa",
}


@pytest.mark.parametrize(
    ("kind", "subject", "expected"),
    [
        (HoldKind.PATIENT, f"{MRN}|A-1", ALL_OF_ANNA | {"DiagnosticReport/logical"}),
        (HoldKind.PATIENT, "Patient/a", ALL_OF_ANNA),
        (HoldKind.PATIENT, f"{MRN}|nobody", set()),
        (HoldKind.PATIENT, "urn:other|A-1", set()),
        (HoldKind.RESOURCE, "DiagnosticReport/ra", {"DiagnosticReport/ra", "DiagnosticReport/ra/1"}),
        (HoldKind.RESOURCE, "DiagnosticReport/gone", {"DiagnosticReport/gone", "DiagnosticReport/gone/1"}),
        (HoldKind.QUERY, "DiagnosticReport?category=LAB", set()),
        (HoldKind.QUERY, "DiagnosticReport?patient=b", {"DiagnosticReport/rb"}),
        (
            HoldKind.QUERY,
            f"DiagnosticReport?patient.identifier={MRN}|A-1",
            {"DiagnosticReport/ra", "DiagnosticReport/ra/1", "DiagnosticReport/logical"},
        ),
        (HoldKind.QUERY, "DiagnosticReport?_lastUpdated=lt2000", set()),
    ],
)
async def test_a_hold_covers_what_it_names(
    holds: MongoHolds, database: Database, kind: HoldKind, subject: str, expected: set[str]
) -> None:
    await holds.add(hold(kind, subject))
    assert await held(holds, database) == expected
    assert not await holds.whole_tenant(LAB, NOW)


async def test_a_tenant_hold_covers_everything_of_the_tenant(holds: MongoHolds, database: Database) -> None:
    await holds.add(hold(HoldKind.TENANT))
    assert await holds.whole_tenant(LAB, NOW)
    assert not await holds.whole_tenant(OTHER, NOW)
    assert len(await held(holds, database)) == 9


async def test_a_hold_sees_what_has_expired(holds: MongoHolds, database: Database) -> None:
    await database[RESOURCES].update_many({}, {"$set": {"expires_at": NOW - timedelta(days=1)}})
    await holds.add(hold(HoldKind.QUERY, f"DiagnosticReport?patient.identifier={MRN}|B-2"))
    assert await held(holds, database) == {"DiagnosticReport/rb"}


async def test_a_patient_stays_held_when_its_resource_is_deleted(
    holds: MongoHolds, database: Database
) -> None:
    await holds.add(hold(HoldKind.PATIENT, f"{MRN}|A-1"))
    await mongo_store(database).delete(LAB, ResourceKey("Patient", "a"))
    assert await held(holds, database) == {*ALL_OF_ANNA, "DiagnosticReport/logical", "Patient/a/1"}


async def test_a_hold_ends_by_itself_or_by_release(holds: MongoHolds, database: Database) -> None:
    await holds.add(hold(HoldKind.RESOURCE, "Patient/a", expires_at=NOW + timedelta(days=1)))
    await holds.add(hold(HoldKind.RESOURCE, "Patient/b", id="h2"))
    assert await held(holds, database) == {"Patient/a", "Patient/b"}
    assert await held(holds, database, now=NOW + timedelta(days=1)) == {"Patient/b"}
    ended = await holds.release("h2", now=NOW, by="tests", reason="settled")
    assert ended.released_at == NOW
    assert await held(holds, database) == {"Patient/a"}
    assert [one.id for one in await holds.listed(LAB)] == ["h1", "h2"]


@pytest.mark.parametrize(("hold_id", "category"), [("h1", Category.CONFLICT), ("other", Category.NOT_FOUND)])
async def test_only_what_holds_is_released(holds: MongoHolds, hold_id: str, category: Category) -> None:
    await holds.add(hold(HoldKind.TENANT))
    await holds.release("h1", now=NOW, by="tests", reason="settled")
    with pytest.raises(ServiceError) as refused:
        await holds.release(hold_id, now=NOW, by="tests", reason="settled")
    assert refused.value.category is category


@pytest.mark.parametrize(
    ("kind", "subject", "reason"),
    [
        (HoldKind.PATIENT, "A-1", "litigation"),
        (HoldKind.PATIENT, "|A-1", "litigation"),
        (HoldKind.PATIENT, f"{MRN}|", "litigation"),
        (HoldKind.PATIENT, f"{MRN}|A-1", "litigation about a-1"),
        (HoldKind.PATIENT, f"{MRN}|A-1", " "),
        (HoldKind.PATIENT, f"{MRN}|A-1", "x" * 201),
        (HoldKind.RESOURCE, "ra", "litigation"),
        (HoldKind.QUERY, "DiagnosticReport", "litigation"),
        (HoldKind.QUERY, "DiagnosticReport?", "litigation"),
        (HoldKind.QUERY, "DiagnosticReport?_count=5", "litigation"),
        (HoldKind.QUERY, "DiagnosticReport?catgory=LAB", "litigation"),
        (HoldKind.QUERY, "Report?category=LAB", "litigation"),
        (HoldKind.TENANT, "something", "litigation"),
    ],
)
async def test_what_names_nothing_is_refused(
    holds: MongoHolds, database: Database, kind: HoldKind, subject: str, reason: str
) -> None:
    with pytest.raises(ServiceError) as refused:
        await holds.add(hold(kind, subject, reason=reason))
    assert refused.value.category is Category.INCORRECT
    assert await holds.listed(None) == ()
    assert all("A-1" not in issue.text for issue in refused.value.issues)


async def test_a_hold_waits_for_what_is_being_deleted(database: Database) -> None:
    """So that nothing goes that was there when the hold was placed."""
    holds = holds_of(database)
    placing: list[asyncio.Task[None]] = []

    async def delete(session: Session) -> None:
        placing.append(asyncio.create_task(holds.add(hold(HoldKind.TENANT))))
        done, _ = await asyncio.wait(placing, timeout=0.3)
        assert not done
        await database[RESOURCES].delete_many({"tenant": str(LAB)}, session=session)

    assert await holds.unless_held(LAB, NOW, delete)
    await asyncio.gather(*placing)
    assert not await holds.unless_held(LAB, NOW, never)
    assert await holds.unless_held(OTHER, NOW, nothing)
    await holds.release("h1", now=NOW, by="tests", reason="settled")
    assert await holds.unless_held(LAB, NOW, nothing)


async def never(_: Session) -> None:
    raise AssertionError


async def nothing(_: Session) -> None: ...


async def test_only_a_hold_on_the_whole_tenant_forbids_it(database: Database) -> None:
    holds = holds_of(database)
    await holds.add(hold(HoldKind.PATIENT, "Patient/a"))
    await holds.add(hold(HoldKind.TENANT, id="h2", expires_at=NOW + timedelta(days=1)))
    assert not await holds.unless_held(LAB, NOW, never)
    assert await holds.unless_held(LAB, NOW + timedelta(days=1), nothing)
