"""A changed policy reaches what is stored: the same ends as if everything were pushed under it."""

from __future__ import annotations

from datetime import datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from store.audit.records import AuditRecord, Deed
from store.fhir.instants import to_datetime
from store.mongo.audit.trail import MongoAuditTrail
from store.mongo.indexes import HISTORY, RESOURCES
from store.mongo.letters.dead_letters import MongoDeadLetters
from store.mongo.rules.erased_names import ErasedNames
from store.resources.pages import HistoryQuery
from store.resources.resource_keys import ResourceKey
from store.retention.policy import NEVER, CountedFrom, Policy, Rule
from store.settings import StoreSettings
from tests.store.mongo.letters.test_dead_letters import refused
from tests.support.fhir import coded, patient, refers, report, resource
from tests.support.service import Clock
from tests.support.store import (
    LAB,
    NOW,
    OTHER,
    let,
    metrics,
    mongo_policies,
    mongo_settling,
    mongo_store,
    prepared,
    put,
    put_one,
)

if TYPE_CHECKING:
    from store.mongo.driver.client import Database

few_places = pytest.mark.usefixtures("few_places")
DAY = timedelta(days=1)
YEARS = 2_192 * DAY
KEYS = ("expires_at", "own_until", "least_until", "needed_until", "needs", "policy")


async def settle(database: Database, clock: Clock, *, limit: int = 500) -> int:
    """To the end, each step by another worker; how many steps."""
    steps = 1
    while await mongo_settling(database, clock=clock).step(LAB, limit=limit):
        steps += 1
    assert await mongo_settling(database, clock=clock).is_settled(LAB)
    return steps


async def lasting(database: Database, tenant: str = str(LAB)) -> dict[str, dict[str, Any]]:
    """Rule by which each document ends, by `Type/id`."""
    documents = await database[RESOURCES].find({"tenant": tenant}).to_list(None)
    return {d["_id"].removeprefix(f"{tenant}/"): {k: d[k] for k in KEYS if k in d} for d in documents}


def lab_day() -> list[dict[str, Any]]:
    """Reports of three categories and days, sharing patients and observations."""
    chance = Random(7)
    resources: list[dict[str, Any]] = [patient(f"p{n}") for n in range(3)]
    for n in range(12):
        links = {"hasMember": [refers(f"Observation/o{n + 1}")]} if n % 3 == 0 else {}
        resources.append(resource("Observation", f"o{n}", status="final", code=coded("1"), **links))
    for n in range(9):
        picked = [refers(f"Observation/o{one}") for one in chance.sample(range(12), 2)]
        resources.append(
            report(
                f"r{n}",
                f"p{n % 3}",
                category=[
                    coded(("LAB", "RAD", "MB")[n % 3], "http://terminology.hl7.org/CodeSystem/v2-0074")
                ],
                effectiveDateTime=f"2026-1{n % 2}-0{n + 1}",
                status="preliminary" if n % 2 else "final",
                result=picked,
            )
        )
    return [*resources, resource("Organization", "lab", name="Example")]


POLICIES = {
    "without end": Policy(),
    "short": Policy(keep_days=30, superseded_days=3),
    "by the clinical date": Policy(keep_days=60, counted_from=CountedFrom.EFFECTIVE),
    "by rules": Policy(
        keep_days=90,
        rules=(
            Rule(5, type="DiagnosticReport", category=("rad",), status=("preliminary",)),
            Rule(200, CountedFrom.EFFECTIVE, type="DiagnosticReport", category=("lab", "rad")),
            Rule(50, type="Observation"),
            Rule(7, type="Organization"),
        ),
    ),
}


@few_places
@pytest.mark.parametrize("before", [None, *POLICIES])
@pytest.mark.parametrize("after", POLICIES)
async def test_it_is_as_if_everything_came_under_the_new_policy(
    database: Database, before: str | None, after: str
) -> None:
    clock = Clock(NOW)
    store = mongo_store(database, clock=clock)
    if before is not None:
        await let(database, POLICIES[before])
    await put(store, *lab_day())
    changed = await let(database, POLICIES[after])
    await settle(database, clock, limit=4)

    policies = mongo_policies(database)
    for _ in range(changed.version):
        now = (await policies.retention(OTHER)).policy
        await policies.put(OTHER, POLICIES[after], instead_of=now.version)
    await store.put_many(OTHER, [prepared(one) for one in lab_day()])
    assert await lasting(database) == await lasting(database, str(OTHER))
    assert await settle(database, clock) == 1


@few_places
async def test_past_versions_and_what_is_left_of_deleted_ones(database: Database) -> None:
    clock = Clock(NOW)
    store = mongo_store(database, clock=clock)
    await put(store, report(conclusion="first"), report("gone"))
    clock.move(days=1)
    await put(store, report(conclusion="second"))
    await store.delete(LAB, ResourceKey("DiagnosticReport", "gone"))

    async def ends() -> dict[str, datetime]:
        past = await database[HISTORY].find({}).to_list(None)
        left = await database[RESOURCES].find({"deleted": True}).to_list(None)
        return {d["_id"].rpartition("Report/")[2]: d["expires_at"] for d in (*past, *left)}

    assert set((await ends()).values()) == {NEVER}
    for days in (3, 30, None):
        await let(database, Policy(keep_days=100, superseded_days=days))
        await settle(database, clock, limit=1)
        until = NEVER if days is None else NOW + (1 + days) * DAY
        assert await ends() == dict.fromkeys(["r1/1", "gone/1", "gone"], until)


@few_places
async def test_what_had_ended_before_does_not_come_back(database: Database) -> None:
    clock = Clock(NOW)
    store = mongo_store(database, clock=clock)
    await let(database, Policy(keep_days=10, superseded_days=100))
    for text in ("first", "second"):
        await put_one(store, report(conclusion=text))
    clock.move(days=11)
    await put_one(store, report(conclusion="third"))
    await let(database, Policy(keep_days=1_000, superseded_days=1_000))
    await settle(database, clock)
    page = await store.history(LAB, HistoryQuery("DiagnosticReport", "r1"))
    assert [one.version.version for one in page.entries] == [3]


@few_places
async def test_what_nothing_needs_any_more_stays_as_long_as_the_last_that_did(database: Database) -> None:
    clock = Clock(NOW)
    store = mongo_store(database, clock=clock)
    await let(database, Policy(keep_days=100, rules=(Rule(10, type="DiagnosticReport"),)))
    await put(store, report("r1", None, result=[refers("Observation/o")]))
    await put(store, resource("Observation", "o", status="final", code=coded("1")))
    await database[RESOURCES].delete_one({"type": "DiagnosticReport"})  # As a sweep does.
    await let(database, Policy(keep_days=1_000))
    await settle(database, clock)
    assert (await lasting(database))["Observation/o"]["expires_at"] == NOW + 10 * DAY


@few_places
async def test_who_went_by_the_policy_before_is_caught_up_with(database: Database) -> None:
    clock = Clock(NOW)
    remembering = mongo_store(database, clock=clock, policy_cache_seconds=60)
    await put_one(remembering, report("early"))
    made = await let(database, Policy(made_at=NOW, keep_days=10))
    await settle(database, clock)
    clock.move(seconds=1)
    await put_one(remembering, report("late"))
    assert (await lasting(database))["DiagnosticReport/late"] == {"expires_at": NEVER}
    assert not await mongo_settling(database, clock=clock).step(LAB)
    late = await database[RESOURCES].find_one({"id": "late"})
    assert late is not None
    assert (late["policy"], late["expires_at"]) == (
        made.version,
        to_datetime(late["updated"]["lo"]) + 10 * DAY,
    )


async def test_a_policy_that_changes_in_between_starts_over(database: Database) -> None:
    clock = Clock(NOW)
    await put(mongo_store(database, clock=clock), *lab_day())
    await let(database, Policy(keep_days=10))
    for _ in range(3):
        assert await mongo_settling(database, clock=clock).step(LAB, limit=2)
    await let(database, Policy(keep_days=20))
    await settle(database, clock, limit=3)
    ends = {key: one["expires_at"] for key, one in (await lasting(database)).items()}
    assert ends.pop("Organization/lab") == NEVER
    assert set(ends.values()) == {NOW + 20 * DAY}


async def test_without_a_policy_there_is_nothing_to_do(database: Database) -> None:
    await put(mongo_store(database), *lab_day())
    assert await settle(database, Clock(NOW)) == 1


@few_places
async def test_letters_and_the_record_of_officers_go_by_the_policy(database: Database) -> None:
    clock = Clock(NOW)
    settings = StoreSettings(dead_letter_days=30, audit_days=2_192)
    given: Any = {"settings": settings, "metrics": metrics(), "policies": mongo_policies(database)}
    letters = MongoDeadLetters(database, clock=clock, **given)
    erasures = ErasedNames(database, clock=clock, settings=settings, metrics=metrics())
    audit = MongoAuditTrail(database, erasures=erasures, **given)
    await database["tenants"].insert_one({"_id": str(LAB)})

    async def happens() -> None:
        await letters.keep(LAB, refused(f"{clock()}".encode(), at=clock()))
        await audit.note(AuditRecord(LAB, clock(), "officer", Deed.POLICY_SET))

    async def ends() -> list[list[datetime]]:
        names = ("dead_letters", "audit")
        found = [await database[name].find({}, sort=[("at", 1)]).to_list(None) for name in names]
        return [[one["expires_at"] for one in some] for some in found]

    await happens()
    assert await ends() == [[NOW + 30 * DAY], [NOW + YEARS]]
    await let(database, Policy(dead_letter_days=5, audit_days=100))
    clock.move(days=1)
    await happens()
    assert await ends() == [[NOW + 30 * DAY, NOW + 6 * DAY], [NOW + YEARS, NOW + 101 * DAY]]
    await settle(database, clock)
    assert await ends() == [[NOW + 5 * DAY, NOW + 6 * DAY], [NOW + 100 * DAY, NOW + 101 * DAY]]
    await let(database, Policy())
    await settle(database, clock)
    assert await ends() == [[NOW + 30 * DAY, NOW + 31 * DAY], [NOW + YEARS, NOW + YEARS + DAY]]


@few_places
@pytest.mark.parametrize("limit", [1, 3, 500])
async def test_observations_that_are_members_of_members(database: Database, limit: int) -> None:
    """In the order of their ids each is settled before what needs it."""
    clock = Clock(NOW)
    store = mongo_store(database, clock=clock)
    await let(database, Policy(keep_days=100))
    chain = [
        resource(
            "Observation",
            f"o{n}",
            status="final",
            code=coded("1"),
            hasMember=[refers(f"Observation/o{n - 1}")] if n else None,
        )
        for n in range(5)
    ]
    await put(store, *({k: v for k, v in one.items() if v} for one in chain))
    await put(store, report(result=[refers("Observation/o4")]))
    await let(database, Policy(keep_days=20))
    await settle(database, clock, limit=limit)
    assert {one["expires_at"] for one in (await lasting(database)).values()} == {NOW + 20 * DAY}
