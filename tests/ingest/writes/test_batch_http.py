"""Batches: each entry on its own, written together."""

from __future__ import annotations

from collections import Counter

from api.http.app_keys import REGISTRY
from tests.ingest.writes.pushes import PATH, SENTINEL, is_refused, statuses
from tests.support.fhir import (
    MRN,
    ORDERS,
    batch,
    identified,
    patient,
    report,
)
from tests.support.service import Service, opened_service


async def test_a_batch_answers_each_entry_on_its_own(service: Service) -> None:
    await service.load(report("there"), report("doomed"))
    answer = await service.request(
        "POST",
        "",
        batch(
            ("GET", "DiagnosticReport/there", None),
            ("POST", "Patient", patient()),
            ("PUT", "DiagnosticReport/new", report("new")),
            ("PUT", "DiagnosticReport/there", report("there", status="amended")),
            ("DELETE", "DiagnosticReport/doomed", None),
            ("GET", "DiagnosticReport/doomed", None),
            ("GET", "DiagnosticReport/never", None),
            ("PUT", "DiagnosticReport/bad", report("bad", status=SENTINEL)),
            ("PUT", "DiagnosticReport/other", report("mismatch")),
            ("PATCH", "DiagnosticReport/there", report("there")),
            ("PUT", "DiagnosticReport?nonsense=x", report()),
            ("POST", "DiagnosticReport", None),
        ),
    )
    assert answer.body["type"] == "batch-response"
    assert statuses(answer) == [
        *("200", "201", "201", "200", "204", "410", "404", "422", "400", "400", "400", "422")
    ]
    entries = answer.body["entry"]
    # GET comes last, whatever its place.
    assert entries[0]["resource"]["status"] == "amended"
    assert entries[0]["fullUrl"] == f"{service.base}/DiagnosticReport/there"
    created = entries[1]["response"]
    assert created["location"].startswith(f"{service.base}/Patient/")
    assert (created["etag"], created["lastModified"]) == ('W/"1"', "2026-11-22T12:00:00.000Z")
    assert entries[2]["response"]["location"] == f"{service.base}/DiagnosticReport/new/_history/1"
    for entry in entries[5:]:
        issues = entry["response"]["outcome"]["issue"]
        refusals = [issue for issue in issues if issue["code"] != "informational"]
        assert {issue["severity"] for issue in refusals} == {"error"}
    assert SENTINEL not in answer.text
    for id, status in (("there", 200), ("new", 200), ("doomed", 410), ("bad", 404), ("mismatch", 404)):
        assert (await service.get(f"DiagnosticReport/{id}")).status == status


def commits(service: Service) -> Counter[str]:
    """Number of group commits, and of their operations."""
    registry = service._app[REGISTRY]
    values = {name: registry.get_sample_value(f"dod_store_commit_size_{name}") for name in ("count", "sum")}
    return Counter({name: int(value or 0) for name, value in values.items()})


async def test_what_is_put_in_a_batch_is_written_together(service: Service) -> None:
    await service.load(report("there"))
    before = commits(service)
    sent = batch(
        *(("POST", "Patient", patient()) for _ in range(5)),
        ("POST", "DiagnosticReport", report(status=SENTINEL)),
        ("PUT", "DiagnosticReport/there", report("there")),
        ("PUT", "DiagnosticReport/there", report("there", status="amended")),
        ("PUT", "DiagnosticReport/new", report("new")),
        ("PUT", "DiagnosticReport/new", report("new")),
    )
    answer = await service.request("POST", "", sent)
    assert statuses(answer) == [*["201"] * 5, "422", "200", "200", "201", "200"]
    assert [entry["response"].get("etag") for entry in answer.body["entry"][6:]] == [
        *('W/"1"', 'W/"2"', 'W/"1"', 'W/"1"')
    ]
    # What is created; then what is updated, in turns where a resource is named twice.
    assert commits(service) - before == {"count": 4, "sum": 9}


async def test_conditions_in_a_batch_choose_what_is_updated_and_deleted(service: Service) -> None:
    await service.load(
        patient("p1", identified(MRN, "1")), patient("p2", identified(MRN, "2")), patient("p3")
    )
    named = patient("p1", identified(MRN, "1"), active=True)
    sent = batch(
        ("PUT", f"Patient?identifier={MRN}|1", named),
        ("DELETE", f"Patient?identifier={MRN}|2", None),
        ("DELETE", f"Patient?identifier={MRN}|none", None),
        ("PUT", f"Patient?identifier={MRN}|4", patient("p4", identified(MRN, "4"))),
        ("GET", f"Patient?identifier={MRN}|4", None),
        ("PATCH", f"Patient?identifier={MRN}|1", named),
    )
    answer = await service.request("POST", "", sent)
    assert statuses(answer) == ["200", "204", "204", "201", "200", "400"]
    assert answer.body["entry"][4]["resource"]["total"] == 1
    for id, status in (("p1", 200), ("p2", 410), ("p3", 200), ("p4", 200)):
        assert (await service.get(f"Patient/{id}")).status == status


async def test_a_batch_checks_scopes_for_each_entry(service: Service) -> None:
    client = await service.with_token(scopes=["system/DiagnosticReport.cu", "system/Patient.r"])
    await service.load(patient())
    answer = await client.request(
        "POST",
        "",
        batch(
            ("POST", "DiagnosticReport", report()),
            ("POST", "Patient", patient()),
            ("GET", "Patient/p1", None),
            ("GET", "DiagnosticReport/r1", None),
            ("DELETE", "DiagnosticReport/r1", None),
            ("PUT", "DiagnosticReport/r1", report()),
        ),
    )
    assert statuses(answer) == ["201", "403", "200", "403", "403", "201"]


async def test_a_conditional_create_in_a_batch(service: Service) -> None:
    ours = [identified(ORDERS, "A-1")]
    bundle = batch(
        *(("POST", "DiagnosticReport", report(identifier=ours)) for _ in range(3)),
        ifNoneExist=f"identifier={ORDERS}|A-1",
    )
    first = await service.request("POST", "", bundle)
    assert sorted(statuses(first)) == ["200", "200", "201"]
    second = await service.request("POST", "", {**bundle, "id": "another"})
    assert statuses(second) == ["200"] * 3
    locations = {entry["response"]["location"] for a in (first, second) for entry in a.body["entry"]}
    assert len(locations) == 1


async def test_if_match_holds_in_a_batch_too(service: Service) -> None:
    await service.put(report())
    bundle = batch(("PUT", PATH, report(status="amended")), ifMatch='W/"9"')
    assert statuses(await service.request("POST", "", bundle)) == ["412"]
    assert (await service.get(PATH)).body["status"] == "final"
    bundle = batch(("PUT", PATH, report(status="amended")), ifMatch='W/"1"')
    assert statuses(await service.request("POST", "", bundle)) == ["200"]
    bundle = batch(("PUT", PATH, report()), ifNoneMatch="*")
    assert statuses(await service.request("POST", "", bundle)) == ["412"]


async def test_bundles_that_are_no_batch(service: Service, mongodb: str) -> None:
    for bundle in (
        {**batch(("POST", "Patient", patient())), "type": "collection"},
        {**batch(("POST", "Patient", patient())), "type": ["batch"]},
        {"resourceType": "Bundle"},
        patient(),
    ):
        assert (await service.request("POST", "", bundle)).status == 400
    is_refused(await service.request("POST", "", {**batch(), "entry": {}}), 422, "structure")
    assert statuses(await service.request("POST", "", {**batch(), "entry": ["x", 1]})) == ["422", "422"]
    empty = await service.request("POST", "", batch())
    assert (empty.status, "entry" in empty.body) == (200, False)
    async with opened_service(mongodb, bundle_entries_max=2) as small:
        three = batch(*(("GET", "Patient/x", None) for _ in range(3)))
        is_refused(await small.request("POST", "", three), 413, "too-long")
