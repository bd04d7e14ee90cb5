"""The port of resources, searched: every kind of clause, totals, plans."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from store.resources.resource_keys import ResourceKey
from store.search.criteria import Total
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
    OTHER,
    REPORT,
    asked,
    found,
    ids,
    mongo_store,
    put,
)

if TYPE_CHECKING:
    from store.mongo.driver.client import Database
    from store.mongo.resources.resources import MongoResources


@pytest.fixture(scope="module")
async def ward(shared_database: Database) -> MongoResources:
    """Some reports of a few patients, each telling something else. To be read only."""
    store = mongo_store(shared_database)
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
    await store.relate(LAB, {"old": frozenset(), "new": frozenset({(MRN, "2")})})
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
