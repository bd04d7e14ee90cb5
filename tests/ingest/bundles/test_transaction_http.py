"""Transactions over HTTP: all of a Bundle or nothing, and batches with searches in them."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from typing import Any

import pytest

from tests.support.fhir import MRN, Json, batch, identified, patient, refers, report
from tests.support.service import FHIR_UTF8, Answer, Service, opened_service

URN = "urn:uuid:5e4f0d3a-0000-4000-8000-000000000001"
CONDITION = f"identifier={MRN}|7"


def entry(
    method: str, url: str, resource: Json | None = None, full_url: str | None = None, **more: Any
) -> Json:
    return {
        **({} if full_url is None else {"fullUrl": full_url}),
        **({} if resource is None else {"resource": resource}),
        "request": {"method": method, "url": url, **more},
    }


def transaction(*entries: Json, **more: Any) -> Json:
    return {"resourceType": "Bundle", "type": "transaction", **more, "entry": list(entries)}


async def send(service: Service, *entries: Json, **more: Any) -> Answer:
    return await service.request("POST", "", transaction(*entries, **more))


def responses(answer: Answer) -> list[Json]:
    assert (answer.status, answer.headers["Content-Type"]) == (200, FHIR_UTF8), answer.text
    assert (answer.body["resourceType"], answer.body["type"]) == ("Bundle", "transaction-response")
    return [one["response"] for one in answer.body["entry"]]


def statuses(answer: Answer) -> list[str]:
    return [one["status"][:3] for one in responses(answer)]


def path_of(response: Json) -> str:
    """`Type/id` of a location."""
    return "/".join(response["location"].split("/")[-4:-2])


async def about(service: Service, person: str) -> int:
    answer = await service.search(f"patient={person}")
    total: int = answer.body["total"]
    return total


async def test_everything_is_stored_and_answered_in_the_order_of_entries(service: Service) -> None:
    await service.load(report("old"), report("r1"), patient("known"))
    answer = await send(
        service,
        entry("GET", "Patient/new"),
        entry("POST", "DiagnosticReport", report(subject=refers(URN))),
        entry("PUT", "DiagnosticReport/r1", report("r1", status="amended")),
        entry("PUT", "Patient/new", patient("new"), URN),
        entry("DELETE", "DiagnosticReport/old"),
        entry("GET", "Patient/known"),
    )
    assert statuses(answer) == ["200", "201", "200", "201", "204", "200"]
    read, created, replaced, put, deleted, known = responses(answer)
    assert answer.body["entry"][0]["resource"]["id"] == "new"
    assert answer.body["entry"][5]["resource"]["id"] == "known"
    assert [one["etag"] for one in (read, created, replaced, deleted, known)] == [
        'W/"1"', 'W/"1"', 'W/"2"', 'W/"2"', 'W/"1"',
    ]  # fmt: skip
    assert put["location"] == f"{service.base}/Patient/new/_history/1"
    assert put["lastModified"] == "2026-11-22T12:00:00.000Z"
    assert (await service.get(path_of(created))).body["subject"] == refers("Patient/new")
    assert await about(service, "new") == 1
    assert (await service.get("DiagnosticReport/old")).status == 410
    assert (await service.get("DiagnosticReport/r1/_history/1")).body["status"] == "final"


async def test_no_entries_are_no_error(service: Service) -> None:
    answer = await send(service)
    assert (answer.status, "entry" in answer.body) == (200, False)


REFUSED: list[tuple[Json, int]] = [
    (entry("POST", "DiagnosticReport", report(subject=refers("urn:uuid:0"))), 400),
    (entry("POST", "DiagnosticReport", report(subject=refers(f"Patient?{CONDITION}0"))), 400),
    (entry("POST", "DiagnosticReport", report(subject=refers("Patient?nonsense=1"))), 400),
    (entry("POST", "DiagnosticReport", report(subject=refers("Patient?_count=1"))), 400),
    (entry("POST", "DiagnosticReport", report(subject=refers("Patient?"))), 400),
    (entry("POST", "DiagnosticReport", report(subject=refers("https://elsewhere.test/fhir/Patient?"))), 400),
    (entry("POST", "DiagnosticReport", report(subject=refers(f"Patient?{CONDITION}"))), 412),
    (entry("POST", "Patient", patient(), ifNoneExist=CONDITION), 412),
    (entry("PUT", "Patient/p1", patient("p1", active=True), ifMatch='W/"9"'), 412),
    (entry("PUT", "Patient/p1", patient("p1", active=True), ifMatch="what"), 400),
    (entry("PUT", "Patient/p1", patient("p1", active=True), ifNoneMatch="*"), 412),
    (entry("DELETE", "Patient/p1", ifMatch='W/"9"'), 412),
    (entry("DELETE", f"Patient?{CONDITION}"), 412),
    (entry("PUT", "Patient/first", patient("first", active=True)), 400),
    (entry("GET", "Patient/never"), 404),
    (entry("POST", "DiagnosticReport", {"resourceType": "DiagnosticReport", "effectiveDateTime": "x"}), 422),
    (entry("PATCH", "Patient/p1"), 400),
]


@pytest.mark.parametrize(("wrong", "status"), REFUSED)
async def test_one_entry_that_fails_leaves_nothing(service: Service, wrong: Json, status: int) -> None:
    await service.load(patient("p1", identified(MRN, "7")), patient("p2", identified(MRN, "7")))
    answer = await send(
        service,
        entry("PUT", "Patient/first", patient("first")),
        wrong,
        entry("PUT", "Patient/p2", patient("p2", identified(MRN, "7"), active=True)),
        entry("PUT", "Patient/last", patient("last")),
    )
    assert answer.status == status, answer.text
    assert answer.body["resourceType"] == "OperationOutcome"
    for path in ("Patient/first", "Patient/last"):
        assert (await service.get(path)).status == 404
    for path in ("Patient/p1", "Patient/p2"):
        assert (await service.get(path)).headers["ETag"] == 'W/"1"'
    assert await about(service, "p1") == 0


async def test_conditions_that_hold_lead_to_what_is_there(service: Service) -> None:
    await service.load(patient("p1", identified(MRN, "7")))
    created, existing, deleted = responses(
        await send(
            service,
            entry("POST", "DiagnosticReport", report(subject=refers(f"Patient?{CONDITION}"))),
            entry("POST", "Patient", patient("x", active=True), URN, ifNoneExist=CONDITION),
            entry("DELETE", "Observation?code=none"),
        )
    )
    assert [one["status"][:3] for one in (created, existing, deleted)] == ["201", "200", "204"]
    assert path_of(existing) == "Patient/p1"
    assert await about(service, "p1") == 1
    [replaced] = responses(
        await send(
            service, entry("PUT", f"Patient?{CONDITION}", patient("p1", identified(MRN, "7"), active=True))
        )
    )
    assert (path_of(replaced), replaced["etag"]) == ("Patient/p1", 'W/"2"')


async def test_what_is_deleted_first_is_created_anew(service: Service) -> None:
    await service.load(patient("p1", identified(MRN, "7")))
    new = patient("x", identified(MRN, "7"))
    created, deleted = responses(
        await send(
            service, entry("POST", "Patient", new, ifNoneExist=CONDITION), entry("DELETE", "Patient/p1")
        )
    )
    assert [created["status"][:3], deleted["status"][:3]] == ["201", "204"]
    assert (await service.get(path_of(created))).status == 200


async def test_twenty_transactions_with_one_condition_store_one(service: Service, mongodb: str) -> None:
    async with opened_service(mongodb) as second:
        there = Service(second.client, second.clock, service.tenant, service.headers)
        for n in range(3):
            condition = f"identifier={MRN}|round-{n}"
            bundles = [
                (
                    entry(
                        "POST",
                        "Patient",
                        patient("x", identified(MRN, f"round-{n}")),
                        URN,
                        ifNoneExist=condition,
                    ),
                    entry("POST", "DiagnosticReport", report(subject=refers(URN), conclusion=f"{n} {m}")),
                )
                for m in range(20)
            ]
            answers = await asyncio.gather(
                *(send((service, there)[m % 2], *entries) for m, entries in enumerate(bundles))
            )
            assert sorted(statuses(answer)[0] for answer in answers) == ["200"] * 19 + ["201"]
            [person] = {path_of(responses(answer)[0]) for answer in answers}
            assert await about(service, person.partition("/")[2]) == 20


async def test_a_condition_whose_old_product_fulfils_it_no_more(service: Service) -> None:
    new = entry("POST", "Patient", patient("x", identified(MRN, "7")), ifNoneExist=CONDITION)
    [first] = responses(await send(service, new))
    await service.load(patient(path_of(first).partition("/")[2], identified(MRN, "8")))
    [second] = responses(await send(service, new, id="second"))
    assert (second["status"][:3], path_of(second) == path_of(first)) == ("201", False)


async def test_scopes_are_asked_for_each_entry(service: Service) -> None:
    reader = await service.with_token(scopes=["system/Patient.cud", "system/DiagnosticReport.r"])
    answer = await send(
        reader,
        entry("PUT", "Patient/p9", patient("p9")),
        entry("PUT", "DiagnosticReport/r9", report("r9")),
    )
    assert answer.status == 403
    assert (await service.get("Patient/p9")).status == 404


async def test_limits(mongodb: str) -> None:
    async with opened_service(mongodb, transaction_entries_max=2, transaction_bytes_max=1_000) as small:
        three = [entry("PUT", f"Patient/{n}", patient(str(n))) for n in range(3)]
        assert (await send(small, *three)).status == 413
        assert (await send(small, *three[:2])).status == 200
        long = entry("PUT", "Patient/1", patient("1", name=[{"text": "x" * 1_000}]))
        answer = await send(small, long)
        assert (answer.status, answer.issues) == (413, [("error", "too-long")])
        assert (await small.get("Patient/1")).headers["ETag"] == 'W/"1"'


async def test_a_batch_answers_searches_and_reads(service: Service) -> None:
    await service.load(report("r1"))
    bundle = batch(
        ("GET", "DiagnosticReport?patient=p1", None),
        ("GET", "DiagnosticReport/r1", None),
        ("POST", "DiagnosticReport", report("r2", conclusion="new")),
        ("GET", "DiagnosticReport?status=final", None),
        ("GET", "DiagnosticReport?patient=p1&date=nonsense", None),
        ("GET", "Nothing?patient=p1", None),
    )
    answer = await service.request("POST", "", bundle)
    entries = answer.body["entry"]
    assert [one["response"]["status"][:3] for one in entries] == ["200", "200", "201", "400", "400", "404"]
    searchset = entries[0]["resource"]
    assert (searchset["type"], searchset["total"]) == ("searchset", 2)
    assert entries[1]["resource"]["id"] == "r1"
    again = await service.request("POST", "", bundle)
    assert again.body["entry"][0]["resource"]["total"] == 2
    assert "Idempotent-Replayed" not in again.headers
    blind = await service.with_token(scopes=["system/*.cru"])
    refused = await blind.request("POST", "", batch(("GET", "DiagnosticReport?patient=p1", None)))
    assert refused.body["entry"][0]["response"]["status"] == "403"


async def test_one_resource_may_be_so_large_in_a_transaction_too(mongodb: str) -> None:
    async with opened_service(mongodb, resource_bytes_max=1_500) as small:
        long = report("long", conclusion="x" * 2_000)
        answer = await send(
            small,
            entry("PUT", "Patient/p1", patient()),
            entry("PUT", "DiagnosticReport/long", long),
        )
        assert (answer.status, answer.issues) == (413, [("error", "too-long")])
        assert (await small.get("Patient/p1")).status == 404


@pytest.mark.parametrize("depth", [101, 200, 400, 900])
async def test_deep_nesting_is_refused_with_its_place(service: Service, depth: int) -> None:
    body = json.dumps(transaction(entry("PUT", "DiagnosticReport/r1", report(extension=["…"]))))
    answer = await service.request("POST", "", data=body.replace('"\\u2026"', "[" * depth + "]" * depth))
    assert answer.status == 422, answer.text
    assert answer.body["issue"][0]["expression"] == ["Bundle.entry[0].resource"]


def patching(*operations: Json, media: str = "application/json-patch+json", **more: Any) -> Json:
    """The resource of a PATCH entry."""
    data = b64encode(json.dumps(operations).encode()).decode()
    return {"resourceType": "Binary", "contentType": media, "data": data, **more}


def replaced(value: Any, path: str = "/conclusion") -> Json:
    return {"op": "add", "path": path, "value": value}


@pytest.mark.parametrize("kind", ["batch", "transaction"])
async def test_a_patch_in_a_bundle(service: Service, kind: str) -> None:
    body = json.dumps(report("r1", identifier=[identified(MRN, "7")], extension=["…"]))
    body = body.replace('"\\u2026"', '{"url": "urn:x", "valueDecimal": 1.00}')
    await service.request("PUT", "DiagnosticReport/r1", data=body)
    await service.load(report("r2", identifier=[identified(MRN, "8")]))
    bundle = transaction(
        entry("GET", "DiagnosticReport/r1"),
        entry("PATCH", "DiagnosticReport/r1", patching(replaced("one")), ifMatch='W/"1"'),
        entry("PATCH", f"DiagnosticReport?identifier={MRN}|8", patching(replaced("two"))),
        entry("POST", "Patient", patient(), URN),
    )
    answer = await service.request("POST", "", {**bundle, "type": kind})
    assert [one["response"]["status"][:3] for one in answer.body["entry"]] == ["200", "200", "200", "201"]
    assert answer.body["entry"][0]["resource"]["conclusion"] == "one"
    assert '"valueDecimal":1.00}' in answer.text
    for name, text in (("r1", "one"), ("r2", "two")):
        stored = await service.get(f"DiagnosticReport/{name}")
        assert (stored.body["conclusion"], stored.headers["ETag"]) == (text, 'W/"2"')


async def test_a_patch_may_refer_to_what_its_transaction_creates(service: Service) -> None:
    await service.load(report("r1"))
    patch = patching(replaced({"reference": URN}, "/subject"))
    done = responses(
        await send(
            service, entry("PATCH", "DiagnosticReport/r1", patch), entry("POST", "Patient", patient(), URN)
        )
    )
    stored = await service.get("DiagnosticReport/r1")
    assert stored.body["subject"] == refers(path_of(done[1]))


UNFIT = {
    "nothing there": (entry("PATCH", "DiagnosticReport/none", patching()), 404),
    "the condition holds for none": (entry("PATCH", f"DiagnosticReport?{CONDITION}", patching()), 404),
    "deleted before": (entry("PATCH", "DiagnosticReport/gone", patching()), 410),
    "another version": (entry("PATCH", "DiagnosticReport/r1", patching(), ifMatch='W/"7"'), 412),
    "a path that is not there": (
        entry("PATCH", "DiagnosticReport/r1", patching({"op": "remove", "path": "/x"})),
        409,
    ),
    "no JSON Patch": (entry("PATCH", "DiagnosticReport/r1", patching({"op": "x"})), 400),
    "no base64": (entry("PATCH", "DiagnosticReport/r1", patching() | {"data": "?"}), 400),
    "another format": (entry("PATCH", "DiagnosticReport/r1", patching(media="text/plain")), 400),
    "no Binary": (entry("PATCH", "DiagnosticReport/r1", report("r1")), 400),
    "another id": (entry("PATCH", "DiagnosticReport/r1", patching(replaced("r2", "/id"))), 400),
    "no report any more": (
        entry("PATCH", "DiagnosticReport/r1", patching({"op": "remove", "path": "/code"})),
        422,
    ),
}


@pytest.mark.parametrize(("wrong", "status"), UNFIT.values(), ids=UNFIT)
async def test_a_patch_that_does_not_fit(service: Service, wrong: Json, status: int) -> None:
    await service.load(report("r1"), report("gone"))
    await service.delete("DiagnosticReport/gone")
    other = entry("PUT", "Patient/p9", patient("p9"))
    whole = await send(service, wrong, other)
    assert whole.status == status, whole.text
    if status != 412:
        assert all("Bundle.entry[0]" in str(issue["expression"]) for issue in whole.body["issue"])
    assert (await service.get("Patient/p9")).status == 404
    each = await service.request("POST", "", transaction(wrong, other) | {"type": "batch"})
    assert [one["response"]["status"][:3] for one in each.body["entry"]] == [str(status), "201"]


async def test_a_patch_and_another_write_to_one_resource_are_refused(service: Service) -> None:
    await service.load(report("r1"))
    twice = [entry("PATCH", "DiagnosticReport/r1", patching(replaced("a")))] * 2
    assert (await send(service, *twice)).status == 400


async def test_patches_of_simultaneous_transactions_are_all_there(service: Service) -> None:
    add = {"op": "add", "path": "/extension/-", "value": {"url": "urn:x", "valueString": "y"}}
    await service.load(report("r1", extension=[add["value"]]))
    answers = await asyncio.gather(
        *(send(service, entry("PATCH", "DiagnosticReport/r1", patching(add)), id=str(n)) for n in range(8))
    )
    assert {answer.status for answer in answers} == {200}
    assert len((await service.get("DiagnosticReport/r1")).body["extension"]) == 9


async def test_a_patch_needs_the_scope_to_update(service: Service) -> None:
    await service.load(report("r1"))
    other = await service.with_token(scopes=["system/*.cr"])
    assert (await send(other, entry("PATCH", "DiagnosticReport/r1", patching()))).status == 403
