"""Includes of a page, followed on a real MongoDB."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from store.mongo.indexes import RESOURCES
from store.resources.resource_keys import ResourceKey
from store.search.planning.leading_clause import DRIVING_KEYS_MAX
from tests.support.fhir import patient, refers, report, resource
from tests.support.store import LAB, NOW, OTHER, asked, ids, mongo_store, put

if TYPE_CHECKING:
    from store.mongo.driver.client import Database
    from store.mongo.resources.resources import MongoResources
    from store.resources.pages import Page
    from store.tenancy import Tenant

MATCHES = "patient=p1"


@pytest.fixture
def store(database: Database) -> MongoResources:
    return mongo_store(database)


def observation(id: str, of: str = "p1", **elements: Any) -> dict[str, Any]:
    return resource("Observation", id, status="final", subject=refers(f"Patient/{of}"), **elements)


def provenance(id: str, *targets: str) -> dict[str, Any]:
    return resource("Provenance", id, target=[refers(target) for target in targets])


async def page_of(
    store: MongoResources, text: str, *, type: str = "DiagnosticReport", tenant: Tenant = LAB, **more: Any
) -> Page:
    return await store.search(tenant, asked(text, type=type, **more))


async def included(
    store: MongoResources, text: str, *, type: str = "DiagnosticReport", tenant: Tenant = LAB
) -> list[str]:
    page = await page_of(store, text, type=type, tenant=tenant)
    return [str(entry.key) for entry in page.included]


@pytest.fixture
async def chart(store: MongoResources) -> MongoResources:
    """Two reports of a patient with what they refer to, and what refers to them."""
    await put(
        store,
        patient("p1", managingOrganization=refers("Organization/lab")),
        resource("Organization", "lab"),
        resource("Specimen", "s1", subject=refers("Patient/p1")),
        observation("o1", specimen=refers("Specimen/s1")),
        observation("o2"),
        report("r1", result=[refers("Observation/o1"), refers("Observation/o2")]),
        report("r2", result=[refers("Observation/o2"), refers("Observation/missing")]),
        provenance("v1", "DiagnosticReport/r1"),
        provenance("v2", "Observation/o1"),
    )
    return store


@pytest.mark.parametrize(
    ("includes", "expected"),
    [
        pytest.param("_include=DiagnosticReport:patient", "Patient/p1", id="each once"),
        pytest.param("_include=DiagnosticReport:result", "Observation/o1 Observation/o2", id="results"),
        pytest.param("_include=DiagnosticReport:subject:Patient", "Patient/p1", id="target"),
        pytest.param("_include=DiagnosticReport:subject:Group", "", id="other target"),
        pytest.param("_include=DiagnosticReport:performer", "", id="nothing there"),
        pytest.param("_include=*", "Observation/o1 Observation/o2 Patient/p1", id="all"),
        pytest.param("_include=DiagnosticReport:*:Observation", "Observation/o1 Observation/o2", id="all to"),
        pytest.param("_include=Observation:specimen", "", id="from what is no match"),
        pytest.param(
            "_include=DiagnosticReport:result&_include:iterate=Observation:specimen",
            "Observation/o1 Observation/o2 Specimen/s1",
            id="iterate",
        ),
        pytest.param(
            "_include:iterate=*",
            "Observation/o1 Observation/o2 Organization/lab Patient/p1 Specimen/s1",
            id="all and on",
        ),
        pytest.param("_revinclude=Provenance:target", "Provenance/v1", id="reverse"),
        pytest.param("_revinclude=Provenance:target:Observation", "", id="reverse from no match"),
        pytest.param(
            "_include=DiagnosticReport:result&_revinclude:iterate=Provenance:target",
            "Observation/o1 Observation/o2 Provenance/v1 Provenance/v2",
            id="reverse from what was included",
        ),
    ],
)
async def test_what_comes_along(chart: MongoResources, includes: str, expected: str) -> None:
    page = await page_of(chart, f"{MATCHES}&{includes}")
    assert sorted(ids(page.entries)) == ["r1", "r2"]
    assert page.total == 2
    assert sorted(str(entry.key) for entry in page.included) == expected.split()


async def test_what_refers_within_a_patient_who_never_came_comes_along(store: MongoResources) -> None:
    """Both sides name the patient by an identifier alone."""
    ada = {"identifier": {"system": "urn:m", "value": "1"}}
    await put(
        store,
        resource("Observation", "o1", status="final", subject=ada),
        report("r1", subject=ada, result=[refers("Observation/o1")]),
        report("r2", subject={"identifier": {"value": "1"}}, result=[refers("Observation/o1")]),
        report("r3", subject=ada, result=[refers("Observation/o2")]),
    )
    page = await page_of(store, "_id=o1&_revinclude=DiagnosticReport:result", type="Observation")
    assert ([str(one.key) for one in page.included], page.unfound) == (["DiagnosticReport/r1"], False)


async def test_a_way_back_by_the_patient_that_is_not_named_is_told(store: MongoResources) -> None:
    await put(
        store,
        resource("Observation", "o1", status="final"),
        report("r1", result=[refers("Observation/o1")]),
        provenance("v1", "Observation/o1"),
    )
    back = await page_of(store, "_id=o1&_revinclude=DiagnosticReport:result", type="Observation")
    assert (back.included, back.unfound) == ((), True)
    keyed = await page_of(store, "_id=o1&_revinclude=Provenance:target", type="Observation")
    assert ([str(one.key) for one in keyed.included], keyed.unfound) == (["Provenance/v1"], False)


async def test_no_way_leads_from_what_patients_share_where_one_must_be_named(store: MongoResources) -> None:
    await put(
        store,
        resource("Location", "ward"),
        report("r1", subject=refers("Location/ward"), performer=[refers("Organization/lab")]),
        report("r2", performer=[refers("Organization/lab")]),
        resource("Organization", "lab"),
        provenance("v1", "Organization/lab", "DiagnosticReport/r1"),
        provenance("v2", "DiagnosticReport/r2"),
        patient("p1"),
        patient("p2"),
        resource("Group", "g", member=[{"entity": refers("Patient/p1")}, {"entity": refers("Patient/p2")}]),
        observation("o1", focus=[refers("Group/g")]),
    )
    for text, type_, open_, kept in (
        ("_id=g&_include=Group:member", "Group", "Patient/p1 Patient/p2", ""),
        (
            "patient=p1&_include=Observation:focus&_include:iterate=Group:member",
            "Observation",
            "Group/g Patient/p1 Patient/p2",
            "Group/g",
        ),
        (
            "patient=p1&_include:iterate=*",
            "Observation",
            "Group/g Patient/p1 Patient/p2",
            "Group/g Patient/p1",
        ),
        ("_id=ward&_revinclude=DiagnosticReport:subject", "Location", "DiagnosticReport/r1", ""),
        ("_id=lab&_revinclude=Provenance:target", "Organization", "Provenance/v1", ""),
        (
            "_id=r2&_include=DiagnosticReport:performer&_revinclude:iterate=Provenance:target",
            "DiagnosticReport",
            "Organization/lab Provenance/v1 Provenance/v2",
            "Organization/lab Provenance/v2",
        ),
    ):
        for of_a_patient, expected in ((False, open_), (True, kept)):
            query = replace(asked(text, type=type_), of_a_patient=of_a_patient)
            page = await store.search(LAB, query)
            found = sorted(str(one.key) for one in page.included)
            assert (found, page.unfound) == (expected.split(), of_a_patient), text


async def test_the_patient_of_a_device_comes_along(store: MongoResources) -> None:
    await put(store, patient("p1"), resource("Device", "d", patient=refers("Patient/p1")))
    query = replace(asked("patient=p1&_include=Device:patient", type="Device"), of_a_patient=True)
    page = await store.search(LAB, query)
    assert ([str(one.key) for one in page.included], page.unfound) == (["Patient/p1"], False)


async def test_stored_bytes_come_along(chart: MongoResources) -> None:
    [entry] = (await page_of(chart, f"{MATCHES}&_include=DiagnosticReport:patient")).included
    stored = await chart.get(LAB, ResourceKey("Patient", "p1"))
    assert stored is not None
    assert entry.raw == stored.raw  # type: ignore[union-attr]  # it is not gone


async def test_nothing_is_read_when_nothing_is_shown(chart: MongoResources) -> None:
    assert (await page_of(chart, f"{MATCHES}&_include=*", count=0)).included == ()


async def test_each_page_has_what_its_own_matches_bring(chart: MongoResources) -> None:
    text = f"{MATCHES}&_sort=_id&_include=DiagnosticReport:result"
    first = await page_of(chart, text, count=1)
    second = await page_of(chart, text, count=1, position=first.next)
    assert [str(entry.key) for entry in first.included] == ["Observation/o1", "Observation/o2"]
    assert [str(entry.key) for entry in second.included] == ["Observation/o2"]


async def test_a_match_is_not_included_again(store: MongoResources) -> None:
    await put(store, observation("o1", derivedFrom=[refers("Observation/o2")]), observation("o2"))
    text = "patient=p1&_include:iterate=*"
    assert await included(store, text, type="Observation") == []


async def test_what_refers_in_a_circle_ends(store: MongoResources) -> None:
    await put(
        store,
        report("r1", result=[refers("Observation/o1")]),
        observation("o1", derivedFrom=[refers("Observation/o2")]),
        observation("o2", derivedFrom=[refers("Observation/o1")]),
    )
    found = await included(store, f"{MATCHES}&_include:iterate=*")
    assert found == ["Observation/o1", "Observation/o2"]


async def test_rounds_end_at_four_references(store: MongoResources) -> None:
    chain = [
        resource("Specimen", f"s{n}", subject=refers("Patient/p9"), parent=[refers(f"Specimen/s{n + 1}")])
        for n in range(1, 7)
    ]
    await put(store, report("r1", specimen=[refers("Specimen/s1")]), *chain)
    text = f"{MATCHES}&_include=DiagnosticReport:specimen&_include:iterate=Specimen:parent"
    assert await included(store, text) == [f"Specimen/s{n}" for n in range(1, 5)]


async def test_a_versioned_reference_gives_the_current_version(store: MongoResources) -> None:
    await put(store, patient("p1"))
    await put(store, patient("p1", active=True), report("r1", subject=refers("Patient/p1/_history/1")))
    [entry] = (await page_of(store, "_id=r1&_include=DiagnosticReport:patient")).included
    assert b'"versionId":"2"' in entry.raw


async def test_elsewhere_contained_and_by_identifier_is_left_out(store: MongoResources) -> None:
    results = [refers("https://else.example/fhir/Observation/o1"), refers("#o1"), refers("urn:uuid:o1")]
    inner = {"resourceType": "Observation", "id": "o1", "status": "final", "code": {"text": "x"}}
    await put(store, observation("o1"), report("r1", result=results, contained=[inner]))
    assert await included(store, f"{MATCHES}&_include=DiagnosticReport:result") == []


async def test_the_deleted_and_the_expired_are_left_out(chart: MongoResources, database: Database) -> None:
    await chart.delete(LAB, ResourceKey("Observation", "o1"))
    await chart.delete(LAB, ResourceKey("Provenance", "v1"))
    await database[RESOURCES].update_many({"id": "o2"}, {"$set": {"expires_at": NOW}})
    text = f"{MATCHES}&_include=DiagnosticReport:result&_revinclude=Provenance:target"
    assert await included(chart, text) == []
    await database[RESOURCES].update_many(
        {"id": "o2"}, {"$set": {"expires_at": NOW + timedelta(milliseconds=1)}}
    )
    assert await included(chart, text) == ["Observation/o2"]


async def test_an_expired_one_does_not_come_along_backwards(
    chart: MongoResources, database: Database
) -> None:
    await database[RESOURCES].update_many({"id": "v1"}, {"$set": {"expires_at": NOW}})
    assert await included(chart, f"{MATCHES}&_revinclude=Provenance:target") == []


async def test_no_include_crosses_tenants(chart: MongoResources) -> None:
    await put(chart, report("r1", result=[refers("Observation/o1")]), tenant=OTHER)
    text = f"{MATCHES}&_include=*&_revinclude=Provenance:target"
    assert await included(chart, text, tenant=OTHER) == []


async def test_from_a_result_back_to_the_reports_of_its_patient(chart: MongoResources) -> None:
    back = "_revinclude=DiagnosticReport:result"
    assert await included(chart, f"_id=o1&{back}", type="Observation") == ["DiagnosticReport/r1"]
    both = await included(chart, f"patient=p1&{back}", type="Observation")
    assert sorted(both) == ["DiagnosticReport/r1", "DiagnosticReport/r2"]


@pytest.mark.parametrize("name", ["patient", "subject"])
async def test_from_a_patient_to_its_reports(chart: MongoResources, name: str) -> None:
    await put(chart, report("r9", "p9"))
    found = await included(chart, f"_id=p1&_revinclude=DiagnosticReport:{name}", type="Patient")
    assert sorted(found) == ["DiagnosticReport/r1", "DiagnosticReport/r2"]


@pytest.mark.parametrize("text", ["_include=DiagnosticReport:result", "_revinclude=Provenance:target"])
async def test_too_many_end_the_page_early(database: Database, text: str) -> None:
    store = mongo_store(database, includes_max=2)
    for n in range(3):
        result = [refers(f"Observation/o{n}")]
        await put(store, report(f"r{n}", result=result), provenance(f"v{n}", f"DiagnosticReport/r{n}"))
        await put(store, observation(f"o{n}"))
    assert len((await page_of(store, f"{MATCHES}&{text}", count=2)).included) == 2
    page = await page_of(store, f"{MATCHES}&{text}", count=3)
    assert (len(page.entries), len(page.included), page.total, page.incomplete) == (1, 1, 3, False)
    assert page.next is not None


async def test_a_full_page_is_followed_backwards_by_the_index(database: Database) -> None:
    store = mongo_store(database)
    many = DRIVING_KEYS_MAX + 1
    await put(store, *(report(f"r{n}") for n in range(many)))
    await put(store, *(provenance(f"v{n}", f"DiagnosticReport/r{n}") for n in range(many)))
    await put(store, *(provenance(f"x{n}", f"DiagnosticReport/x{n}") for n in range(many)))
    page = await page_of(store, f"{MATCHES}&_revinclude=Provenance:target", count=many)
    assert {entry.key.id for entry in page.included} == {f"v{n}" for n in range(many)}


async def test_of_more_than_one_reply_of_the_database_the_first_comes_along(store: MongoResources) -> None:
    large = [{"text": "x" * 9_000_000}]
    results = [refers("Observation/o1"), refers("Observation/o2")]
    await put(store, observation("o1", note=large), observation("o2", note=large))
    await put(store, report("r1", result=results))
    page = await page_of(store, f"{MATCHES}&_include=DiagnosticReport:result")
    assert (len(page.included), page.incomplete) == (1, True)


@pytest.mark.parametrize(
    ("type", "text", "index", "documents"),
    [
        ("DiagnosticReport", "_id=r1&_include=DiagnosticReport:result", "_id", 2),
        ("DiagnosticReport", "_id=r1&_revinclude=Provenance:target", "keys", 1),
        ("Observation", "_id=o1&_revinclude=DiagnosticReport:result", "keys", 2),
    ],
)
async def test_each_way_is_a_short_scan(
    chart: MongoResources, database: Database, type: str, text: str, index: str, documents: int
) -> None:
    await put(chart, *(provenance(f"x{n}", f"DiagnosticReport/x{n}") for n in range(20)))
    await put(chart, *(report(f"x{n}", f"x{n}") for n in range(20)))
    await database.command("profile", 2)
    try:
        assert await included(chart, text, type=type)
    finally:
        await database.command("profile", 0)
    finds = database["system.profile"].find({"command.find": RESOURCES}, sort=[("ts", 1)])
    _, follow = await finds.to_list(None)
    assert follow["planSummary"].startswith("IXSCAN")
    assert f" {index}: 1" in follow["planSummary"]
    assert follow["docsExamined"] <= documents
