"""Each common search is a short scan of an index: no collection scan, no sorting in memory, few documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import bson
import pytest

from store.mongo.indexes import COLLECTIONS, INDEXES, RECEIPTS, RESOURCES, RUN_COUNTS, RUNS, ensure_indexes
from store.search.criteria import Total
from tests.support.fhir import CATEGORY, MRN, ORDERS, coded, identified, patient, refers, report, resource
from tests.support.store import LAB, OTHER, asked, found, mongo_store, put

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from store.mongo.driver.client import Client, Database
    from store.mongo.resources.resources import MongoResources
    from store.search.planning.plan import Explanation

PATIENTS = 20
REPORTS = 15
"""Number of reports of each patient."""


def hospital() -> list[dict[str, Any]]:
    """Patients with reports over some years, of two categories, three codes and several statuses."""
    everything: list[dict[str, Any]] = []
    for p in range(PATIENTS):
        everything.append(patient(f"p{p}", identified(MRN, f"m{p}")))
        for r in range(REPORTS):
            number = f"{p}-{r}"
            everything.append(
                report(
                    f"r{number}",
                    f"p{p}",
                    category=[coded(("LAB", "RAD")[r % 2], CATEGORY)],
                    code=coded(f"c{r % 3}"),
                    status=("final", "amended", "preliminary", "cancelled", "partial")[r % 5],
                    effectiveDateTime=f"{2010 + r}-{p % 12 + 1:02}-11T08:00:00Z",
                    identifier=[identified("urn:example:fillers", f"f{number}")],
                    basedOn=[
                        {
                            **refers(f"ServiceRequest/o{number}"),
                            "identifier": identified(ORDERS, f"A{number}"),
                        }
                    ],
                    encounter=refers(f"Encounter/e{number}"),
                    result=[refers(f"Observation/ob{number}")],
                )
            )
    everything += [
        resource("ServiceRequest", f"o{n}-0", identified=identified(ORDERS, f"A{n}-0"))
        for n in range(PATIENTS)
    ]
    return everything


@pytest.fixture(scope="module")
async def full(mongo_client: Client) -> AsyncIterator[Database]:
    database = mongo_client[f"dod_{uuid4().hex}"]
    await ensure_indexes(database)
    store = mongo_store(database)
    await put(store, *hospital())
    await put(store, *hospital(), tenant=OTHER)
    yield database
    await mongo_client.drop_database(database.name)


@pytest.fixture(scope="module")
def store(full: Database) -> MongoResources:
    return mongo_store(full)


def is_a_short_scan(explained: Explanation, hint: str) -> None:
    assert explained.hint == hint
    assert "IXSCAN" in explained.stages
    assert not {"COLLSCAN", "SORT"} & set(explained.stages), explained.stages


PATIENT_SHAPES = [
    ("patient=p3", 15),
    ("patient=Patient/p3", 15),
    ("subject=Patient/p3", 15),
    ("subject=p3", 15),
    ("subject:Patient=p3", 15),
    ("patient=p3,p4", 30),
    ("patient=p3&date=2015", 1),
    ("patient=p3&date=eq2015-04-11", 1),
    ("patient=p3&date=ge2015", 10),
    ("patient=p3&date=le2015", 6),
    ("patient=p3&date=gt2015", 9),
    ("patient=p3&date=lt2015", 5),
    ("patient=p3&date=ge2013&date=lt2018", 5),
    ("patient=p3&date=sa2015", 9),
    ("patient=p3&date=eb2015", 5),
    ("patient=p3&date=ne2015", 14),
    ("patient=p3&code=c1", 5),
    ("patient=p3&code=http://loinc.org|c1", 5),
    ("patient=p3&code=c1,c2", 10),
    ("patient=p3&code=c1&date=ge2015", 3),
    ("patient=p3&category=LAB", 8),
    ("patient=p3&category=http://terminology.hl7.org/CodeSystem/v2-0074|LAB", 8),
    ("patient=p3&category=LAB&date=ge2015", 5),
    ("patient=p3&category=LAB&date=lt2015", 3),
    ("patient=p3&status=final,amended", 6),
    ("patient=p3&status=final,amended,partial,cancelled,preliminary", 15),
    (f"patient.identifier={MRN}|m3", 15),
    ("patient.identifier=m3", 15),
    (f"subject.identifier={MRN}|m3", 15),
    (f"patient.identifier={MRN}|m3&code=c1", 5),
    (f"patient.identifier={MRN}|m3&date=ge2015", 10),
    ("patient=p3&identifier=f3-7", 1),
    ("patient=p3&identifier=urn:example:fillers|f3-7", 1),
    ("patient=p3&order=A3-7", 1),
    ("patient=p3&based-on=ServiceRequest/o3-7", 1),
    ("patient=p3&encounter=Encounter/e3-7", 1),
    ("patient=p3&context=e3-7", 1),
    ("patient=p3&encounter=e3-7", 1),
]


@pytest.mark.parametrize("sort", ["", "&_sort=-date", "&_sort=date"])
@pytest.mark.parametrize(("text", "returned"), PATIENT_SHAPES)
async def test_a_search_bounded_by_its_patient_reads_little_more_than_it_returns(
    store: MongoResources, text: str, returned: int, sort: str
) -> None:
    explained = await store.explain(LAB, asked(text + sort, count=100))
    is_a_short_scan(explained, "keyed")
    assert explained.returned == returned
    assert explained.documents_examined <= 1.2 * returned + 1


@pytest.mark.parametrize(
    "text", ["patient=p3", "patient=p3,p4", "patient=p3&category=LAB", "patient=p3&date=ge2012"]
)
async def test_a_page_in_the_middle_reads_little_more_than_it_returns(
    store: MongoResources, text: str
) -> None:
    first = await store.search(LAB, asked(text, count=3, total=Total.NONE))
    second = asked(text, count=3, position=first.next)
    is_a_short_scan(explained := await store.explain(LAB, second), "keyed")
    assert explained.returned == 4  # One more, to know whether there is another page.
    assert explained.documents_examined <= 1.2 * 4 + 1
    third = await store.search(LAB, second)
    back = asked(text, count=3, position=third.previous)
    is_a_short_scan(explained := await store.explain(LAB, back), "keyed")
    assert explained.returned == 3
    assert explained.documents_examined <= 1.2 * 3 + 1


JOINED_SHAPES = [
    (f"patient.identifier={MRN}|m3", 15),
    (f"patient.identifier={MRN}|m3&code=c1", 5),
    (f"patient.identifier={MRN}|m3&code=http://loinc.org|c1,http://loinc.org|c2", 10),
    (f"patient.identifier={MRN}|m3&category=LAB&date=ge2015", 5),
    (f"patient.identifier={MRN}|m3&code=c1&date=ge2012&date=lt2020", 2),
    (f"patient.identifier={MRN}|m3,{MRN}|m4&status=final", 6),
    (f"patient.identifier={MRN}|m3&encounter=e3-7", 1),
    (f"patient.identifier={MRN}|m3&identifier=f3-7", 1),
    (f"patient.identifier={MRN}|m3&_lastUpdated=ge2020", 15),
]


@pytest.mark.parametrize(("text", "returned"), JOINED_SHAPES)
async def test_a_joined_chain_reads_its_targets_and_little_more_than_it_returns(
    store: MongoResources, text: str, returned: int
) -> None:
    targets = text.count(MRN)
    explained = await store.explain(LAB, asked(text, count=100))
    is_a_short_scan(explained, "keyed")
    assert explained.returned == returned
    assert explained.documents_examined <= 1.2 * returned + targets + 1


@pytest.mark.parametrize(
    "text",
    [
        f"patient.identifier={MRN}|m3",
        f"patient.identifier={MRN}|m3&_sort=date",
        f"patient.identifier={MRN}|m3&date=ge2012",
    ],
)
async def test_a_page_of_a_joined_chain_is_not_sorted_in_memory(store: MongoResources, text: str) -> None:
    """Nothing tells of sorting within a look-up; but it would read all to show few."""
    first = await store.search(LAB, asked(text, count=3, total=Total.NONE))
    for position in (first.next, None):
        explained = await store.explain(LAB, asked(text, count=3, position=position))
        is_a_short_scan(explained, "keyed")
        assert explained.returned == 4
        assert explained.documents_examined <= 1.2 * 4 + 1 + 1


@pytest.fixture
async def profiled(full: Database) -> AsyncIterator[Database]:
    """With every command kept in `system.profile`."""
    await full.command("profile", 2)
    yield full
    await full.command("profile", 0)
    await full["system.profile"].drop()


@pytest.mark.parametrize(
    ("text", "examined_max"),
    [
        ("patient=p3&code=c1&date=ge2015", 1.2 * 3),
        ("encounter=Encounter/e3-7", 1.2 * 1 + 1),
        ("identifier=f3-7", 1.2 * 1 + 1),
        ("_lastUpdated=ge2020", 1.2 * 51),
    ],
)
async def test_what_the_profiler_sees_is_no_scan_and_no_sorting_in_memory(
    profiled: Database, store: MongoResources, text: str, examined_max: float
) -> None:
    searches = await profile_of(profiled, store, text)
    assert sum(one["docsExamined"] for one in searches) <= examined_max
    assert not any(one.get("hasSortStage") for one in searches)
    assert not any("COLLSCAN" in one["planSummary"] for one in searches)


async def test_the_profiler_sees_a_sort_in_memory(profiled: Database, store: MongoResources) -> None:
    [one] = await profile_of(profiled, store, "patient=p3&_sort=status")
    assert (one["docsExamined"], one["hasSortStage"]) == (REPORTS, True)


async def profile_of(database: Database, store: MongoResources, text: str) -> Sequence[Mapping[str, Any]]:
    """Entries of the profiler for each command of a search."""
    await store.search(LAB, asked(text, total=Total.NONE))
    kept = await database["system.profile"].find({"ns": f"{database.name}.{RESOURCES}"}).to_list(None)
    assert kept
    return kept


@pytest.mark.parametrize("name", ["patient:identifier", "subject:identifier"])
async def test_an_identifier_within_the_reference_is_a_short_scan(store: MongoResources, name: str) -> None:
    explained = await store.explain(LAB, asked(f"{name}={MRN}|nobody", count=100))
    assert explained.documents_examined <= 1


@pytest.mark.parametrize(
    ("text", "hint", "returned", "examined_max"),
    [
        ("", "dated", 51, 51),
        ("_sort=date", "dated", 51, 51),
        ("date=ge2020", "dated", 51, 51),
        ("date=2020", "dated", 20, 21),
        ("date=ge2019&date=lt2021", "dated", 40, 41),
        ("date=lt2012", "dated", 40, 41),
        ("_lastUpdated=ge2020", "updated", 51, 51),
        ("_lastUpdated=gt2026-11-22T12:00:00.000Z", "updated", 0, 0),
        ("_lastUpdated=ge2020&_sort=-_lastUpdated", "updated", 51, 51),
        ("identifier=f3-7", "keyed", 1, 2),
        ("order=A3-7", "keyed", 1, 2),
        ("encounter=Encounter/e3-7", "keyed", 1, 2),
        ("code=c1", "keyed", 51, 51),
    ],
)
async def test_a_search_across_patients_scans_one_index(
    store: MongoResources, text: str, hint: str, returned: int, examined_max: int
) -> None:
    explained = await store.explain(LAB, asked(text))
    is_a_short_scan(explained, hint)
    assert explained.returned == returned
    assert explained.documents_examined <= examined_max


@pytest.mark.parametrize("text", ["_id=r3-7", "_id=r3-7,r3-8,r4-1,nobody", "_id=r3-7&patient=p3"])
async def test_ids_are_looked_up(store: MongoResources, text: str) -> None:
    explained = await store.explain(LAB, asked(text))
    assert explained.hint == "_id_"
    assert "COLLSCAN" not in explained.stages
    assert explained.documents_examined <= text.count("r")


@pytest.mark.parametrize("spec", INDEXES, ids=[spec.name for spec in INDEXES])
async def test_every_index_is_there_as_it_is_written_and_begins_with_the_tenant(
    full: Database, spec: Any
) -> None:
    there = await full[spec.collection].index_information()
    assert tuple(there[spec.name]["key"]) == spec.keys
    by_moment_or_letter = spec.keys in {(("expires_at", 1),), (("letter", 1),)}
    of_all_tenants = spec.collection in {RUNS, RUN_COUNTS, RECEIPTS}
    assert spec.keys[0] == ("tenant", 1) or by_moment_or_letter or of_all_tenants
    assert bson.decode(bson.encode(spec.options)).items() <= there[spec.name].items()
    assert spec.serves


async def test_every_index_of_resources_serves_a_search(store: MongoResources) -> None:
    used = {
        (await store.explain(LAB, asked(text))).hint for text in ("patient=p3", "", "_lastUpdated=ge2020")
    }
    # Those of tombstones, files and retention, which no search sees: `test_history_index`,
    # `test_attachments`, `test_ties`.
    others = {"deleted", "referring", "overdue", "needing"}
    assert used == {spec.name for spec in INDEXES if spec.collection == RESOURCES} - others


async def test_every_collection_is_there_from_the_start(full: Database) -> None:
    """A transaction over several shards can make none: https://www.mongodb.com/docs/manual/core/transactions/"""
    assert set(COLLECTIONS) <= set(await full.list_collection_names())


async def test_indexes_can_be_made_again(full: Database) -> None:
    before = await full[RESOURCES].index_information()
    await ensure_indexes(full)
    assert await full[RESOURCES].index_information() == before


async def test_all_sorts_give_the_same_reports(store: MongoResources) -> None:
    plain = await found(store, "patient=p3")
    for sort in ("issued", "_lastUpdated", "_id", "-date"):
        assert sorted(await found(store, f"patient=p3&_sort={sort}")) == sorted(plain)
