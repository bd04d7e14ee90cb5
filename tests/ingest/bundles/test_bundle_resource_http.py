"""A Bundle as a resource: kept whole, found by its patients; what is to be carried out belongs elsewhere."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.fhir import MRN, Json, batch, identified, message, patient, refers, report, resource
from tests.support.service import exactly

if TYPE_CHECKING:
    from tests.support.service import Service

URN = "urn:uuid:5e4f0d3a-0000-4000-8000-000000000001"
KEPT = ["document", "collection", "searchset", "history", "batch-response", "transaction-response"]


def bundle(kind: str | None = "document", id: str = "b1", **elements: Any) -> Json:
    """A patient and a report that point at one another only in here."""
    entries: list[Json] = [
        {"fullUrl": URN, "resource": {"resourceType": "Patient", "identifier": [identified(MRN, "7")]}},
        {"fullUrl": f"{URN[:-1]}2", "resource": report("r1", None, subject=refers(URN))},
    ]
    typed = {} if kind is None else {"type": kind}
    return {"resourceType": "Bundle", "id": id, **typed, "entry": entries, **elements}


def content(body: Json) -> Json:
    return {name: value for name, value in body.items() if name not in ("id", "meta")}


@pytest.mark.parametrize("kind", KEPT)
async def test_it_is_read_back_exactly(service: Service, kind: str) -> None:
    sent = bundle(kind, timestamp="2026-01-02T03:04:05.678+01:00", identifier=identified("urn:docs", "D-1"))
    sent["entry"][0]["resource"]["extension"] = [{"url": "urn:x", "valueDecimal": 0}]
    text = json.dumps(sent).replace('"valueDecimal": 0', '"valueDecimal": 1.00')
    created = await service.request("POST", "Bundle", data=text)
    assert created.status == 201, created.text
    assert "Dod-Tolerances" not in created.headers
    read = await service.get(f"Bundle/{created.body['id']}")
    assert read.text == created.text
    assert content(read.digits) == content(exactly(text))
    # Nothing in it became a resource of its own.
    assert (await service.search(f"identifier={MRN}|7", type="Patient")).body["total"] == 0


async def test_it_is_a_resource_like_any_other(service: Service) -> None:
    assert (await service.put(bundle())).status == 201
    assert (await service.put(bundle())).headers["ETag"] == 'W/"1"'
    changed = await service.put(bundle("collection"), if_match='W/"1"')
    assert (changed.status, changed.headers["ETag"]) == (200, 'W/"2"')
    assert (await service.get("Bundle/b1/_history/1")).body["type"] == "document"
    assert (await service.get("Bundle/b1/_history")).body["total"] == 2
    key = {"Idempotency-Key": "k"}
    twice = [await service.request("POST", "Bundle", bundle(), headers=key) for _ in range(2)]
    assert twice[0].text == twice[1].text
    found = await service.request(
        "POST", "Bundle", bundle(), headers={"If-None-Exist": f"patient.identifier={MRN}|7&type=collection"}
    )
    assert found.headers["Location"].endswith("/Bundle/b1/_history/2")
    assert (await service.delete("Bundle/b1")).status == 204
    assert (await service.get("Bundle/b1")).status == 410


async def test_a_long_document_inside_stays_inside(service: Service) -> None:
    """A Bundle may be signed, as a whole."""
    data = base64.b64encode(b"made-up " * 40_000).decode()
    sent = bundle()
    sent["entry"][1]["resource"]["presentedForm"] = [{"contentType": "text/plain", "data": data}]
    sent["entry"].append({"resource": resource("Binary", "x", contentType="text/plain", data=data)})
    ways = [
        ("PUT", "Bundle/b1", sent),
        ("POST", "", batch(("PUT", "Bundle/b1", sent))),
        ("POST", "", {**batch(("PUT", "Bundle/b1", sent)), "type": "transaction"}),
        ("POST", "$process-message", message(sent, report("m1", None))),
    ]
    for method, path, body in ways:
        answer = await service.request(method, path, body)
        assert answer.status in (200, 201), answer.text
    stored = (await service.search("_id=b1", type="Bundle")).matches
    assert [content(one["resource"]) for one in stored] == [content(sent)]
    found = (await service.search(f"patient.identifier={MRN}|7", type="Bundle")).matches
    assert [content(one["resource"]) for one in found] == [content(sent)] * 2


async def test_what_points_within_it_is_left_alone(service: Service) -> None:
    """Though an entry beside it has the same name."""
    sent = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {"fullUrl": URN, "resource": patient("x"), "request": {"method": "POST", "url": "Patient"}},
            {"resource": bundle(), "request": {"method": "PUT", "url": "Bundle/b1"}},
            {
                "resource": report("r9", None, subject=refers(URN)),
                "request": {"method": "PUT", "url": "DiagnosticReport/r9"},
            },
        ],
    }
    assert (await service.request("POST", "", sent)).status == 200
    assert content((await service.get("Bundle/b1")).body) == content(bundle())
    assert (await service.get("DiagnosticReport/r9")).body["subject"]["reference"].startswith("Patient/")


@pytest.mark.parametrize(
    ("kind", "code", "said"),
    [
        ("batch", "not-supported", "is posted to the base itself"),
        ("transaction", "not-supported", "is posted to the base itself"),
        ("message", "not-supported", "is posted to `$process-message`"),
        ("sentinel", "code-invalid", "must be a code of bundle-type"),
        (["document"], "code-invalid", "must be a code of bundle-type"),
        (None, "required", "is missing"),
    ],
)
async def test_one_that_is_to_be_carried_out_is_told_where(
    service: Service, kind: Any, code: str, said: str
) -> None:
    sent = bundle(kind)
    for answer in (await service.request("POST", "Bundle", sent), await service.put(sent)):
        assert (answer.status, answer.issues) == (422, [("error", code)])
        assert said in answer.texts
        assert answer.body["issue"][0]["expression"] == ["Bundle.type"]
        assert "sentinel" not in answer.text


@pytest.mark.parametrize(
    ("path", "kind", "status", "said"),
    [
        ("", "message", 400, "a message belongs to `$process-message`"),
        ("", "document", 400, "push it to `Bundle`"),
        ("", "history", 400, "push it to `Bundle`"),
        ("", "nonsense", 400, "`batch` or `transaction`"),
        ("$process-message", "transaction", 422, "belongs to the base itself"),
        ("$process-message", "collection", 422, "push it to `Bundle`"),
        ("DiagnosticReport/$write", "batch", 422, "belongs to the base itself"),
    ],
)
async def test_one_that_came_to_the_wrong_place_is_told_where(
    service: Service, path: str, kind: str, status: int, said: str
) -> None:
    answer = await service.request("POST", path, bundle(kind))
    assert (answer.status, len(answer.issues)) == (status, 1)
    assert said in answer.texts


async def test_it_is_found_by_its_patients_and_what_r4_names(service: Service) -> None:
    mine = bundle(timestamp="2026-01-02T03:04:05Z", identifier=identified("urn:docs", "D-1"))
    other = {"resourceType": "Bundle", "id": "b2", "type": "collection", "entry": [{"resource": report()}]}
    await service.load(mine, other)
    for query, ids in {
        f"patient.identifier={MRN}|7": ["b1"],
        f"patient:identifier={MRN}|7": ["b1"],
        "patient=p1": ["b2"],
        "patient=Patient/p1&type=collection": ["b2"],
        "patient=Patient/p1&type=document": [],
        "patient=p2": [],
        f"patient.identifier={MRN}|7&timestamp=2026-01": ["b1"],
        f"patient.identifier={MRN}|7&identifier=urn:docs|D-1": ["b1"],
        f"patient.identifier={MRN}|7&_content=final": ["b1"],
        "_id=b1,b2": ["b1", "b2"],
    }.items():
        found = await service.search(query, type="Bundle")
        assert found.status == 200, found.text
        assert sorted(found.ids) == ids, query
    assert (await service.get("Patient/p1/Bundle")).ids == ["b2"]


async def test_a_search_names_its_patient(service: Service) -> None:
    answer = await service.search("type=document", type="Bundle")
    assert (answer.status, answer.issues) == (400, [("error", "required")])
    blind = await service.with_token(scopes=["system/DiagnosticReport.cruds"])
    await service.load(bundle())
    assert (await blind.get("Bundle/b1")).status == 403


async def test_a_report_in_it_is_searched_for_no_more_than_before(service: Service) -> None:
    """A kept Bundle is a document, not an import: what is to be found is pushed as itself."""
    await service.load(
        {"resourceType": "Bundle", "id": "b2", "type": "collection", "entry": [{"resource": report()}]}
    )
    assert (await service.search("patient=p1")).body["total"] == 0


async def test_one_that_is_too_large_says_so(service: Service) -> None:
    sent = bundle(signature={"data": "QUJD" * 4_000_000})
    answer = await service.put(sent)
    assert (answer.status, answer.issues) == (413, [("error", "too-long")])
