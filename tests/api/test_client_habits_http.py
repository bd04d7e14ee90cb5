"""Habits of stock clients, as recorded: what they send that the text of R4 would not make one expect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from tests.support.fhir import Json, identified, message, patient, report
from tests.support.service import FHIR

if TYPE_CHECKING:
    from tests.support.service import Service

MRN = "urn:made-up:mr"


def known(value: str) -> Json:
    return patient("client-id", identified(MRN, value), name=[{"family": "Made"}])


def bundle(kind: str, *entries: Json) -> Json:
    return {"resourceType": "Bundle", "type": kind, "entry": list(entries)}


def statuses(answer: Any) -> list[str]:
    return [entry["response"]["status"][:3] for entry in answer.body["entry"]]


async def count(service: Service, value: str) -> int:
    answer = await service.search(f"identifier={MRN}|{value}", type="Patient")
    return int(answer.body["total"])


async def test_hapi_names_conditions_by_whole_urls(service: Service) -> None:
    """`If-None-Exist`, header and Bundle, with an absolute URL of our base, or its path."""
    criteria = f"Patient?identifier={quote(f'{MRN}|H1', safe='')}"
    for condition in (f"{service.base}/{criteria}", f"{service.root}/{criteria}", criteria, f"/{criteria}"):
        answer = await service.create(known("H1"), if_none_exist=condition)
        assert answer.status in (200, 201), answer.text
        for kind in ("batch", "transaction"):
            request = {"method": "POST", "url": "Patient", "ifNoneExist": condition}
            entry = {"resource": known("H1"), "request": request}
            answer = await service.request("POST", "", bundle(kind, entry))
            assert statuses(answer) == ["200"], answer.text
    assert await count(service, "H1") == 1
    elsewhere = await service.create(known("H1"), if_none_exist=f"https://other.example/{criteria}")
    assert (elsewhere.status, "another server" in elsewhere.texts) == (400, True)
    assert await count(service, "H1") == 1


@pytest.mark.parametrize("kind", ["batch", "transaction"])
async def test_hapi_leaves_out_the_url_of_an_entry(service: Service, kind: str) -> None:
    posted = {"resource": known(f"{kind}-1"), "request": {"method": "POST"}}
    put = {"resource": {**known(f"{kind}-2"), "id": kind}, "request": {"method": "PUT"}}
    answer = await service.request("POST", "", bundle(kind, posted, put))
    assert statuses(answer) == ["201", "201"], answer.text
    for entry in answer.body["entry"]:
        told = [issue["diagnostics"] for issue in entry["response"]["outcome"]["issue"]]
        assert any("entry-without-url" in text for text in told)
    assert (await service.get(f"Patient/{kind}")).status == 200
    assert await count(service, f"{kind}-1") == 1
    strict = await service.request("POST", "", bundle(kind, put), headers={"Prefer": "handling=strict"})
    assert "request.url" in strict.text
    assert strict.status == 400 if kind == "transaction" else statuses(strict) == ["422"]
    doubtful = {"resource": known("x"), "request": {"method": "DELETE"}}
    refused = await service.request("POST", "", bundle("batch", doubtful, {"request": {"method": "PUT"}}))
    assert statuses(refused) == ["422", "422"]


async def test_hapi_shows_diagnostics(service: Service) -> None:
    answer = await service.search("colour=red&patient=Patient/1", prefer="handling=strict")
    [issue] = answer.body["issue"]
    assert issue["diagnostics"] == issue["details"]["text"]
    assert "`colour`" in issue["diagnostics"]


async def test_fhirpy_puts_the_condition_of_a_create_into_its_url(service: Service) -> None:
    """`get_or_create`, as Aidbox has it: the query of a POST is its `If-None-Exist`."""
    path = f"Patient?identifier={quote(f'{MRN}|F1', safe='')}"
    answers = [await service.request("POST", path, known("F1")) for _ in range(3)]
    assert [answer.status for answer in answers] == [201, 200, 200]
    assert len({answer.body["id"] for answer in answers}) == 1
    keyed = {"Idempotency-Key": "made-up-1"}
    assert (await service.request("POST", path, known("F1"), headers=keyed)).status == 200
    entry = {"resource": known("F1"), "request": {"method": "POST", "url": path}}
    for kind in ("batch", "transaction"):
        assert statuses(await service.request("POST", "", bundle(kind, entry))) == ["200"]
    assert await count(service, "F1") == 1
    both = await service.request("POST", path, known("F1"), headers={"If-None-Exist": "identifier=a|b"})
    assert both.status == 400
    unknown = await service.request("POST", "Patient?colour=red", known("F1"))
    assert (unknown.status, "`colour`" in unknown.texts) == (400, True)
    assert await count(service, "F1") == 1


async def test_parameters_that_shape_an_answer_are_no_condition(service: Service) -> None:
    for _ in range(2):
        path = "Patient?_format=json&_pretty=true&_filename=a.txt&_=1"
        answer = await service.request("POST", path, known("F2"))
        assert answer.status == 201
    assert await count(service, "F2") == 2


@pytest.mark.parametrize(
    ("beside", "status"),
    [
        ("_count=1000", 200),  # Medplum.
        ("_=1732450000000", 200),  # jQuery, against caches.
        ("_format=json&_pretty=true&_total=accurate", 200),  # HAPI.
        ("patient=Patient/p1&_sort=-date", 200),  # Who adds the whole search again.
        ("colour=red", 200),
        ("patient=Patient/p2", 400),
        ("status=final", 400),
        ("_sort=date", 400),
        ("_elements=id", 400),
    ],
)
async def test_what_clients_add_to_page_links(service: Service, beside: str, status: int) -> None:
    await service.load(report("r1"), report("r2"), report("r3"))
    first = await service.search("patient=Patient/p1&_sort=-date&_count=1")
    plain = await service.get(first.links["next"])
    answer = await service.get(f"{first.links['next']}&{beside}")
    assert answer.status == status, answer.text
    if status == 200:
        assert answer.ids == plain.ids
    else:
        assert beside.partition("=")[0] in answer.texts


async def test_what_clients_add_to_links_of_a_history(service: Service) -> None:
    for status in ("partial", "preliminary", "final"):
        await service.load(report("r1", status=status))
    first = await service.get("DiagnosticReport/r1/_history?_count=1")
    assert (await service.get(f"{first.links['next']}&_count=1000&_=1")).status == 200
    assert (await service.get(f"{first.links['next']}&_since=2020-01-01T00:00:00Z")).status == 400


@pytest.mark.parametrize("kind", ["batch", "transaction"])
async def test_reads_in_bundles_heed_their_conditions(service: Service, kind: str) -> None:
    await service.load(known("I1"))
    hour = "2026-11-22T{:02}:30:00Z"
    cases: list[tuple[Json, str]] = [
        ({"ifNoneMatch": 'W/"1"'}, "304"),
        ({"ifNoneMatch": '"1"'}, "304"),
        ({"ifNoneMatch": 'W/"7", W/"1"'}, "304"),
        ({"ifNoneMatch": 'W/"2"'}, "200"),
        ({"ifModifiedSince": hour.format(13)}, "304"),
        ({"ifModifiedSince": hour.format(11)}, "200"),
        ({"ifModifiedSince": hour.format(13), "ifNoneMatch": 'W/"2"'}, "200"),
        ({"ifModifiedSince": "9999-12-31T23:59:59-14:00"}, "304"),
        ({"ifModifiedSince": "0001-01-01T00:00:00+14:00"}, "200"),
        ({"url": "Patient/client-id/_history/1", "ifNoneMatch": 'W/"1"'}, "304"),
    ]
    entries = [
        {"request": {"method": "GET", "url": "Patient/client-id", **condition}} for condition, _ in cases
    ]
    answer = await service.request("POST", "", bundle(kind, *entries))
    assert statuses(answer) == [status for _, status in cases], answer.text
    for entry in answer.body["entry"]:
        assert ("resource" in entry) == (entry["response"]["status"][:3] == "200")
        assert entry["response"]["etag"] == 'W/"1"'
    wrong = {"request": {"method": "GET", "url": "Patient/client-id", "ifModifiedSince": "2026-11-22"}}
    refused = await service.request("POST", "", bundle(kind, wrong))
    assert "ifModifiedSince" in refused.text
    assert refused.status == 400 if kind == "transaction" else statuses(refused) == ["400"]


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        (FHIR, 200),
        (f"{FHIR}; fhirVersion=4.0", 200),
        (f'{FHIR}; charset=utf-8; fhirVersion="4.0.1"', 200),
        (f"{FHIR}; fhirVersion=3.0", 415),
        (f"{FHIR}; FHIRVERSION=5.0; charset=utf-8", 415),
        ("application/json; fhirVersion=1.0", 415),
    ],
)
async def test_bodies_of_other_versions(service: Service, content_type: str, status: int) -> None:
    await service.load(patient("v"))
    path, body = "Patient/v", patient("v", active=True)
    answer = await service.request("PUT", path, body, content_type=content_type)
    assert answer.status == status
    if status == 415:
        assert "fhirVersion=4.0" in answer.texts
    binary = {"resourceType": "Binary", "contentType": "text/plain", "data": "YQ=="}
    posted = await service.request("POST", "Binary", binary, content_type=content_type)
    assert posted.status == (201 if status == 200 else 415)
    version = content_type.partition("; ")[2]
    format = quote(f"application/fhir+json; {version}")
    assert (await service.get(f"Patient/v?_format={format}")).status == (200 if status == 200 else 406)


async def test_a_key_that_stands_twice_is_named_with_its_place(service: Service) -> None:
    inner = '{"resource": {"resourceType": "Patient", "name": [{"family": "Doe", "family": "Doe"}]}}'
    text = f'{{"resourceType": "Bundle", "type": "batch", "entry": [{{}}, {inner}]}}'
    answer = await service.request("POST", "", data=text)
    assert (answer.status, answer.issues) == (400, [("error", "structure")])
    assert "`family` in `entry[1].resource.name[0]`" in answer.texts
    assert answer.body["issue"][0]["expression"] == ["entry[1].resource.name[0].family"]
    assert "Doe" not in answer.text


SUBSETTED = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}


async def test_a_part_of_a_resource_does_not_overwrite_the_whole(service: Service) -> None:
    """A client that searches with `_elements` and puts back what came would lose the rest."""
    mrn = [identified(MRN, "S1")]
    await service.load(report("r1", identifier=mrn, conclusion="long"))
    [found] = (await service.search("_id=r1&_elements=identifier")).matches
    part = found["resource"]
    assert part["meta"]["tag"][0]["code"] == "SUBSETTED"
    where = f"DiagnosticReport?identifier={quote(f'{MRN}|S1', safe='')}"
    by_id = {"resource": part, "request": {"method": "PUT", "url": "DiagnosticReport/r1"}}
    by_condition = {"resource": part, "request": {"method": "PUT", "url": where}}
    answers = [await service.put(part), await service.request("PUT", where, part)]
    answers += [await service.request("POST", "", bundle("transaction", e)) for e in (by_id, by_condition)]
    sent = message({**part, "subject": {"reference": "Patient/p1"}})
    answers.append(await service.request("POST", "$process-message", sent))
    assert [answer.status for answer in answers] == [422] * 5
    assert all("SUBSETTED" in answer.texts for answer in answers)
    batched = await service.request("POST", "", bundle("batch", by_id, by_condition))
    assert statuses(batched) == ["422", "422"]
    assert (await service.get("DiagnosticReport/r1")).body["conclusion"] == "long"
    other = {"system": "urn:made-up:tags", "code": "SUBSETTED"}
    assert (await service.put(report("r2", meta={"tag": [other]}))).status == 201
    assert (await service.create(patient("p", meta={"tag": [SUBSETTED]}))).status == 201


async def test_a_subscription_that_cannot_work_is_refused(service: Service) -> None:
    """R4's own criteria, which other servers take; and one in a Bundle."""
    asked = {
        "resourceType": "Subscription",
        "id": "s1",
        "status": "requested",
        "reason": "made up",
        "criteria": "DiagnosticReport?patient=Patient/p1",
        "channel": {"type": "rest-hook", "endpoint": "https://app.example/hook"},
    }
    posted, put = await service.create(asked), await service.put(asked)
    entry = {"resource": asked, "request": {"method": "POST", "url": "Subscription"}}
    assert (posted.status, put.status) == (422, 422)
    assert "backport-filter-criteria" in posted.texts
    assert statuses(await service.request("POST", "", bundle("batch", entry))) == ["422"]
    rest = (await service.get("metadata")).body["rest"][0]
    [row] = [row for row in rest["resource"] if row["type"] == "Subscription"]
    offered = {one["code"] for one in row["interaction"]}
    assert {"create", "read", "update", "delete", "search-type"} == offered
    assert (row["updateCreate"], row["conditionalCreate"], row["conditionalUpdate"]) == (True, False, False)
