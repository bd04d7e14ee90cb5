"""The port of resources, searched: chains and `_has`, which follow what happens to their target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from store.errors import Category, ServiceError
from store.resources.resource_keys import ResourceKey
from tests.support.fhir import MRN, coded, identified, patient, refers, report, resource
from tests.support.store import LAB, found, mongo_store, put

if TYPE_CHECKING:
    from store.mongo.driver.client import Database
    from store.mongo.resources.resources import MongoResources


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


async def test_a_chain_through_too_many_is_followed_from_what_the_rest_of_the_search_finds(
    database: Database,
) -> None:
    """A patient's reports are few, however many others have such a result."""
    store = mongo_store(database, chain_matches_max=2)

    def result(id: str, of: str, code: str = "718-7") -> dict[str, Any]:
        return resource("Observation", id, status="final", code=coded(code), subject=refers(f"Patient/{of}"))

    inner = resource("Practitioner", "d", name=[{"family": "Muster"}])
    for n in range(4):
        of = f"p{n}"
        await put(store, patient(of, identified(MRN, str(n)), gender="male"))
        await put(store, result(f"o{n}", of), result(f"x{n}", of, "1-1"))
        held = {"contained": [inner], "performer": [refers("#d")], "status": "final" if n else "amended"}
        await put(store, report(f"r{n}", of, result=[refers(f"Observation/o{n}")], **held))
        await put(store, report(f"s{n}", of, result=[refers(f"Observation/x{n}")]))
    for query, wanted in (
        ("patient=p1&result.code=718-7", "r1"),
        (f"patient.identifier={MRN}|1&result.code=718-7", "r1"),
        ("patient=p1&result.code=718-7&result.code=1-1", ""),
        ("patient=p1&performer.name=muster", "r1"),
        ("patient=p2&result.patient.gender=male", "r2 s2"),
        ("patient=p2&result.patient.gender=female", ""),
        ("patient=p0&performer.name=muster&result.code=718-7&status=final", ""),
    ):
        assert sorted(await found(store, query)) == wanted.split(), query
    for query, wanted in (
        (f"identifier={MRN}|1&_has:Observation:patient:code=718-7", "p1"),
        ("_id=p1,p2&_has:DiagnosticReport:patient:status=final", "p1 p2"),
        (f"identifier={MRN}|0&_has:DiagnosticReport:subject:status=amended", "p0"),
        (f"identifier={MRN}|1&_has:Observation:patient:code=2-2", ""),
        (f"identifier={MRN}|1&_has:DiagnosticReport:patient:result.code=718-7", "p1"),
    ):
        assert sorted(await found(store, query, type="Patient")) == wanted.split(), query
    for query in ("result.code=718-7", "status=final&performer.name=muster", "patient.gender=male"):
        with pytest.raises(ServiceError):
            await found(store, query)


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
