"""The audit as an officer sees it: over HTTP with the scope `dod/audit`, and by `dod audit`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from bson import ObjectId
from fhir.resources.R4B.auditevent import AuditEvent

from store.mongo.indexes import AUDIT
from store.retention.policy import Policy
from tests.support.commands import command, database_of_commands
from tests.support.fhir import MRN, identified, patient, report, resource
from tests.support.service import DATABASE, opened_service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest

    from store.mongo.driver.client import Client
    from tests.support.service import Answer, Service


def events(answer: Answer) -> list[tuple[str, str]]:
    """Subtype and client of each."""
    assert answer.status == 200, answer.text
    found = []
    for entry in answer.body.get("entry", []):
        AuditEvent.model_validate(entry["resource"])
        who = entry["resource"]["agent"][0]["who"].get("identifier", {}).get("value", "")
        found.append((entry["resource"]["subtype"][0]["code"], who))
    return found


async def test_an_officer_sees_who_looked_at_a_patient(service: Service) -> None:
    await service.load_in_order(patient("p1", identified(MRN, "A-1")), report("r1"), report("r2", "p2"))
    await service.get("DiagnosticReport/r1")
    await service.search(f"patient.identifier={MRN}|A-1")
    await service.get("DiagnosticReport/r2")
    officer = await service.with_token(scopes=["dod/audit"])
    expected = [("search-type", "tests"), ("read", "tests"), ("update", "tests"), ("update", "tests")]
    seen = await officer.get("AuditEvent?patient=p1")
    assert events(seen) == expected
    assert "p2" not in seen.text
    assert events(await officer.get(f"AuditEvent?patient.identifier={MRN}|A-1&subtype=read")) == [
        ("read", "tests")
    ]
    assert events(await officer.get("AuditEvent?patient=Patient/p2&subtype=read")) == [("read", "tests")]
    assert events(await officer.get("AuditEvent?patient=p1&agent:identifier=somebody")) == []
    assert events(await officer.get("AuditEvent?patient=p1&date=lt2026-11-22")) == []
    # A subtype is asked for as an event shows it, by the name that `dod audit` has for it, or several.
    for subtype, codes in (
        ("search-type", {"search-type"}),
        ("http://hl7.org/fhir/restful-interaction|update", {"update"}),
        ("read,search-type", {"read", "search-type"}),
        ("operation", set()),
        ("http://hl7.org/fhir/restful-interaction|nothing", set()),
        ("urn:dod:audit|search-type", set()),
    ):
        seen = await officer.get(f"AuditEvent?patient=p1&agent:identifier=|tests&subtype={subtype}")
        assert {one for one, _ in events(seen)} - {"operation"} == codes, subtype
    ours = await officer.get("AuditEvent?subtype=operation&agent:identifier=tests")
    assert {one for one, _ in events(ours)} == {"operation"}
    # Each date narrows: the last one does not stand for all.
    for dates, some in (
        ("date=lt2026-11-22&date=ge2026-11-01", False),
        ("date=2026-10&date=2026-11", False),
        ("date=ge2026-11-22&date=ge2026-01", True),
        ("date=ge2027&date=ge2026-01", False),
        ("date=le2026-11&date=2026", True),
    ):
        assert bool(events(await officer.get(f"AuditEvent?patient=p1&{dates}"))) is some, dates
    first = await officer.get("AuditEvent?patient=p1&date=ge2026-11-22&subtype=search&_count=1")
    assert "A-1" not in first.links.get("next", "")
    pages = [first, *[page async for page in following(officer, first)]]
    assert [len(events(page)) for page in pages] == [1]
    every = await officer.get("AuditEvent?agent:identifier=tests&_count=2")
    pages = [every, *[page async for page in following(officer, every)]]
    ids = [entry["resource"]["id"] for page in pages for entry in page.body.get("entry", [])]
    assert len(ids) == len(set(ids)) >= 8
    one = await officer.get(f"AuditEvent/{ids[0]}")
    assert (one.status, one.body["id"]) == (200, ids[0])
    assert (await officer.get("AuditEvent/none")).status == 404
    # That the officer looked is on record too.
    assert ("operation", "tests") in events(await officer.get("AuditEvent?patient=p1&subtype=audit-search"))


async def test_every_way_of_a_search_leads_to_the_audit(service: Service) -> None:
    await service.load_in_order(
        patient("p1"), resource("AuditEvent", "pushed", recorded="2026-11-22T12:00:00Z")
    )
    officer = await service.with_token(scopes=["dod/audit", "system/*.rs"])
    asked = "patient=p1&subtype=update"
    for answer in (
        await officer.search(f"{asked}&_format=json&_pretty=true", type="AuditEvent"),
        await officer.get(f"AuditEvent/_search?{asked}"),
        await officer.post_search(f"{asked}&_format=json", type="AuditEvent"),
        await officer.post_search("patient=p1", type="AuditEvent", url_query="subtype=update"),
    ):
        assert events(answer) == [("update", "tests")]
    first = await officer.post_search("patient=p1&_count=1", type="AuditEvent")
    assert [len(events(page)) async for page in following(officer, first)]
    assert (await service.post_search("_id=pushed", type="AuditEvent")).ids == ["pushed"]
    assert found_in(await officer.get("Patient/p1/$everything?_format=json&_pretty=true")) == ["Patient/p1"]


def found_in(answer: Answer) -> list[str]:
    return [f"{one['resource']['resourceType']}/{one['resource']['id']}" for one in answer.body["entry"]]


async def test_a_page_link_leads_on_when_its_last_record_has_gone(
    service: Service, mongo_client: Client
) -> None:
    await service.load_in_order(*(report(f"r{n}") for n in range(6)))
    officer = await service.with_token(scopes=["dod/audit"])
    first = await officer.get("AuditEvent?subtype=update&_count=2")
    [_, last] = [entry["resource"]["id"] for entry in first.body["entry"]]
    await mongo_client[DATABASE][AUDIT].delete_one({"_id": ObjectId(last)})
    seen = [first, *[page async for page in following(officer, first)]]
    ids = [entry["resource"]["id"] for page in seen for entry in page.body.get("entry", [])]
    assert (len(ids), len(set(ids))) == (6, 6)


async def test_a_page_link_expires_as_the_policy_says(mongodb: str) -> None:
    async with opened_service(mongodb, page_token_seconds=10 * 86_400) as service:
        await service.load_in_order(patient("p1"), *(report(f"r{n}") for n in range(3)))
        officer = await service.with_token(scopes=["dod/audit"])
        urls = (
            (officer, (await officer.get("AuditEvent?_count=1")).links["next"]),
            (service, (await service.get("Patient/p1/$everything?_count=1")).links["next"]),
        )
        await service.keeps(Policy(page_token_days=2))
        for seconds, status in ((2 * 86_400 - 1, 200), (1, 410)):
            service.clock.move(seconds=seconds)
            for caller, url in urls:
                assert (await caller.get(url)).status == status, (url, seconds)


async def test_a_page_link_of_pushed_events_is_none_of_the_audit(service: Service) -> None:
    pushed = (resource("AuditEvent", f"e{n}", recorded="2026-11-22T12:00:00Z") for n in range(2))
    await service.load_in_order(*pushed)
    url = (await service.search("_id=e0,e1&_count=1", type="AuditEvent")).links["next"]
    officer = await service.with_token(scopes=["system/*.rs", "dod/audit"])
    assert (await officer.get(url)).status == 404


async def following(officer: Service, page: Answer) -> AsyncIterator[Answer]:
    while url := page.links.get("next"):
        page = await officer.get(url)
        yield page


async def test_nobody_else_sees_it(service: Service) -> None:
    await service.load_in_order(
        patient("p1"), resource("AuditEvent", "pushed", recorded="2026-11-22T12:00:00Z")
    )
    answer = await service.search("_id=pushed", type="AuditEvent")
    assert (answer.status, answer.ids) == (200, ["pushed"])  # As any type that is pushed.
    assert (await service.get("AuditEvent/pushed")).status == 200
    narrow = await service.with_token(scopes=["system/Patient.rs"])
    assert (await narrow.get("AuditEvent?patient=p1")).status == 403
    other = await service.new_tenant(scopes=["dod/audit"])
    assert events(await other.get("AuditEvent?patient=p1&subtype=update")) == []
    officer = await service.with_token(scopes=["dod/audit"])
    assert (await officer.get("Patient/p1")).status == 403
    edges = ("9999", "le9999-12-31", "gt9999-12-31", "lt0001", "ge0001-01-01T00:00:00%2B14:00")
    for date in edges:
        assert (await officer.get(f"AuditEvent?date={date}")).status == 200, date
    twice = (
        "patient=p1&patient=p2",
        *("subtype=|read", "subtype=urn:x|read", "agent:identifier="),
        f"patient=p1&patient.identifier={MRN}|A-1",
        "subtype=read&subtype=update",
    )
    for query in ("patient=", "date=x", "pateint=p1", "_count=x", "patient.identifier=A-1", *twice):
        refused = await officer.get(f"AuditEvent?{query}")
        assert refused.status == 400, query


async def test_who_was_erased_is_found_by_the_number_and_named_by_nothing(service: Service) -> None:
    await service.load_in_order(patient("p1", identified(MRN, "SECRET-1")), report("r1"))
    await service.search(f"patient.identifier={MRN}|SECRET-1")
    admin = await service.with_token(scopes=["dod/purge", "dod/audit"])
    purged = await admin.request("POST", "Patient/p1/$purge", {"reason": "asked for by letter"})
    assert purged.status == 200, purged.text
    seen = await admin.get(f"AuditEvent?patient.identifier={MRN}|SECRET-1&subtype=search")
    assert events(seen) == [("search-type", "tests")]
    [event] = [entry["resource"] for entry in seen.body["entry"]]
    assert "SECRET" not in json.dumps(event)
    assert event["entity"][0]["what"]["display"] == "(erased)"


async def test_dod_audit(
    mongodb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    database_of_commands(monkeypatch, mongodb, DATABASE)
    dod = command(monkeypatch, capsys)
    async with opened_service(mongodb) as service:
        tenant = str(service.tenant)
        await service.load_in_order(patient("p1", identified(MRN, "A-1")), report("r1"))
        await service.get("DiagnosticReport/r1")
        table = await dod("audit", tenant, "--patient", f"{MRN}|A-1", "--client", "tests")
        assert table.code == 0, table.err
        assert [line.split()[4:6] for line in table.out.splitlines()[1:]] == [
            ["ok", "DiagnosticReport/r1"],
            ["ok", "DiagnosticReport/r1"],
            ["ok", "Patient/p1"],
        ]
        told = (await dod("audit", tenant, "--did", "read", "--json")).out
        assert json.loads(told)["patients"] == ["Patient/p1"]
        exported = (await dod("audit", tenant, "--ndjson", "--since", "2026-11-22")).out.splitlines()
        for line in exported:
            AuditEvent.model_validate(json.loads(line))
        assert (await dod("audit", tenant, "--since", "yesterday")).code == 1
        # Deeds at the terminal.
        issued = await dod(
            "token", "issue", "--tenant", tenant, "--scope", "system/*.rs", "--client", "viewer"
        )
        assert issued.code == 0
        await dod("tenant", "create", tenant, "--handling", "strict")
        await dod("retention", "policy", "set", tenant, "--keep-days", "1000")
        found = (await dod("audit", tenant, "--json")).out.splitlines()
        deeds = {json.loads(line)["did"]: json.loads(line) for line in found}
        assert {"token issued", "tenant changed", "audit shown"} <= deeds.keys()
        assert issued.out.strip() not in "".join(found)
        assert "(dod)" in deeds["token issued"]["by"] or deeds["token issued"]["by"] == "dod"
