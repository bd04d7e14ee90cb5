"""Contract of any `ResourceStore`, tried on the real one."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from store.errors import Category, ServiceError
from store.mongo.indexes import RESOURCES, ensure_indexes
from store.resources.resource_keys import ResourceKey
from store.resources.versions import Gone, Outcome, Stored
from store.retention.policy import Policy
from store.search.criteria import Position, Total
from store.tenancy import Tenant
from tests.support.fhir import (
    CATEGORY,
    LOINC,
    MRN,
    ORDERS,
    coded,
    identified,
    patient,
    refers,
    report,
    resource,
)
from tests.support.store import (
    LAB,
    NOW,
    OTHER,
    REPORT,
    asked,
    content,
    every_page,
    found,
    ids,
    let,
    mongo_store,
    outcomes,
    prepared,
    put,
    put_one,
    stored,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from store.mongo.driver.client import Client, Database
    from store.mongo.resources.resources import MongoResources


@pytest.fixture
def store(database: Database) -> MongoResources:
    return mongo_store(database)


MILLISECOND = timedelta(milliseconds=1)


# --- one resource and its versions


async def test_what_was_put_is_got(store: MongoResources) -> None:
    result = await put_one(store, report())
    assert (result.outcome, result.stored.version, result.stored.last_updated) == (Outcome.CREATED, 1, NOW)
    assert await store.get(LAB, REPORT) == result.stored
    assert content(result.stored) == {
        **report(),
        "meta": {"versionId": "1", "lastUpdated": "2026-11-22T12:00:00.000Z"},
    }


async def test_what_was_never_there(store: MongoResources) -> None:
    await put(store, report())
    assert await store.get(LAB, ResourceKey("DiagnosticReport", "r2")) is None
    assert await store.get(LAB, ResourceKey("Observation", "r1")) is None
    assert await store.get_version(LAB, REPORT, 2) is None
    assert await store.get_version(LAB, ResourceKey("Observation", "r1"), 1) is None
    assert await store.delete(LAB, ResourceKey("Observation", "r1")) is None
    assert await store.get(LAB, ResourceKey("Observation", "r1")) is None


async def test_each_version_stays_readable(store: MongoResources) -> None:
    texts = ("one", "two", "three")
    results = [await put_one(store, report(conclusion=text)) for text in texts]
    assert outcomes(results) == [Outcome.CREATED, Outcome.REPLACED, Outcome.REPLACED]
    assert [result.stored.version for result in results] == [1, 2, 3]
    for number, result in enumerate(results, start=1):
        assert await store.get_version(LAB, REPORT, number) == result.stored
        assert content(result.stored)["conclusion"] == texts[number - 1]
    assert await store.get(LAB, REPORT) == results[-1].stored
    assert await store.get_version(LAB, REPORT, 4) is None
    assert await store.get_version(LAB, REPORT, 0) is None


async def test_identical_content_makes_no_version(database: Database) -> None:
    moments = iter([NOW, NOW + timedelta(hours=1), NOW + timedelta(hours=2), NOW + timedelta(hours=3)])
    store = mongo_store(database, clock=lambda: next(moments))
    first = await put_one(store, report())
    again = await put_one(store, report())
    assert (again.outcome, again.stored) == (Outcome.UNCHANGED, first.stored)
    assert await store.get_version(LAB, REPORT, 2) is None


async def test_content_that_returns_is_a_version(store: MongoResources) -> None:
    for conclusion, version in (("one", 1), ("two", 2), ("one", 3)):
        assert (await put_one(store, report(conclusion=conclusion))).stored.version == version


async def test_deleted_gone_and_revived(store: MongoResources) -> None:
    await put(store, report())
    gone = await store.delete(LAB, REPORT)
    assert gone == Gone(REPORT, 2, NOW + MILLISECOND)
    assert await store.get(LAB, REPORT) == gone
    assert await store.get_version(LAB, REPORT, 2) == gone
    assert await store.delete(LAB, REPORT) == gone
    stored(await store.get_version(LAB, REPORT, 1))
    revived = await put_one(store, report())
    assert (revived.outcome, revived.stored.version) == (Outcome.CREATED, 3)
    assert await store.get(LAB, REPORT) == revived.stored
    assert await store.get_version(LAB, REPORT, 2) == gone
    assert await store.get_version(LAB, REPORT, 1) == Stored(
        REPORT, 1, NOW, stored(await store.get_version(LAB, REPORT, 1)).raw
    )


async def test_a_deletion_of_a_microsecond_is_read_as_it_was_answered(database: Database) -> None:
    store = mongo_store(database, clock=lambda: NOW + timedelta(microseconds=1_999))
    put_at = (await put_one(store, report())).stored.last_updated
    assert put_at == NOW + MILLISECOND == stored(await store.get(LAB, REPORT)).last_updated
    assert await store.delete(LAB, REPORT) == await store.get(LAB, REPORT)


async def test_a_deletion_by_its_source_s_time(store: MongoResources) -> None:
    """A content that is newer by the source's own time stays; the tombstone says when it was deleted."""
    early, late = "2026-05-01T00:00:00.000000Z", "2026-05-02T00:00:00.000000Z"
    await put_one(store, report(), sourced=f"{late} {early}")
    assert await store.delete(LAB, REPORT, sourced=early) is None
    assert stored(await store.get(LAB, REPORT)).version == 1
    assert await store.delete(LAB, REPORT, sourced=late) is not None
    assert isinstance(await store.get(LAB, REPORT), Gone)
    stale = await put_one(store, report(status="amended"), sourced=early)
    assert stale.outcome is Outcome.STALE
    assert isinstance(await store.get(LAB, REPORT), Gone)
    await put_one(store, report("r2"))
    key = ResourceKey("DiagnosticReport", "r2")
    assert await store.delete(LAB, key, sourced=early) is not None, "nothing says that it is newer"


async def test_only_once(store: MongoResources) -> None:
    """Unlike `only_absent`: what was there once is never created again."""
    for fresh in (False, True):
        once = {"only_absent": True, "only_once": True, "fresh": fresh}
        first = await put_one(store, report(f"r{fresh}"), **once)
        assert (first.outcome, first.stored.version) == (Outcome.CREATED, 1)
        key = ResourceKey("DiagnosticReport", f"r{fresh}")
        for again in (report(f"r{fresh}"), report(f"r{fresh}", status="amended")):
            result = await put_one(store, again, **once)
            assert (result.outcome, result.stored.version) == (Outcome.EXISTS, 1)
        await store.delete(LAB, key)
        result = await put_one(store, report(f"r{fresh}"), **once)
        assert (result.outcome, result.stored.version) == (Outcome.EXISTS, 2)
        assert isinstance(await store.get(LAB, key), Gone)


async def test_only_once_of_what_has_expired(database: Database) -> None:
    now = NOW
    store = mongo_store(database, clock=lambda: now)
    await let(database, Policy(keep_days=1))
    once = {"only_absent": True, "only_once": True}
    await put_one(store, report(), **once)
    now += timedelta(days=2)
    assert await store.get(LAB, REPORT) is None
    assert (await put_one(store, report(), **once)).outcome is Outcome.EXISTS
    assert await store.get(LAB, REPORT) is None


async def test_only_absent(store: MongoResources) -> None:
    first = await put_one(store, report(), only_absent=True)
    assert first.outcome is Outcome.CREATED
    for again in (report(), report(status="amended")):
        result = await put_one(store, again, only_absent=True)
        assert (result.outcome, result.stored.version, result.stored.raw) == (Outcome.EXISTS, 1, b"")
    assert await store.get(LAB, REPORT) == first.stored
    await store.delete(LAB, REPORT)
    assert (await put_one(store, report(), only_absent=True)).outcome is Outcome.CREATED


async def test_only_version(store: MongoResources) -> None:
    async def refused(version: int) -> None:
        with pytest.raises(ServiceError) as caught:
            await put_one(store, report(status="amended"), only_version=version)
        assert caught.value.category is Category.PRECONDITION

    await refused(1)
    await put(store, report())
    await refused(2)
    assert (await put_one(store, report(), only_version=1)).outcome is Outcome.UNCHANGED
    assert (await put_one(store, report(status="amended"), only_version=1)).stored.version == 2
    await refused(1)
    await store.delete(LAB, REPORT)
    await refused(2)
    await refused(3)


async def test_a_refusal_harms_no_other_of_the_same_push(store: MongoResources) -> None:
    with pytest.raises(ServiceError):
        await store.put_many(LAB, [prepared(report("a")), prepared(report("b"), only_version=1)])
    assert isinstance(await store.get(LAB, ResourceKey("DiagnosticReport", "a")), Stored)
    assert await store.get(LAB, ResourceKey("DiagnosticReport", "b")) is None


async def test_results_come_in_the_order_of_what_was_put(store: MongoResources) -> None:
    await put(store, report("b"))
    results = await put(store, report("c"), report("b"), report("a"), report("b", status="amended"))
    assert [result.stored.key.id for result in results] == ["c", "b", "a", "b"]
    assert outcomes(results) == [
        Outcome.CREATED,
        Outcome.UNCHANGED,
        Outcome.CREATED,
        Outcome.REPLACED,
    ]
    assert await put(store) == []


async def test_each_is_put_on_its_own(database: Database) -> None:
    store = mongo_store(database, resource_bytes_max=1_000)
    await put(store, report("there"))
    sent = [
        prepared(report("new")),
        prepared(report("large", conclusion="x" * 1_000)),
        prepared(report("there", status="amended"), only_version=2),
        prepared(report("there", status="amended"), only_version=1),
        prepared(report("there"), only_absent=True),
    ]
    done = await store.put_each(LAB, sent)
    told = [one.category if isinstance(one, ServiceError) else one.outcome for one in done]
    assert told == [
        Outcome.CREATED,
        Category.TOO_LARGE,
        Category.PRECONDITION,
        Outcome.REPLACED,
        Outcome.EXISTS,
    ]
    assert await store.put_each(LAB, []) == []


async def test_a_full_queue_refuses_each_of_those_put_together(database: Database) -> None:
    store = mongo_store(database, commit_queue_max=1)
    first = asyncio.ensure_future(put(store, report("r1")))
    second = asyncio.ensure_future(put(store, report("r2")))
    await asyncio.sleep(0)
    done = await store.put_each(LAB, [prepared(report("r3")), prepared(report("r4"))])
    assert [one.category for one in done if isinstance(one, ServiceError)] == [Category.UNAVAILABLE] * 2
    assert outcomes([*await first, *await second]) == [Outcome.CREATED] * 2
    assert await store.get(LAB, ResourceKey("DiagnosticReport", "r3")) is None


async def test_an_id_taken_for_new_is_looked_up_when_it_is_there_after_all(store: MongoResources) -> None:
    await put(store, report("r1"))
    known = await put_one(store, report("r1", status="amended"), fresh=True, only_absent=True)
    assert (known.outcome, known.stored.version) == (Outcome.EXISTS, 1)
    same = await put_one(store, report("r1"), fresh=True)
    assert (same.outcome, same.stored.version) == (Outcome.UNCHANGED, 1)
    other = await put_one(store, report("r1", status="amended"), fresh=True)
    assert (other.outcome, other.stored.version) == (Outcome.REPLACED, 2)
    await store.delete(LAB, REPORT)
    again = await put_one(store, report("r1"), fresh=True)
    assert (again.outcome, again.stored.version) == (Outcome.CREATED, 4)


async def test_an_oversized_resource_is_refused_and_stores_nothing(database: Database) -> None:
    store = mongo_store(database, resource_bytes_max=1_000)
    frame = prepared(report("r1", conclusion="x")).body
    fitting = 1 + 1_000 - len(frame.head) - len(frame.tail)
    assert outcomes(await put(store, report("r0", conclusion="x" * fitting))) == [Outcome.CREATED]
    with pytest.raises(ServiceError) as caught:
        await put(store, report("small"), report("r1", conclusion="x" * (fitting + 1)))
    assert caught.value.category is Category.TOO_LARGE
    assert await store.get(LAB, REPORT) is None
    assert await store.get(LAB, ResourceKey("DiagnosticReport", "small")) is None


async def test_what_its_index_makes_too_large_is_refused_alone(store: MongoResources) -> None:
    endless = report("endless", code=coded("y" * 4_000_000))
    long = resource("Observation", "long", status="final", code=coded("1-8"), valueString="x " * 2_000_000)
    both = asyncio.gather(put(store, report("small"), long), put(store, endless), return_exceptions=True)
    stored, refused = await both
    assert outcomes(stored) == [Outcome.CREATED, Outcome.CREATED]  # type: ignore[arg-type]  # no exception
    assert isinstance(refused, ServiceError)
    assert refused.category is Category.TOO_LARGE


@pytest.mark.parametrize(
    "moments",
    [
        [NOW] * 4,
        [NOW, NOW - timedelta(hours=1), NOW - timedelta(hours=2), NOW],
        [
            NOW,
            NOW + timedelta(microseconds=1),
            NOW + timedelta(microseconds=2),
            NOW + timedelta(microseconds=999),
        ],
        [NOW, NOW + timedelta(hours=1), NOW, NOW + timedelta(hours=1)],
    ],
    ids=["stands still", "goes back", "too fine", "jumps"],
)
async def test_last_updated_strictly_increases_whatever_the_clock_says(
    database: Database, moments: list[datetime]
) -> None:
    ticks = iter(moments)
    store = mongo_store(database, clock=lambda: next(ticks))
    seen = [(await put_one(store, report(conclusion=str(n)))).stored.last_updated for n in range(4)]
    assert all(later - earlier >= MILLISECOND for earlier, later in pairwise(seen))


# --- many at once


async def test_fifty_at_once_to_one_id_lose_none(store: MongoResources) -> None:
    results = await asyncio.gather(*(put_one(store, report(conclusion=str(n))) for n in range(50)))
    assert sorted(result.stored.version for result in results) == list(range(1, 51))
    assert Counter(result.outcome for result in results) == {Outcome.CREATED: 1, Outcome.REPLACED: 49}
    seen = [await store.get_version(LAB, REPORT, n) for n in range(1, 51)]
    assert {content(one)["conclusion"] for one in seen} == {str(n) for n in range(50)}
    assert [stored(one).version for one in seen] == list(range(1, 51))
    moments = [stored(one).last_updated for one in seen]
    assert moments == sorted(set(moments))
    for result in results:
        assert seen[result.stored.version - 1] == result.stored


async def test_two_stores_on_one_database_racing_lose_none(database: Database) -> None:
    stores = [mongo_store(database) for _ in range(2)]
    results = await asyncio.gather(
        *(put_one(stores[n % 2], report(conclusion=str(n))) for n in range(40)),
        *(put_one(stores[n % 2], report(f"own-{n}")) for n in range(40)),
    )
    raced = results[:40]
    assert sorted(result.stored.version for result in raced) == list(range(1, 41))
    seen = [content(await stores[0].get_version(LAB, REPORT, n))["conclusion"] for n in range(1, 41)]
    assert sorted(seen, key=int) == [str(n) for n in range(40)]
    assert {result.outcome for result in results[40:]} == {Outcome.CREATED}


async def test_identical_puts_at_once_make_one_version(database: Database) -> None:
    stores = [mongo_store(database, commit_parallel=4) for _ in range(2)]
    results = await asyncio.gather(*(put_one(stores[n % 2], report()) for n in range(50)))
    assert Counter(result.outcome for result in results) == {Outcome.CREATED: 1, Outcome.UNCHANGED: 49}
    assert {result.stored for result in results} == {results[0].stored}
    assert await stores[0].get(LAB, REPORT) == results[0].stored


async def test_of_those_who_create_only_if_absent_one_does(database: Database) -> None:
    stores = [mongo_store(database, commit_parallel=4) for _ in range(2)]
    results = await asyncio.gather(
        *(put_one(stores[n % 2], report(conclusion=str(n)), only_absent=True) for n in range(50))
    )
    assert Counter(result.outcome for result in results) == {Outcome.CREATED: 1, Outcome.EXISTS: 49}


async def test_what_is_said_to_exist_can_be_read_at_once(database: Database) -> None:
    stores = [mongo_store(database, commit_parallel=4) for _ in range(2)]

    async def create(number: int, turn: int) -> None:
        wanted = report(f"r{turn}", identifier=[identified(ORDERS, str(turn))])
        store = stores[number % 2]
        result = await put_one(store, wanted, only_absent=True)
        assert result.outcome in (Outcome.CREATED, Outcome.EXISTS)
        assert isinstance(await store.get(LAB, ResourceKey("DiagnosticReport", f"r{turn}")), Stored)
        assert await found(store, f"identifier={ORDERS}|{turn}") == [f"r{turn}"]

    for turn in range(10):
        await asyncio.gather(*(create(number, turn) for number in range(20)))


async def test_deletions_and_puts_at_once_keep_every_version(store: MongoResources) -> None:
    await put(store, report())
    done = await asyncio.gather(
        *(put_one(store, report(conclusion=str(n))) for n in range(10)),
        *(store.delete(LAB, REPORT) for _ in range(10)),
    )
    assert len(done) == 20
    last = await store.get(LAB, REPORT)
    assert last is not None
    for version in range(1, last.version + 1):
        one = await store.get_version(LAB, REPORT, version)
        assert one is not None
        assert one.version == version


async def test_many_ids_at_once(store: MongoResources) -> None:
    batches = [[report(f"r{n}-{m}", f"p{n}") for m in range(20)] for n in range(20)]
    done = await asyncio.gather(*(put(store, *batch) for batch in batches))
    assert {result.outcome for results in done for result in results} == {Outcome.CREATED}
    for n in range(20):
        assert await found(store, f"patient=p{n}&_sort=_id") == sorted(f"r{n}-{m}" for m in range(20))


# --- tenants


async def test_every_verb_keeps_to_its_tenant(store: MongoResources) -> None:
    mine = patient("p1", identified(MRN, "1"))
    await put(store, report(), mine)
    assert await store.get(OTHER, REPORT) is None
    assert await store.get_version(OTHER, REPORT, 1) is None
    assert await store.delete(OTHER, REPORT) is None
    assert await store.candidates(OTHER, {"Patient": frozenset({"identifier=1"})}, limit=10) == []
    await store.relate(OTHER, frozenset({"p1", "p2"}))
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


# --- expiry


async def test_the_expired_are_neither_read_nor_found(store: MongoResources, database: Database) -> None:
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


# --- searching: every kind of clause


@pytest.fixture(scope="module")
async def shared(mongo_client: Client) -> AsyncIterator[Database]:
    """A database for tests that only read."""
    database = mongo_client[f"dod_{uuid4().hex}"]
    await ensure_indexes(database)
    yield database
    await mongo_client.drop_database(database.name)


@pytest.fixture(scope="module")
async def ward(shared: Database) -> MongoResources:
    """Some reports of a few patients, each telling something else. To be read only."""
    store = mongo_store(shared)
    await put(
        store,
        patient("p1", identified(MRN, "1"), birthDate="1980-05-05", gender="female"),
        patient(
            "p2", identified(MRN, "2"), birthDate="1990", managingOrganization=refers("Organization/org")
        ),
        resource("Organization", "org", identifier=[identified("urn:orgs", "7")]),
        resource(
            "Encounter", "e1", identifier=[identified("urn:visits", "v1")], subject=refers("Patient/p1")
        ),
        resource("ServiceRequest", "o1", identifier=[identified(ORDERS, "A-1")]),
        resource("Practitioner", "d1", identifier=[identified("urn:npi", "9")]),
        resource("Observation", "ob1", code=coded("1-8"), status="final", subject=refers("Patient/p1")),
        report(
            "full",
            "p1",
            category=[coded("LAB", CATEGORY)],
            encounter=refers("Encounter/e1"),
            basedOn=[refers("ServiceRequest/o1/_history/2")],
            resultsInterpreter=[refers("Practitioner/d1")],
            result=[refers("Observation/ob1")],
            identifier=[identified("urn:reports", "F-1")],
            conclusionCode=[coded("C1", "urn:conclusions")],
            effectiveDateTime="2020-05-06T06:00:58.872Z",
            issued="2020-05-07T00:00:00Z",
            meta={"tag": [{"system": "urn:tags", "code": "t"}]},
        ),
        report("bare", "p1"),
        report("year", "p2", effectiveDateTime="2020", status="partial", category=[coded("RAD", CATEGORY)]),
        report("open", "p2", effectivePeriod={"start": "2020-05-06"}, code=coded("x", None)),
        report("logical", None, subject={"identifier": identified(MRN, "1")}, effectiveDateTime="2019-01"),
        report(
            "group",
            None,
            subject=refers("Group/g"),
            code={"coding": [{"code": "58410-2"}, {"code": "B", "system": "urn:b"}]},
        ),
        report("foreign", None, subject=refers("https://elsewhere.example/Patient/p1")),
    )
    return store


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", "bare foreign full group logical open year"),
        # tokens
        ("status=final", "bare foreign full group logical open"),
        ("status=FINAL,partial", "bare foreign full group logical open year"),
        ("status:not=final", "year"),
        ("status=http://hl7.org/fhir/diagnostic-report-status|partial", "year"),
        ("status=|partial", ""),
        (f"code={LOINC}|58410-2", "bare foreign full logical year"),
        ("code=58410-2", "bare foreign full group logical year"),
        ("code=|58410-2", "group"),
        ("code=|x", "open"),
        (f"code={LOINC}|", "bare foreign full logical year"),
        ("code:not=58410-2", "open"),
        ("code=urn:b|58410-2", ""),
        ("category=LAB,RAD", "full year"),
        ("category:not=LAB", "bare foreign group logical open year"),
        ("category:missing=false", "full year"),
        ("category:missing=true", "bare foreign group logical open"),
        ("conclusion=C1", "full"),
        ("identifier=urn:reports|F-1", "full"),
        ("identifier=f-1", ""),
        ("_tag=urn:tags|t", "full"),
        ("_id=full,bare,nobody", "bare full"),
        ("_id:not=full,bare", "foreign group logical open year"),
        # references
        ("patient=p1", "bare full"),
        ("patient=Patient/p1,Patient/p2", "bare full open year"),
        ("patient=https://dod.example/fhir/R4/lab/Production/Patient/p1", "bare full"),
        ("patient=https://elsewhere.example/Patient/p1", "foreign"),
        ("subject=p1", "bare full"),
        ("subject=Group/g", "group"),
        ("subject:Group=g", "group"),
        ("subject:Patient=p1", "bare full"),
        (f"patient:identifier={MRN}|1", "logical"),
        (f"subject:identifier={MRN}|1", "logical"),
        ("patient:missing=true", "group"),
        ("subject:missing=true", ""),
        ("based-on=ServiceRequest/o1", "full"),
        ("based-on=ServiceRequest/o1/_history/2", "full"),
        ("based-on=ServiceRequest/o1/_history/3", ""),
        ("encounter=e1", "full"),
        ("encounter:missing=true", "bare foreign group logical open year"),
        ("result=Observation/ob1", "full"),
        ("results-interpreter=Practitioner/d1", "full"),
        # dates
        ("date=2020", "full year"),
        ("date=2020-05-06", "full"),
        ("date=2020-05-06T06:00:58Z", "full"),
        ("date=2020-05-06T06:00:58.872Z", "full"),
        ("date=2020-05-06T08:00:58.872+02:00", "full"),
        ("date=ne2020", "logical open"),
        ("date=gt2020-05-06", "open year"),
        ("date=ge2020-05-06", "full open year"),
        ("date=lt2020-05-06", "logical year"),
        ("date=le2020-05-06", "full logical year"),
        ("date=sa2020-01-01", "full open"),
        ("date=eb2020", "logical"),
        ("date=ap2020-05-06", "full open year"),
        ("date=2019-01,2020-05-06", "full logical"),
        ("date=ge2020-01-01&date=lt2021", "full open year"),
        ("date:missing=true", "bare foreign group"),
        ("date:missing=false", "full logical open year"),
        ("issued=2020-05-07", "full"),
        ("issued=ne2020-05-07", ""),
        ("_lastUpdated=ge2026-11-22", "bare foreign full group logical open year"),
        ("_lastUpdated=lt2026-11-22", ""),
        # chains
        (f"patient.identifier={MRN}|1", "bare full logical"),
        ("patient.identifier=1,2", "bare full logical open year"),
        (f"subject.identifier={MRN}|2", "open year"),
        ("patient.birthdate=1980-05-05", "bare full"),
        ("patient.gender=female", "bare full"),
        ("patient.organization.identifier=urn:orgs|7", "open year"),
        ("patient._id=p2", "open year"),
        ("encounter.identifier=v1", "full"),
        ("encounter.patient.identifier=1", "full"),
        ("result.code=1-8", "full"),
        ("based-on.identifier=A-1", "full"),
        ("results-interpreter.identifier=urn:npi|9", "full"),
        ("results-interpreter:Practitioner.identifier=9", "full"),
        ("results-interpreter:Organization.identifier=9", ""),
        ("patient.identifier:not=x", "bare full open year"),
        # any of several
        ("order=A-1", "full"),
        (f"order={ORDERS}|A-1", "full"),
        ("order=F-1", "full"),
        ("order=o1", "full"),
        ("order=nothing", ""),
        # all of several
        ("patient=p1&code=58410-2", "bare full"),
        ("patient=p1&code=nothing", ""),
        ("patient=p1&category=LAB&date=2020", "full"),
        ("patient=p1,p2&status=partial,amended", "year"),
        ("patient=p1&patient=p2", ""),
        ("category=LAB&category=RAD", ""),
        (f"patient.identifier={MRN}|1&encounter=e1&result=ob1&order=A-1", "full"),
        ("subject=p1&status:not=partial&category:missing=true", "bare"),
        ("_id=full&patient=p2", ""),
    ],
)
async def test_what_a_search_finds(ward: MongoResources, text: str, wanted: str) -> None:
    assert " ".join(sorted(await found(ward, text))) == wanted
    counted = await ward.search(LAB, asked(text, count=0, total=Total.ACCURATE))
    assert (counted.entries, counted.total) == ((), len(wanted.split()))


async def test_other_types_are_searched_by_the_same_means(ward: MongoResources) -> None:
    assert await found(ward, "patient=p1&code=1-8", type="Observation") == ["ob1"]
    assert await found(ward, "identifier=1", type="Patient") == ["p1"]
    assert await found(ward, "organization.identifier=7", type="Patient") == ["p2"]
    assert await found(ward, "birthdate=lt1985&gender=female", type="Patient") == ["p1"]
    assert await found(ward, "_id=org", type="Organization") == ["org"]
    assert await found(ward, "", type="Medication") == []


async def test_a_deleted_resource_is_not_found(store: MongoResources) -> None:
    await put(store, report(identifier=[identified(ORDERS, "A-1")], effectiveDateTime="2020-05-06"))
    for count in (1, 0):
        for text in ("", "_id=r1", "patient=p1", "order=A-1", "date=2020-05-06", "patient:missing=false"):
            assert len(await found(store, text)) == count
        await store.delete(LAB, REPORT)


async def test_a_search_sees_what_was_acknowledged_before_it(database: Database) -> None:
    one, two = mongo_store(database), mongo_store(database)
    for n in range(20):
        await put(one, report(f"r{n}"))
        assert len(await found(two, "patient=p1")) == n + 1


# --- chains follow what happens to their target


async def test_a_chain_is_right_whenever_its_target_arrives_changes_or_goes(store: MongoResources) -> None:
    async def by(value: str) -> list[str]:
        return await found(store, f"patient.identifier={MRN}|{value}")

    await put(store, report())
    assert await by("1") == []
    await put(store, patient("p1", identified(MRN, "1")))
    assert await by("1") == ["r1"]
    await put(store, patient("p1", identified(MRN, "2"), identified(MRN, "3")))
    assert [await by(value) for value in "123"] == [[], ["r1"], ["r1"]]
    await put(store, patient("p0", identified(MRN, "2")), report("r0", "p0"))
    assert sorted(await by("2")) == ["r0", "r1"]
    await store.delete(LAB, ResourceKey("Patient", "p1"))
    assert await by("2") == ["r0"]
    await put(store, patient("p1", identified(MRN, "2")))
    assert sorted(await by("2")) == ["r0", "r1"]


async def test_an_identifier_in_the_reference_or_contained_needs_no_target(store: MongoResources) -> None:
    await put(
        store,
        report("logical", None, subject={"identifier": identified(MRN, "1")}),
        report("contained", None, contained=[patient("c", identified(MRN, "1"))], subject=refers("#c")),
        report("neither", None, subject={"display": "Nobody"}),
    )
    assert sorted(await found(store, f"patient.identifier={MRN}|1")) == ["contained", "logical"]
    assert await found(store, f"subject:identifier={MRN}|1") == ["logical"]
    assert sorted(await found(store, "subject.identifier=1")) == ["contained", "logical"]


async def test_a_chain_through_too_many_is_refused(database: Database) -> None:
    store = mongo_store(database, chain_matches_max=2)
    await put(store, *(patient(f"p{n}", gender="male") for n in range(2)), report("r", "p1"))
    assert await found(store, "patient.gender=male") == ["r"]
    await put(store, patient("p2", gender="male"))
    with pytest.raises(ServiceError) as caught:
        await found(store, "patient.gender=male")
    assert caught.value.category is Category.INCORRECT
    assert caught.value.issues[0].code == "too-costly"


async def test_an_identifier_in_a_reference_to_another_type_is_not_asked_for(store: MongoResources) -> None:
    npi = identified("urn:npi", "9")
    told = {"identifier": npi, "type": "Practitioner"}
    inner = resource("Practitioner", "c", identifier=[npi])
    await put(
        store,
        report("untold", performer=[{"identifier": npi}]),
        report("told", performer=[told]),
        report("beside", performer=[{**refers("Practitioner/d1"), "identifier": npi}]),
        report("contained", contained=[inner], performer=[refers("#c")]),
    )
    for name, wanted in (
        ("performer", "beside contained told untold"),
        ("performer:Practitioner", "beside contained told untold"),
        ("performer:Organization", "untold"),
    ):
        for value in ("9", "urn:npi|9"):
            assert sorted(await found(store, f"{name}.identifier={value}")) == wanted.split()


async def test_a_reference_that_nobody_can_spell_is_there(store: MongoResources) -> None:
    await put(
        store,
        report("shown", None, subject={"display": "Nobody"}),
        report("contained", None, contained=[patient("c")], subject=refers("#c")),
        report("empty", None, subject={"extension": [{"url": "urn:x", "valueString": "unknown"}]}),
        report("absent", None),
    )
    for name, missing in (("subject", "absent empty"), ("patient", "absent empty shown")):
        assert sorted(await found(store, f"{name}:missing=true")) == missing.split()
        there = {"shown", "contained", "empty", "absent"} - set(missing.split())
        assert sorted(await found(store, f"{name}:missing=false")) == sorted(there)


# --- order and pages


async def put_dated(store: MongoResources, tenant: Tenant = LAB) -> None:
    """Reports with dates that tie, that differ, and without."""
    await put(
        store,
        *(
            report(
                f"r{n}",
                effectiveDateTime=f"2020-01-{n // 3 + 1:02}",
                issued=f"2021-01-{n % 4 + 1:02}T00:00:00Z",
            )
            for n in range(9)
        ),
        *(report(f"u{n}") for n in range(3)),
        report("other", "p2"),
        tenant=tenant,
    )


@pytest.fixture
async def dated(store: MongoResources) -> MongoResources:
    await put_dated(store)
    return store


@pytest.fixture(scope="module")
async def paged(shared: Database) -> MongoResources:
    """To be read only, under the other tenant."""
    store = mongo_store(shared)
    await put_dated(store, OTHER)
    return store


SORTS = [
    "",
    "date",
    "-date",
    "issued",
    "-issued",
    "_id",
    "-_id",
    "_lastUpdated",
    "-_lastUpdated",
    "date,-issued",
    "-date,issued",
    "-date,_id",
    "issued,-date,-_lastUpdated",
]


def sorted_by(text: str, sort: str) -> str:
    return f"{text}&_sort={sort}" if sort else text


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("text", ["patient=p1", "", "patient=p1,p2", "_id=r1,r2,r5,u1"])
async def test_pages_of_any_size_are_the_whole_in_order(paged: MongoResources, text: str, sort: str) -> None:
    query = sorted_by(text, sort)
    whole = await found(paged, query, tenant=OTHER)
    assert len(whole) == len(set(whole)) == {"": 13, "patient=p1,p2": 13, "patient=p1": 12}.get(text, 4)
    for size in (1, 2, 5, len(whole) - 1, len(whole), len(whole) + 1):
        pages = await every_page(paged, query, size=size, tenant=OTHER)
        assert [id for page in pages for id in ids(page.entries)] == whole
        assert all(len(page.entries) == size for page in pages[:-1])
        assert pages[0].previous is None
        back = [pages[-1]]
        while back[-1].previous is not None:
            back.append(await paged.search(OTHER, asked(query, count=size, position=back[-1].previous)))
        assert [ids(page.entries) for page in reversed(back)] == [ids(page.entries) for page in pages]


@pytest.mark.parametrize("sort", ["date", "issued", "_id"])
async def test_down_is_up_turned_round(dated: MongoResources, sort: str) -> None:
    up, down = [await found(dated, f"patient=p1&_sort={sign}{sort}") for sign in ("", "-")]
    assert down == up[::-1]


async def test_the_newest_come_first(dated: MongoResources) -> None:
    assert await found(dated, "patient=p1") == [
        *("r8", "r7", "r6", "r5", "r4", "r3", "r2", "r1", "r0"),
        *("u2", "u1", "u0"),
    ]


async def test_a_poll_comes_in_the_order_of_arrival(database: Database) -> None:
    moments = iter([NOW + timedelta(seconds=n) for n in range(4)])
    store = mongo_store(database, clock=lambda: next(moments, NOW))
    for id, date in (("c", "2020"), ("a", "2022"), ("b", "2021")):
        await put(store, report(id, effectiveDateTime=date))
    assert await found(store, "_lastUpdated=ge2026") == ["c", "a", "b"]
    assert await found(store, "_lastUpdated=gt2026-11-22T12:00:00.000Z") == ["a", "b"]
    assert await found(store, "_lastUpdated=ge2026&patient=p1") == ["a", "b", "c"]


async def test_pages_while_others_arrive_and_go(dated: MongoResources) -> None:
    whole = await found(dated, "patient=p1")
    seen: list[str] = []
    position: Position | None = None
    number = 0
    while number == 0 or position is not None:
        page = await dated.search(LAB, asked("patient=p1", count=2, position=position))
        seen += ids(page.entries)
        await put(dated, report(f"new{number}", effectiveDateTime="2030"))
        await dated.delete(LAB, ResourceKey("DiagnosticReport", seen[0]))
        position, number = page.next, number + 1
    assert seen == whole


async def test_a_page_beside_an_entry_that_is_gone(dated: MongoResources) -> None:
    first = await dated.search(LAB, asked("patient=p1", count=2))
    await dated.delete(LAB, first.entries[-1].key)
    second = await dated.search(LAB, asked("patient=p1", count=2, position=first.next))
    assert ids(second.entries) == ["r6", "r5"]


async def test_entries_are_the_stored_bytes(dated: MongoResources) -> None:
    page = await dated.search(LAB, asked("patient=p1"))
    for entry in page.entries:
        assert entry.raw == stored(await dated.get(LAB, entry.key)).raw


# --- totals


async def test_totals(database: Database) -> None:
    store = mongo_store(database, count_max=5)
    await put(store, *(report(f"r{n}") for n in range(6)), *(report(f"few{n}", "p2") for n in range(5)))

    async def total(text: str, count: int, total: Total) -> int | None:
        return (await store.search(LAB, asked(text, count=count, total=total))).total

    for kind in Total:
        # The page shows them all.
        assert await total("patient=p1", 6, kind) == 6
        assert await total("patient=nobody", 6, kind) == 0
    assert await total("patient=p1", 5, Total.BOUNDED) is None
    assert await total("patient=p2", 4, Total.BOUNDED) == 5
    assert await total("patient=p1", 5, Total.ACCURATE) == 6
    assert await total("patient=p2", 4, Total.NONE) is None
    assert await total("patient=p1", 0, Total.BOUNDED) is None
    assert await total("patient=p2", 0, Total.BOUNDED) == 5
    assert await total("patient=p1", 0, Total.ACCURATE) == 6
    assert await total("patient=p1", 0, Total.NONE) is None
    assert await total("patient.identifier=nobody", 0, Total.BOUNDED) == 0


async def test_count_zero_has_no_entries_and_no_neighbours(dated: MongoResources) -> None:
    page = await dated.search(LAB, asked("patient=p1", count=0))
    assert (page.entries, page.total, page.next, page.previous) == ((), 12, None, None)


async def test_totals_count_each_resource_once_however_many_keys_find_it(store: MongoResources) -> None:
    both = [identified(MRN, "1"), identified(MRN, "2")]
    await put(
        store, patient("p1", *both), report(), report("r2", identifier=[identified(ORDERS, n) for n in "12"])
    )
    for text, wanted in (("patient.identifier=1,2", 2), ("identifier=1,2", 1), ("order=1,2", 1)):
        assert len(await found(store, text)) == wanted
        assert (await store.search(LAB, asked(text, count=0))).total == wanted


# --- who carries an identifier


async def test_candidates(store: MongoResources) -> None:
    await put(
        store,
        patient("p2", identified(MRN, "1")),
        patient("p1", identified(MRN, "1"), identified(MRN, "2")),
        resource("Practitioner", "d1", identifier=[identified(MRN, "1")]),
        patient("gone", identified(MRN, "3")),
    )
    await store.delete(LAB, ResourceKey("Patient", "gone"))

    async def known(limit: int = 10, /, **wanted: str) -> set[str]:
        keys = {kind: frozenset({f"identifier={value}"}) for kind, value in wanted.items()}
        return {str(one.key) for one in await store.candidates(LAB, keys, limit=limit)}

    assert await known(Patient="1", Practitioner="1") == {"Patient/p1", "Patient/p2", "Practitioner/d1"}
    assert await known(Patient="2", Device="1") == {"Patient/p1"}
    assert await known(Patient="3") == set()
    assert await known() == set()
    assert await store.candidates(OTHER, {"Patient": frozenset({"identifier=1"})}, limit=10) == []
    assert len(await known(1, Patient="1", Practitioner="1")) == 2  # One more says that there are more.


async def test_records_of_one_patient_are_found_by_the_number_of_either(store: MongoResources) -> None:
    await put(
        store,
        patient("old", identified(MRN, "1")),
        patient("new", identified(MRN, "2")),
        report("r1", "old"),
        report("r2", "new"),
        report("r3", "nobody"),
    )
    await store.relate(LAB, frozenset({"old", "new"}))
    many = ",".join(f"{MRN}|{number}" for number in range(1, 20))
    for text in (f"patient.identifier={MRN}|1", f"patient.identifier={MRN}|2", f"patient.identifier={many}"):
        assert sorted(await found(store, text)) == ["r1", "r2"], text
    [known] = await store.candidates(LAB, {"Patient": frozenset({"kin=new"})}, limit=10)
    assert known.identity["kin"] == ["new"]
    patients = asked(f"identifier={MRN}|2", type="Patient")
    assert ids((await store.search(LAB, patients)).entries) == ["new"]


# --- a plan


async def test_explain_tells_the_shape_without_a_value(store: MongoResources) -> None:
    await put(store, report())
    explained = await store.explain(LAB, asked("patient=p1&code=58410-2&date=ge2020"))
    assert explained.hint == "keyed"
    assert explained.returned == 0
    assert "patient=?" in explained.shape
    for value in ("p1", "58410-2", "2020"):
        assert value not in explained.shape
