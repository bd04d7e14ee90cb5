"""Conditional writes and PATCH over HTTP: which resource is hit, and that no race hits another."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.conditional import by, count, numbered, put_where
from tests.support.fhir import MRN, ORDERS, Json, identified, message, patient, refers, report
from tests.support.service import FHIR, FHIR_UTF8, Answer, Service, named

SENTINEL = "sentinel-7391"
PATCH = "application/json-patch+json"
PATH = "DiagnosticReport/r1"


def is_refused(answer: Answer, status: int, *codes: str) -> None:
    assert (answer.status, answer.headers["Content-Type"]) == (status, FHIR_UTF8), answer.text
    assert [code for _, code in answer.issues] == list(codes), answer.text
    assert SENTINEL not in answer.text


async def patched(service: Service, path: str, *operations: Json, **headers: str) -> Answer:
    return await service.request("PATCH", path, list(operations), content_type=PATCH, headers=named(headers))


def replaced(path: str, value: Any) -> Json:
    return {"op": "replace", "path": path, "value": value}


# --- conditional update


async def test_an_update_by_identifier_creates_once_and_then_updates(service: Service) -> None:
    created = await put_where(service, by("A-1"), numbered("A-1", status="preliminary"))
    assert (created.status, created.headers["ETag"]) == (201, 'W/"1"')
    again = await put_where(service, by("A-1"), numbered("A-1", status="preliminary"))
    assert (again.status, again.body) == (200, created.body)
    final = await put_where(service, by("A-1"), numbered("A-1", status="final"))
    assert (final.status, final.headers["ETag"]) == (200, 'W/"2"')
    assert final.body["id"] == created.body["id"]
    assert await count(service, "A-1") == 1


async def test_an_update_by_condition_and_the_id_in_the_body(service: Service) -> None:
    mine = {**numbered("A-1"), "id": "mine"}
    created = await put_where(service, by("A-1"), mine)
    assert (created.status, created.body["id"]) == (201, "mine")
    same = await put_where(service, by("A-1"), {**mine, "status": "amended"})
    assert (same.status, same.headers["ETag"]) == (200, 'W/"2"')
    is_refused(await put_where(service, by("A-1"), {**mine, "id": "other"}), 400, "invalid")
    # Nothing fulfils it, and the id is somebody's.
    is_refused(await put_where(service, by("A-2"), {**numbered("A-2"), "id": "mine"}), 409, "conflict")
    assert (await service.get("DiagnosticReport/mine")).headers["ETag"] == 'W/"2"'
    assert (await service.get("DiagnosticReport/other")).status == 404


async def test_an_update_for_which_several_would_do(service: Service) -> None:
    await service.load({**numbered("A-1"), "id": "a"}, {**numbered("A-1"), "id": "b"})
    is_refused(
        await put_where(service, by("A-1"), numbered("A-1", status="amended")), 412, "multiple-matches"
    )
    is_refused(await service.delete(by("A-1")), 412, "multiple-matches")
    is_refused(await patched(service, by("A-1"), replaced("/status", "amended")), 412, "multiple-matches")
    for name in ("a", "b"):
        assert (await service.get(f"DiagnosticReport/{name}")).headers["ETag"] == 'W/"1"'


async def test_an_update_by_condition_heeds_versions(service: Service) -> None:
    body = numbered("A-1")
    is_refused(await put_where(service, by("A-1"), body, if_match='W/"1"'), 412, "conflict")
    assert (await put_where(service, by("A-1"), body, if_none_match="*")).status == 201
    is_refused(await put_where(service, by("A-1"), body, if_none_match="*"), 412, "conflict")
    is_refused(
        await put_where(service, by("A-1"), numbered("A-1", status="amended"), if_match='W/"2"'),
        412,
        "conflict",
    )
    done = await put_where(service, by("A-1"), numbered("A-1", status="amended"), if_match='W/"1"')
    assert (done.status, done.headers["ETag"]) == (200, 'W/"2"')


async def test_the_body_is_checked_like_any(service: Service) -> None:
    is_refused(await put_where(service, by("A-1"), patient()), 400, "invalid")
    is_refused(await put_where(service, by("A-1"), numbered("A-1", status=SENTINEL)), 422, "code-invalid")
    is_refused(await put_where(service, by("A-1"), {**numbered("A-1"), "id": 7}), 400, "invalid")
    assert await count(service, "A-1") == 0


@pytest.mark.parametrize(
    "criteria",
    [
        "",
        "_count=1",
        "identifer=x",
        "identifier=x&identifer=y",
        "identifier=",
        "identifier=&status=final",
        "status=final&identifier=,",
        "status=final&code:in=x",
        "status=final&date=nonsense",
        "status=final&_lastUpdated=nonsense",
        "status=final&_has:Observation=x",
        "_contained=false",
        "status=final&identifier=%FF",
    ],
)
async def test_no_criterion_is_left_out(service: Service, criteria: str) -> None:
    """Each of these, with what cannot be understood left out, would hold for the report."""
    await service.load(report())
    answers = [
        await put_where(service, f"DiagnosticReport?{criteria}", report(status="amended")),
        await service.delete(f"DiagnosticReport?{criteria}"),
        await patched(service, f"DiagnosticReport?{criteria}", replaced("/status", "amended")),
        await service.create(report(), if_none_exist=criteria),
    ]
    for answer in answers:
        assert (answer.status, answer.issues[0][0]) == (400, "error"), answer.text
    assert (await service.get(PATH)).headers["ETag"] == 'W/"1"'


async def test_a_criterion_that_was_passed_over_once(service: Service) -> None:
    """Parameters that begin with `_` narrow a condition like any other."""
    await service.load({**numbered("A-1"), "id": "known"})
    condition = f"identifier={ORDERS}|A-1&_lastUpdated=gt2030"
    assert (await service.create(numbered("A-1"), if_none_exist=condition)).status == 201


async def test_a_header_that_is_not_utf_8(service: Service) -> None:
    """Such bytes arrive from aiohttp as lone surrogates, which the database could not be asked for."""
    url = service.client.make_url(f"{service.root}/DiagnosticReport")
    reader, writer = await asyncio.open_connection(url.host, url.port)
    head = f"POST {url.path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: {FHIR}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in service.headers.items())
    body = json.dumps(report()).encode()
    writer.write(head.encode() + b"If-None-Exist: identifier=\xff\r\n")
    writer.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
    answered = await reader.read()
    writer.close()
    assert answered.startswith(b"HTTP/1.1 400 "), answered
    assert b"not UTF-8" in answered


# --- conditional delete


async def test_a_deletion_by_condition(service: Service) -> None:
    await service.load({**numbered("A-1"), "id": "a"}, {**numbered("A-2"), "id": "b"})
    is_refused(await service.delete(by("A-1"), if_match='W/"2"'), 412, "conflict")
    done = await service.delete(by("A-1"))
    assert (done.status, done.headers["ETag"], done.text) == (204, 'W/"2"', "")
    assert (await service.get("DiagnosticReport/a")).status == 410
    assert (await service.get("DiagnosticReport/b")).status == 200
    assert (await service.delete(by("A-1"))).status == 204
    is_refused(await service.delete(by("A-1"), if_match='W/"2"'), 412, "conflict")


async def test_a_deletion_that_says_what_it_did(service: Service) -> None:
    await service.load(report())
    for said in ("Deleted.", "Deleted."):
        done = await service.delete(PATH, prefer="return=OperationOutcome")
        assert (done.status, done.texts, done.headers["ETag"]) == (200, said, 'W/"2"')
    never = await service.delete("DiagnosticReport/never", prefer="return=OperationOutcome")
    assert (never.status, never.texts) == (200, "There was nothing to delete.")


# --- patch


async def test_a_patch_makes_a_version_and_keeps_every_digit(service: Service) -> None:
    sent = '{"resourceType":"DiagnosticReport","id":"r1","status":"preliminary","code":{"text":"x"},'
    sent += '"subject":{"reference":"Patient/p1"},"extension":[{"url":"urn:x","valueDecimal":1.00}]}'
    assert (await service.request("PUT", PATH, data=sent)).status == 201
    patch = '[{"op":"replace","path":"/status","value":"final"},'
    patch += '{"op":"add","path":"/extension/-","value":{"url":"urn:y","valueDecimal":2.500}}]'
    answer = await service.request("PATCH", PATH, data=patch, content_type=PATCH)
    assert (answer.status, answer.headers["ETag"]) == (200, 'W/"2"')
    assert answer.headers["Location"] == f"{service.base}/{PATH}/_history/2"
    read = await service.get(PATH)
    assert read.text == answer.text
    assert [one["valueDecimal"] for one in read.digits["extension"]] == ["1.00", "2.500"]
    assert (await service.search("patient=p1&status=final")).ids == ["r1"]
    assert (await service.get(f"{PATH}/_history/1")).body["status"] == "preliminary"


async def test_a_patch_that_changes_nothing_makes_no_version(service: Service) -> None:
    await service.load(report())
    for operations in ([], [{"op": "test", "path": "/id", "value": "r1"}], [replaced("/status", "final")]):
        answer = await patched(service, PATH, *operations)
        assert (answer.status, answer.headers["ETag"]) == (200, 'W/"1"')


async def test_prefer_shapes_the_answer_to_a_patch(service: Service) -> None:
    await service.load(report())
    minimal = await patched(service, PATH, replaced("/status", "amended"), prefer="return=minimal")
    assert (minimal.status, minimal.text, minimal.headers["ETag"]) == (200, "", 'W/"2"')
    said = await patched(service, PATH, replaced("/status", "amended"), prefer="return=OperationOutcome")
    assert "no new version" in said.texts


async def test_patches_that_are_refused(service: Service) -> None:
    await service.load(report())
    refused = [
        (patched(service, PATH, {"op": "test", "path": "/status", "value": SENTINEL}), 409, "conflict"),
        (patched(service, PATH, {"op": "remove", "path": f"/{SENTINEL}"}), 409, "conflict"),
        (patched(service, PATH, {"op": "nonsense", "path": "/status"}), 400, "structure"),
        (patched(service, PATH, replaced("/status", SENTINEL)), 422, "code-invalid"),
        (patched(service, PATH, {"op": "remove", "path": "/status"}), 422, "required"),
        (patched(service, PATH, replaced("/id", "r2")), 400, "invalid"),
        (patched(service, PATH, replaced("/resourceType", "Patient")), 400, "invalid"),
        (patched(service, PATH, replaced("", [])), 422, "structure"),
        (patched(service, PATH, replaced("/status", "amended"), if_match='W/"2"'), 412, "conflict"),
        (patched(service, PATH, replaced("/status", "amended"), if_match="x"), 400, "value"),
        (patched(service, "DiagnosticReport/never"), 404, "not-found"),
        (patched(service, by("A-9")), 404, "not-found"),
        (service.request("PATCH", PATH, data="", content_type=PATCH), 400, "structure"),
        (service.request("PATCH", PATH, data='{"op":"add"}', content_type=PATCH), 400, "structure"),
        (
            service.request("PATCH", PATH, data='[{"op":"add","op":"x"}]', content_type=PATCH),
            400,
            "structure",
        ),
    ]
    for asking, status, code in refused:
        is_refused(await asking, status, code)
    assert (await service.get(PATH)).headers["ETag"] == 'W/"1"'
    assert (await patched(service, PATH, replaced("/status", "amended"), if_match='W/"1"')).status == 200
    await service.delete(PATH)
    is_refused(await patched(service, PATH, replaced("/status", "final")), 410, "deleted")


@pytest.mark.parametrize("media", [FHIR, "application/json", "application/xml-patch+xml", "text/plain"])
async def test_other_patches_are_not_offered(service: Service, media: str) -> None:
    await service.load(report())
    body = {"resourceType": "Parameters", "parameter": []}
    answer = await service.request("PATCH", PATH, body, content_type=media)
    is_refused(answer, 415, "not-supported")
    assert PATCH in answer.texts
    assert "FHIRPath Patch" in answer.texts


async def test_a_patch_by_condition(service: Service) -> None:
    await service.load({**numbered("A-1"), "id": "a"})
    answer = await patched(service, by("A-1"), replaced("/status", "amended"))
    assert (answer.status, answer.body["id"], answer.headers["ETag"]) == (200, "a", 'W/"2"')


async def test_patches_at_once_all_take_place(service: Service) -> None:
    await service.load(report(extension=[]) | {"extension": [{"url": "urn:0"}]})
    answers = await asyncio.gather(
        *(
            patched(service, PATH, {"op": "add", "path": "/extension/-", "value": {"url": f"urn:{n}"}})
            for n in range(1, 13)
        )
    )
    assert {answer.status for answer in answers} == {200}
    read = (await service.get(PATH)).body
    assert sorted(one["url"] for one in read["extension"]) == sorted(f"urn:{n}" for n in range(13))
    assert read["meta"]["versionId"] == "13"


# --- who may


async def test_scopes(service: Service) -> None:
    await service.load({**numbered("A-1"), "id": "a"})
    reader = await service.with_token(scopes=["system/DiagnosticReport.rs", "system/Patient.cruds"])
    for answer in (
        await put_where(reader, by("A-1"), numbered("A-1")),
        await reader.delete(by("A-1")),
        await patched(reader, by("A-1")),
        await patched(reader, "DiagnosticReport/a"),
    ):
        is_refused(answer, 403, "forbidden")


async def test_who_may_not_read_is_shown_nothing_of_what_others_wrote(service: Service) -> None:
    await service.load({**numbered("A-1", conclusion=SENTINEL), "id": "a"})
    writer = await service.with_token(scopes=["system/DiagnosticReport.cu"])
    answers = [
        await writer.create(numbered("A-1"), if_none_exist=f"identifier={ORDERS}|A-1"),
        await patched(writer, "DiagnosticReport/a", replaced("/status", "amended")),
        await patched(writer, by("A-1"), replaced("/status", "corrected")),
    ]
    for answer in answers:
        assert (answer.status, answer.text) == (200, "")
    # What is there already is named, not dated; what the writer made is its own.
    assert [one.headers["Location"].rpartition("/DiagnosticReport/a")[2] for one in answers] == [
        "",
        "/_history/2",
        "/_history/3",
    ]


async def test_another_tenant_s_is_not_found(service: Service) -> None:
    await service.load({**numbered("A-1"), "id": "a"})
    other = await service.new_tenant()
    assert (await put_where(other, by("A-1"), numbered("A-1"))).status == 201
    assert (await other.delete(by("A-1"))).status == 204
    assert (await service.get("DiagnosticReport/a")).headers["ETag"] == 'W/"1"'


# --- at once; on two services: test_races_http.py


SPELLINGS = [
    f"DiagnosticReport?identifier={ORDERS}|A-1",
    f"identifier={ORDERS}|A-1",
    f"?identifier={ORDERS}|A-1",
    f"identifier={quote(ORDERS, safe='')}%7CA-1",
    f"identifier={ORDERS}|A-1&_sort=date",
    f"_format=json&identifier={ORDERS}|A-1",
]


async def test_spellings_of_one_condition_meet(service: Service) -> None:
    answers = await asyncio.gather(
        *(service.create(numbered("A-1"), if_none_exist=SPELLINGS[n % len(SPELLINGS)]) for n in range(20))
    )
    assert Counter(answer.status for answer in answers) == {201: 1, 200: 19}


@pytest.mark.parametrize(
    "condition",
    [
        "patient=p1&code=x&date=2020-05-05",
        "patient=Patient/p1&status=final",
        "subject:identifier=urn:example:MR|m1",
        "patient=p1&_lastUpdated=ge2026",
        "identifier=A-1",
        f"identifier={ORDERS}|A-1&patient=p1",
        f"identifier={ORDERS}|A-1,{ORDERS}|A-2",
    ],
)
async def test_other_conditions_that_the_body_fulfils_hold_at_once_too(
    service: Service, condition: str
) -> None:
    body = numbered(
        "A-1",
        code={"coding": [{"code": "x"}]},
        subject={**refers("Patient/p1"), "identifier": identified("urn:example:MR", "m1")},
        effectiveDateTime="2020-05-05",
    )
    for turn in range(3):
        answers = await asyncio.gather(*(service.create(body, if_none_exist=condition) for _ in range(20)))
        assert Counter(answer.status for answer in answers) == ({200: 20} if turn else {201: 1, 200: 19})


async def test_twins_meet_again_after_what_was_made_first_moved_on(service: Service) -> None:
    condition = f"identifier={ORDERS}|A-1"
    for turn in range(4):
        answers = await asyncio.gather(
            *(service.create(numbered("A-1"), if_none_exist=condition) for _ in range(20))
        )
        assert Counter(answer.status for answer in answers) == {201: 1, 200: 19}, turn
        made = answers[0].headers["Location"].partition("/DiagnosticReport/")[2].partition("/")[0]
        await service.load({**numbered(f"moved-{turn}"), "id": made})


async def test_a_body_without_the_identifier_is_created_each_time(service: Service) -> None:
    """R4: no match means create. No twin can ever be found by this condition."""
    condition = f"identifier={ORDERS}|A-1"
    for _ in range(25):
        answer = await service.create(numbered("another"), if_none_exist=condition)
        assert answer.status == 201
    assert await count(service, "another") == 25


async def test_a_message_and_a_create_under_its_identifier_meet(service: Service) -> None:
    for turn in range(5):
        value = f"m-{turn}"
        number = {**identified(MRN, value), "type": {"coding": [{"code": "MR"}]}}
        body: Json = {"resourceType": "Patient", "identifier": [number]}
        sent = message({**body, "id": "theirs"}, report("r", "theirs"))
        creating = (service.create(body, if_none_exist=f"identifier={MRN}|{value}") for _ in range(5))
        pushing = (service.request("POST", "$process-message", sent) for _ in range(5))
        answers = await asyncio.gather(*creating, *pushing)
        assert {answer.status for answer in answers} <= {200, 201}
        assert (await service.search(f"identifier={MRN}|{value}", type="Patient")).body["total"] == 1


async def test_a_race_never_deletes_what_no_longer_fulfils_the_condition(service: Service) -> None:
    for turn in range(10):
        name = f"r{turn}"
        await service.load({**numbered("old", conclusion=str(turn)), "id": name})
        moved, _ = await asyncio.gather(
            service.put({**numbered("new"), "id": name}, if_match='W/"1"'), service.delete(by("old"))
        )
        read = await service.get(f"DiagnosticReport/{name}")
        # Whoever came first won: moved away from under the deletion, or deleted before the update.
        assert (moved.status, read.status) in ((200, 200), (412, 410))
        await service.delete(f"DiagnosticReport/{name}")
