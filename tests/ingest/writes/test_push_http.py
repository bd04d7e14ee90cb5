"""Pushing over HTTP: what is stored, what is answered, and what is refused without being stored."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from uuid import UUID, uuid4

import pytest

from tests.ingest.writes.pushes import PATH, is_refused, statuses
from tests.support.fhir import (
    ORDERS,
    Json,
    batch,
    coded,
    identified,
    message,
    patient,
    product_page_report,
    report,
)
from tests.support.service import FHIR_UTF8, Answer, Service, exactly

NOON = "Sun, 22 Nov 2026 12:00:00 GMT"


def added(resource: Json, version: int, moment: str = "2026-11-22T12:00:00.000Z") -> Json:
    """The resource with what the service adds."""
    return {**resource, "meta": {"versionId": str(version), "lastUpdated": moment}}


# --- create


async def test_create(service: Service) -> None:
    answer = await service.create(report("mine"))
    stored = answer.body
    assert (answer.status, answer.headers["Content-Type"]) == (201, FHIR_UTF8)
    assert str(UUID(stored["id"])) == stored["id"]
    assert stored == added(report(stored["id"]), 1)
    assert answer.headers["Location"] == f"{service.base}/DiagnosticReport/{stored['id']}/_history/1"
    assert (answer.headers["ETag"], answer.headers["Last-Modified"]) == ('W/"1"', NOON)
    assert (await service.get(f"DiagnosticReport/{stored['id']}")).body == stored


async def test_create_twice_makes_two(service: Service) -> None:
    one, two = [await service.create(report()) for _ in range(2)]
    assert (one.status, two.status) == (201, 201)
    assert one.body["id"] != two.body["id"]


async def test_what_the_sender_says_of_version_and_moment_is_dropped_and_other_meta_kept(
    service: Service,
) -> None:
    sent = report(meta={"versionId": "77", "lastUpdated": "2000-01-01T00:00:00Z", "tag": [{"code": "x"}]})
    stored = (await service.put(sent)).body
    assert stored["meta"] == {
        "tag": [{"code": "x"}],
        "versionId": "1",
        "lastUpdated": "2026-11-22T12:00:00.000Z",
    }


# --- update


async def test_update_creates_replaces_and_leaves_alone(service: Service) -> None:
    created = await service.put(report())
    assert (created.status, created.headers["ETag"], created.body) == (201, 'W/"1"', added(report(), 1))
    assert created.headers["Location"] == f"{service.base}/{PATH}/_history/1"
    service.clock.move(minutes=1)
    unchanged = await service.put(report())
    assert (unchanged.status, unchanged.headers["ETag"], unchanged.headers["Last-Modified"]) == (
        200,
        'W/"1"',
        NOON,
    )
    assert unchanged.body == added(report(), 1)
    assert (await service.get(f"{PATH}/_history/2")).status == 404
    replaced = await service.put(report(status="amended"))
    assert (replaced.status, replaced.headers["ETag"]) == (200, 'W/"2"')
    assert replaced.headers["Last-Modified"] == "Sun, 22 Nov 2026 12:01:00 GMT"
    assert replaced.body == added(report(status="amended"), 2, "2026-11-22T12:01:00.000Z")
    assert (await service.get(PATH)).body == replaced.body


async def test_the_same_content_with_other_version_and_moment_is_unchanged(service: Service) -> None:
    stored = (await service.put(report())).body
    assert (await service.put(stored)).headers["ETag"] == 'W/"1"'


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (report("other"), "DiagnosticReport.id"),
        ({"resourceType": "DiagnosticReport", "status": "final", "code": coded("x")}, "DiagnosticReport.id"),
        (patient("r1"), "resourceType"),
        ({"id": "r1"}, "resourceType"),
    ],
)
async def test_body_and_url_must_agree(service: Service, body: Json, path: str) -> None:
    answer = await service.request("PUT", PATH, body)
    is_refused(answer, 400, "invalid")
    assert answer.body["issue"][0]["expression"] == [path]
    assert (await service.get(PATH)).status == 404


async def test_create_of_another_type(service: Service) -> None:
    is_refused(await service.request("POST", "DiagnosticReport", patient()), 400, "invalid")


async def test_if_match(service: Service) -> None:
    is_refused(await service.put(report(), if_match='W/"1"'), 412, "conflict")
    assert (await service.get(PATH)).status == 404
    await service.put(report())
    is_refused(await service.put(report(status="amended"), if_match='W/"2"'), 412, "conflict")
    is_refused(await service.put(report(status="amended"), if_match='W/"1", W/"2"'), 400, "value")
    for tag, version in (('W/"1"', 2), ('"2"', 3)):
        done = await service.put(report(conclusion=tag), if_match=tag)
        assert (done.status, done.headers["ETag"]) == (200, f'W/"{version}"')
    await service.delete(PATH)
    is_refused(await service.put(report(), if_match='W/"4"'), 412, "conflict")


async def test_a_deletion_heeds_if_match(service: Service) -> None:
    await service.put(report())
    is_refused(await service.delete(PATH, if_match='W/"2"'), 412, "conflict")
    bundle = batch(("DELETE", PATH, None), ifMatch='W/"2"')
    assert statuses(await service.request("POST", "", bundle)) == ["412"]
    assert (await service.get(PATH)).status == 200
    assert (await service.delete(PATH, if_match='W/"1"')).status == 204


async def test_of_those_who_saw_the_same_version_one_wins(service: Service) -> None:
    await service.put(report())
    answers = await asyncio.gather(
        *(service.put(report(conclusion=str(n)), if_match='W/"1"') for n in range(10))
    )
    assert Counter(answer.status for answer in answers) == {200: 1, 412: 9}
    [winner] = [answer for answer in answers if answer.status == 200]
    assert (await service.get(PATH)).body == winner.body


async def test_if_none_match_any(service: Service) -> None:
    assert (await service.put(report(), if_none_match="*")).status == 201
    for body in (report(), report(status="amended")):
        is_refused(await service.put(body, if_none_match="*"), 412, "conflict")
    assert (await service.get(PATH)).headers["ETag"] == 'W/"1"'
    await service.delete(PATH)
    assert (await service.put(report(), if_none_match="*")).status == 201


# --- conditional create


async def test_if_none_exist(service: Service) -> None:
    ours = [identified(ORDERS, "A-1")]
    condition = f"identifier={ORDERS}|A-1"
    created = await service.create(report(identifier=ours), if_none_exist=condition)
    assert created.status == 201
    again = await service.create(report(identifier=ours, status="amended"), if_none_exist=condition)
    assert (again.status, again.headers["ETag"], again.body) == (200, 'W/"1"', created.body)
    assert again.headers["Location"] == created.headers["Location"]
    await service.load(report("second", identifier=ours))
    answer = await service.create(report(identifier=ours), if_none_exist=condition)
    is_refused(answer, 412, "multiple-matches")


async def test_if_none_exist_finds_what_came_another_way(service: Service) -> None:
    stored = await service.put(report("known", identifier=[identified(ORDERS, "A-1")]))
    answer = await service.create(report(), if_none_exist=f"identifier={ORDERS}|A-1&_sort=date")
    assert (answer.status, answer.body) == (200, stored.body)


async def test_if_none_exist_after_what_it_made_has_changed(service: Service) -> None:
    ours, condition = [identified(ORDERS, "A-1")], f"identifier={ORDERS}|A-1"
    first = await service.create(report(identifier=ours), if_none_exist=condition)
    await service.load({**report(first.body["id"]), "identifier": [identified(ORDERS, "A-2")]})
    second = await service.create(report(identifier=ours), if_none_exist=condition)
    assert (second.status, second.body["id"] == first.body["id"]) == (201, False)


async def test_if_none_exist_after_what_it_made_was_deleted(service: Service) -> None:
    ours, condition = [identified(ORDERS, "A-1")], f"identifier={ORDERS}|A-1"
    first = await service.create(report(identifier=ours), if_none_exist=condition)
    await service.delete(f"DiagnosticReport/{first.body['id']}")
    second = await service.create(report(identifier=ours), if_none_exist=condition)
    assert second.status == 201
    assert (await service.search([("_id", second.body["id"])])).body["total"] == 1


@pytest.mark.parametrize(
    "condition", ["", "_count=1", "identifer=x", "code:in=x", "date=nonsense", "identifier="]
)
async def test_a_condition_that_cannot_be_tested_is_refused(service: Service, condition: str) -> None:
    answer = await service.create(report(), if_none_exist=condition)
    assert (answer.status, answer.headers["Content-Type"]) == (400, FHIR_UTF8)
    assert answer.issues[0][0] == "error"


async def test_twenty_at_once_under_one_condition_make_one(service: Service) -> None:
    for turn in range(5):
        number = f"A-{turn}"
        body = report(identifier=[identified(ORDERS, number)])
        answers = await asyncio.gather(
            *(service.create(body, if_none_exist=f"identifier={ORDERS}|{number}") for _ in range(20))
        )
        assert Counter(answer.status for answer in answers) == {201: 1, 200: 19}
        assert len({answer.headers["Location"] for answer in answers}) == 1
        found = await service.search([("patient", "p1"), ("identifier", f"{ORDERS}|{number}")])
        assert found.body["total"] == 1


# --- what is answered


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_prefer(service: Service, method: str) -> None:
    async def push(prefer: str) -> Answer:
        path = "DiagnosticReport" if method == "POST" else f"DiagnosticReport/{uuid4()}"
        body = product_page_report() | {"id": path.rpartition("/")[2]}
        return await service.request(method, path, body, headers={"Prefer": prefer})

    minimal = await push('respond-async, return = "minimal"')
    assert (minimal.status, minimal.text) == (201, "")
    outcome = await push("return=OperationOutcome")
    assert outcome.status == 201
    assert outcome.issues == [("information", "informational"), ("information", "informational")]
    assert "`object-for-list`" in outcome.texts
    for prefer in ("", "return=representation", "return=nonsense"):
        whole = await push(prefer)
        assert (whole.status, whole.body["resourceType"]) == (201, "DiagnosticReport")
    for answer in (minimal, outcome, whole):
        assert (answer.headers["ETag"], answer.headers["Last-Modified"]) == ('W/"1"', NOON)
        assert answer.headers["Location"].endswith("/_history/1")
        assert answer.headers["Dod-Tolerances"] == "object-for-list"


async def test_the_product_page_s_category_is_mended(service: Service) -> None:
    sent = product_page_report()
    answer = await service.put(sent)
    assert (answer.status, answer.body["category"]) == (201, [sent["category"]])
    assert (await service.put(answer.body)).headers["ETag"] == 'W/"1"'


async def test_nulls_and_empty_elements_are_mended(service: Service) -> None:
    answer = await service.put(report(conclusion=None, note=[], issued="", extension={}))
    assert (answer.status, answer.body) == (201, added(report(), 1))
    assert answer.headers["Dod-Tolerances"] == "null-element, empty-element"


# --- what is kept: every digit, every unknown element


EXACT = """{
  "resourceType": "Observation", "id": "o1", "status": "final",
  "code": {"coding": [{"code": "x"}]},
  "valueQuantity": {"value": 1.00, "unit": "mg"},
  "referenceRange": [{"low": {"value": 0.10}, "high": {"value": 1e2}}, {"low": {"value": -0}},
    {"low": {"value": 1E-7}}, {"low": {"value": -0.0}}],
  "component": [
    {"valueQuantity": {"value": 123456789012345678901234567890}},
    {"valueQuantity": {"value": 0.123456789012345678901234567890}},
    {"valueInteger": 9007199254740993},
    {"valueQuantity": {"value": 3.14e+400}}
  ],
  "extension": [{"url": "urn:example:unknown", "valueDecimal": 2.50,
    "extension": [{"url": "deep", "valueString": "a\\u0000b"}]}],
  "_status": {"extension": [{"url": "urn:example:primitive", "valueBoolean": false}]},
  "unheardOf": {"nested": [[1.10, [true, null, "\\ud83d\\ude00 \\u2028 </script> \\" \\\\ / é"]], {"": 0}]},
  "text": {"status": "generated", "div": "<div xmlns=\\"http://www.w3.org/1999/xhtml\\"> a&amp;b\\n</div>"}
}"""


async def test_digits_and_unknown_elements_come_back_as_they_came(service: Service) -> None:
    pushed = await service.request("PUT", "Observation/o1", data=EXACT)
    read = await service.get("Observation/o1")
    found = await service.search("_id=o1", type="Observation")
    past = await service.get("Observation/o1/_history/1")
    assert pushed.status == 201
    wanted = exactly(EXACT)
    [entry] = found.digits["entry"]
    for digits in (pushed.digits, read.digits, past.digits, entry["resource"]):
        assert digits.pop("meta") == {"versionId": "1", "lastUpdated": "2026-11-22T12:00:00.000Z"}
        assert digits == wanted
    assert "1.00" in read.text
    other = await service.request("PUT", "Observation/o1", data=EXACT.replace("1.00", "1.0"))
    assert (other.status, other.headers["ETag"]) == (200, 'W/"2"')


async def test_digits_survive_messages_and_batches(service: Service) -> None:
    body = exactly(EXACT)
    bundle = json.dumps(message(patient("p1"))).replace(
        '"resource": {"resourceType": "Patient"',
        f'"resource": {EXACT}}}, {{"resource": {{"resourceType": "Patient"',
    )
    pushed = await service.request("POST", "$process-message", data=bundle)
    assert pushed.status == 200, pushed.text
    location = pushed.body["entry"][1]["response"]["location"]
    stored = (await service.get(location)).digits
    assert {**stored, "id": "o1", "meta": None} == {**body, "meta": None}
    sent = json.dumps(batch(("PUT", "Observation/o1", {}))).replace('"resource": {}', f'"resource": {EXACT}')
    assert (await service.request("POST", "", data=sent)).status == 200
    stored = (await service.get("Observation/o1")).digits
    assert {**stored, "meta": None} == {**body, "meta": None}
