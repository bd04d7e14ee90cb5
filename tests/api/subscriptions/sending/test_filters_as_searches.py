"""Filters hold for what a search with them finds, whatever their parameters, modifiers and chains."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from api.subscriptions.filters import standing_query
from store.changes.kinds import Kind
from store.fhir.instants import from_datetime
from store.search.parsing.context import SearchContext, SearchLimits
from store.subscriptions.topics import topic_of
from tests.support.fhir import identified, patient, refers, report, resource
from tests.support.subscriptions import BASE, LAB, NOW, REPORTS, bench, kept

if TYPE_CHECKING:
    from store.mongo.driver.client import Database
    from tests.support.fhir import Json

LOINC = "http://loinc.org"
CODES: Json = {"coding": [{"system": LOINC, "code": "58410-2", "display": "CBC panel"}], "text": "Blut"}
REPORTED = (
    report("r1"),
    report("r2", "p2", status="partial", effectiveDateTime="2026-01-01"),
    report("r3", code=CODES, issued="2026-11-20T10:00:00.123Z", effectiveDateTime="2026-11-20"),
    report(
        "r4",
        code={"coding": [{"code": "58410-2"}], "text": "CBC Panel"},
        identifier=[identified("urn:f", "7")],
    ),
    report("r5", code={"coding": [{"system": "urn:x", "code": "ABC"}]}, meta={"tag": [{"code": "t1"}]}),
    report("r6", subject={"identifier": identified("urn:mr", "7")}, status="corrected"),
    report(
        "r7",
        subject=refers("#c"),
        contained=[patient("c", identified("urn:mr", "9"), name=[{"family": "Inner"}])],
    ),
    report("r8", subject=refers("https://elsewhere.example/Patient/p1"), result=[refers("Observation/o1")]),
    report("r9", subject=refers("Patient/p1/_history/1"), basedOn=[{"identifier": identified("urn:o", "A")}]),
    report(
        "r10", category=[{"coding": [{"system": "urn:c", "code": "LAB"}], "text": "Laboratory"}], code=CODES
    ),
)
FILTERS = (
    *("status=final", "status=FINAL", "status:not=final", "status=final,partial", "status:not=final,partial"),
    *("code=58410-2", f"code={LOINC}|58410-2", "code=|58410-2", f"code={LOINC}|", "code=abc", "code:not=abc"),
    *("code:text=cbc", "code:text=blut", "code:not=58410-2", f"code={LOINC}|58410-2,urn:x|ABC"),
    *(
        "identifier=7",
        "identifier=urn:f|7",
        "identifier=urn:f|",
        "identifier:not=7",
        "identifier:missing=true",
    ),
    *(
        "patient=Patient/p1",
        "patient=p1",
        f"patient={BASE}/Patient/p1",
        "subject:Patient=p1",
        "patient=p1,p2",
    ),
    *("subject=https://elsewhere.example/Patient/p1", "subject:identifier=urn:mr|7", "subject:missing=true"),
    *(
        "patient.identifier=urn:mr|7",
        "patient.identifier=urn:mr|9",
        "subject.identifier=7",
        "patient.family=inn",
    ),
    *(
        "patient.family=Smith",
        "patient.family:exact=Smith",
        "patient.family:contains=mit",
        "patient:Patient.name=x",
    ),
    *(
        "date=2026",
        "date=ge2026-06",
        "date=lt2026-06",
        "date:missing=true",
        "issued=2026-11-20",
        "date=ne2026-01-01",
    ),
    *("_id=r1,r3", "_id:not=r1", "_lastUpdated=ge2020", "_lastUpdated=lt2020", "_tag=t1", "_tag:not=t1"),
    *("result=Observation/o1", "result.code=1-8", "based-on:identifier=urn:o|A", "based-on:missing=false"),
    *(
        "category=LAB",
        "category:not=LAB",
        "category:text=labor",
        "_has:Provenance:target:_id=x",
        "media:missing=true",
    ),
    *("status=final&code=58410-2", "status=final&status=partial", "code:not=58410-2&status:not=partial"),
)


async def test_a_filter_finds_what_a_search_finds(database: Database) -> None:
    some = [kept(f"s{number}", filters=(text,)) for number, text in enumerate(FILTERS)]
    topic = topic_of(REPORTS)
    assert topic is not None
    async with bench(database) as on:
        await on.change(patient("p1", identified("urn:mr", "7"), name=[{"family": "Smith"}]), Kind.CREATED)
        await on.change(
            resource("Observation", "o1", status="final", code={"coding": [{"code": "1-8"}]}), Kind.CREATED
        )
        for one in some:
            await on.store.create(one)
        for pushed in REPORTED:
            await on.change(pushed, Kind.CREATED)
        await on.count()
        context = SearchContext(SearchLimits(), BASE, from_datetime(NOW).start, strict=True)
        for one, text in zip(some, FILTERS, strict=True):
            told = {event.key.rpartition("/")[2] for event in await on.told_to(one.id)}
            query = standing_query(topic, one.filters, context)
            page = await on.resources.search(LAB, replace(query, count=99))
            assert told == {entry.key.id for entry in page.entries}, text
