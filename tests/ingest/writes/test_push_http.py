"""Pushing over HTTP: what is stored, what is answered, and what is refused without being stored."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections import Counter
from typing import Any
from uuid import UUID, uuid4

import pytest

from api.http.app_keys import REGISTRY
from tests.support.fhir import (
    MRN,
    ORDERS,
    Json,
    batch,
    coded,
    identified,
    message,
    patient,
    product_page_report,
    refers,
    report,
    resource,
)
from tests.support.service import FHIR_UTF8, Answer, Service, exactly, opened_service

SENTINEL = "sentinel-7391"
NOON = "Sun, 22 Nov 2026 12:00:00 GMT"
PATH = "DiagnosticReport/r1"


def is_refused(answer: Answer, status: int, *codes: str) -> None:
    assert (answer.status, answer.headers["Content-Type"]) == (status, FHIR_UTF8), answer.text
    assert [code for _, code in answer.issues] == list(codes), answer.text
    assert SENTINEL not in answer.text


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


# --- what is refused


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b'{"a":1}x', "not JSON"),
        (b"[]", "object"),
        (b"null", "object"),
        (b'"text"', "object"),
        (b'{"resourceType":"DiagnosticReport","status":"final","status":"final"}', "same key twice"),
        (b'{"resourceType":"DiagnosticReport","code":{"text":"a","text":"b"}}', "same key twice"),
        (b'{"resourceType":"DiagnosticReport","x":NaN}', "NaN"),
        (b'{"resourceType":"DiagnosticReport","x":-Infinity}', "NaN"),
        (b'{"resourceType":"DiagnosticReport","x":"\xff"}', "UTF-8"),
        ('{"resourceType":"DiagnosticReport"}'.encode("utf-16"), "UTF-8"),
        (b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deep"),
        (b'{"resourceType":"DiagnosticReport","x":01}', "not JSON"),
        (b"{'resourceType':1}", "not JSON"),
    ],
)
async def test_a_body_that_is_no_json_object(service: Service, body: bytes, said: str) -> None:
    for method, path in (
        ("POST", "DiagnosticReport"),
        ("PUT", PATH),
        ("POST", "$process-message"),
        ("POST", ""),
    ):
        answer = await service.request(method, path, data=body)
        is_refused(answer, 400, "structure")
        assert said in answer.texts


@pytest.mark.parametrize("value", ['"\\ud800"', "[" * 300 + "]" * 300])
async def test_json_that_cannot_be_kept(service: Service, value: str) -> None:
    body = json.dumps(report(x="X")).replace('"X"', value)
    is_refused(await service.request("PUT", PATH, data=body), 400, "structure")


async def test_a_byte_order_mark_is_forgiven(service: Service) -> None:
    body = json.dumps(report()).encode("utf-8-sig")
    assert (await service.request("PUT", PATH, data=body)).status == 201


@pytest.mark.parametrize(
    ("elements", "path", "code"),
    [
        ({"status": "done"}, "DiagnosticReport.status", "code-invalid"),
        ({"status": SENTINEL}, "DiagnosticReport.status", "code-invalid"),
        ({"status": 7}, "DiagnosticReport.status", "code-invalid"),
        ({"status": None}, "DiagnosticReport.status", "required"),
        ({"code": None}, "DiagnosticReport.code", "required"),
        ({"code": {}}, "DiagnosticReport.code", "required"),
        ({"effectiveDateTime": SENTINEL}, "DiagnosticReport.effectiveDateTime", "value"),
        ({"effectiveDateTime": "2020-02-30"}, "DiagnosticReport.effectiveDateTime", "value"),
        (
            {"effectivePeriod": {"start": "2021", "end": "2020"}},
            "DiagnosticReport.effectivePeriod",
            "value",
        ),
        ({"subject": SENTINEL}, "DiagnosticReport.subject", "value"),
        ({"subject": {"reference": 7}}, "DiagnosticReport.subject.reference", "value"),
        ({"identifier": [{"value": 7}]}, "DiagnosticReport.identifier.value", "value"),
        ({"code": {"coding": [{"code": 7}]}}, "DiagnosticReport.code.coding.code", "value"),
        ({"contained": [SENTINEL]}, "DiagnosticReport.contained", "value"),
        ({"meta": SENTINEL}, "DiagnosticReport.meta", "structure"),
    ],
)
async def test_content_that_breaks_a_rule_is_named_by_its_path(
    service: Service, elements: Json, path: str, code: str
) -> None:
    answer = await service.put(report(**elements))
    is_refused(answer, 422, code)
    assert answer.body["issue"][0]["expression"] == [path]
    assert (await service.get(PATH)).status == 404


async def test_every_issue_is_said_at_once(service: Service) -> None:
    answer = await service.put(report(status="x", code=None, effectiveDateTime="x", effectivePeriod={}))
    assert answer.status == 422
    assert len(answer.issues) >= 2


@pytest.mark.parametrize("id", ["under_score", "x" * 65, " ", 7])
async def test_an_id_that_is_no_id(service: Service, id: Any) -> None:
    is_refused(await service.request("POST", "DiagnosticReport", report(id)), 422, "value")


async def test_a_type_that_is_not_r4_s(service: Service) -> None:
    answer = await service.request("POST", "Report", {"resourceType": "Report"})
    assert answer.status in (404, 422)


async def test_media_types_and_encodings(service: Service) -> None:
    body = json.dumps(report()).encode()
    for content_type in ("application/fhir+json; charset=utf-8", "application/json", "application/fhir+json"):
        assert (await service.request("PUT", PATH, data=body, content_type=content_type)).status in (200, 201)
    for content_type in ("application/fhir+xml", "text/plain", "application/fhir+json; charset=latin-1"):
        answer = await service.request("PUT", PATH, data=body, content_type=content_type)
        is_refused(answer, 415, "not-supported")
    packed = zlib.compress(body, wbits=31)
    gzip = await service.request("PUT", PATH, data=packed, headers={"Content-Encoding": "gzip"})
    assert (gzip.status, gzip.headers["ETag"]) == (200, 'W/"1"')
    odd = await service.request("PUT", PATH, data=body, headers={"Content-Encoding": "x-odd"})
    is_refused(odd, 415, "not-supported")
    broken = await service.request("PUT", PATH, data=body, headers={"Content-Encoding": "gzip"})
    is_refused(broken, 400, "structure")


async def test_bodies_at_the_limit_and_above(mongodb: str) -> None:
    def sized(total: int) -> bytes:
        empty = json.dumps(report(conclusion="")).encode()
        return json.dumps(report(conclusion="x" * (total - len(empty)))).encode()

    async with opened_service(mongodb, body_bytes_max=2_000, resource_bytes_max=1_500) as service:
        is_refused(await service.request("PUT", PATH, data=sized(2_001)), 413, "too-long")
        is_refused(await service.request("PUT", PATH, data=sized(2_000)), 413, "too-long")
        assert (await service.request("PUT", PATH, data=sized(1_400))).status == 201
        bomb = zlib.compress(sized(500_000), wbits=31)
        assert len(bomb) < 2_000
        packed = await service.request("PUT", PATH, data=bomb, headers={"Content-Encoding": "gzip"})
        is_refused(packed, 413, "too-long")
        is_refused(await service.post_search("patient=" + "x" * 2_001), 413, "too-long")


async def test_who_may_push(service: Service) -> None:
    reader = await service.with_token(scopes=["system/*.rs"])
    creator = await service.with_token(scopes=["system/DiagnosticReport.c"])
    is_refused(await reader.create(report()), 403, "forbidden")
    is_refused(await reader.put(report()), 403, "forbidden")
    is_refused(await reader.delete(PATH), 403, "forbidden")
    is_refused(await creator.put(report()), 403, "forbidden")
    is_refused(await creator.create(patient()), 403, "forbidden")
    assert (await creator.create(report())).status == 201
    stranger = Service(service.client, service.clock, service.tenant)
    is_refused(await stranger.create(report()), 401, "login")
    other = await service.new_tenant()
    foreign = Service(service.client, service.clock, service.tenant, other.headers)
    is_refused(await foreign.create(report()), 403, "forbidden")
    nowhere = Service(service.client, service.clock, other.tenant, service.headers)
    is_refused(await nowhere.create(report()), 403, "forbidden")


async def test_a_tenant_that_was_never_created(service: Service) -> None:
    from store.tenancy import Tenant  # noqa: PLC0415 -- this test alone

    ghost = Service(service.client, service.clock, Tenant(f"ghost-{uuid4().hex[:8]}", "Staging"))
    is_refused(await (await ghost.with_token(scopes=["system/*.cruds"])).create(report()), 404, "not-found")


# --- batches


def statuses(answer: Answer) -> list[str]:
    assert (answer.status, answer.headers["Content-Type"]) == (200, FHIR_UTF8), answer.text
    return [entry["response"]["status"].partition(" ")[0] for entry in answer.body["entry"]]


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


# --- messages


def locations(answer: Answer) -> list[str]:
    assert (answer.status, answer.headers["Content-Type"]) == (200, FHIR_UTF8), answer.text
    assert (answer.body["resourceType"], answer.body["type"]) == ("Bundle", "transaction-response")
    return [entry["response"]["location"] for entry in answer.body["entry"]]


def laboratory(*, status: str = "final", source: str = "urn:example:lab") -> Json:
    """A message with a report and what it refers to, in the source's own ids and URLs."""
    return message(
        report(
            "rep",
            "pat",
            status=status,
            identifier=[identified(ORDERS, "A-1")],
            result=[refers("https://lab.example/Observation/obs"), refers("Observation/obs/_history/3")],
            performer=[refers("https://elsewhere.example/Organization/1"), {"display": "Nobody"}],
        ),
        resource("Observation", "obs", status="final", code=coded("1-8"), subject=refers("Patient/pat")),
        patient("pat", identified(MRN, "1")),
        source=source,
    )


MESSAGE_PATHS = (
    "$process-message",
    "DiagnosticReport/$diagnosticreport-create",
    "DiagnosticReport/$diagnosticreport-amend",
    "DiagnosticReport/$write",
    "Observation/$observation-create",
)


@pytest.mark.parametrize("path", MESSAGE_PATHS)
async def test_a_message_stores_its_resources_under_ids_of_their_own(service: Service, path: str) -> None:
    answer = await service.request("POST", path, laboratory())
    found = locations(answer)
    assert [where.split("/")[-4] for where in found] == [
        "MessageHeader",
        "DiagnosticReport",
        "Observation",
        "Patient",
    ]
    for entry, where in zip(answer.body["entry"], found, strict=True):
        assert entry["response"]["status"] == "201 Created"
        assert entry["response"]["etag"] == 'W/"1"'
        assert entry["response"]["lastModified"] == "2026-11-22T12:00:00.000Z"
        assert where.startswith(f"{service.base}/")
        assert where.endswith("/_history/1")
        assert UUID(where.split("/")[-3]).version == 8
    _, rep, obs, pat = ["/".join(where.split("/")[-4:-2]) for where in found]
    stored = (await service.get(rep)).body
    assert stored["subject"] == refers(pat)
    assert stored["result"] == [refers(obs), refers(obs)]
    assert stored["performer"] == [refers("https://elsewhere.example/Organization/1"), {"display": "Nobody"}]
    assert (await service.get(obs)).body["subject"] == refers(pat)
    by_number = await service.search([("patient.identifier", f"{MRN}|1"), ("order", "A-1")])
    assert by_number.ids == [stored["id"]]


async def test_the_same_message_again_changes_nothing_and_says_so(service: Service) -> None:
    first = locations(await service.request("POST", "$process-message", laboratory()))
    service.clock.move(hours=1)
    again = await service.request("POST", "$process-message", {**laboratory(), "id": "again"})
    assert locations(again) == first
    for entry in again.body["entry"]:
        assert (entry["response"]["status"], entry["response"]["etag"]) == ("200 OK", 'W/"1"')
        assert "no new version" in entry["response"]["outcome"]["issue"][0]["details"]["text"]


async def test_a_later_message_about_the_same_report_is_its_next_version(service: Service) -> None:
    first = locations(await service.request("POST", "$process-message", laboratory()))
    amended = locations(await service.request("POST", "$process-message", laboratory(status="amended")))
    assert amended[1] == first[1].removesuffix("1") + "2"
    assert amended[2:] == first[2:]
    past, current = await service.get(first[1]), await service.get(amended[1])
    assert (past.body["status"], current.body["status"]) == ("final", "amended")


async def test_numbers_name_a_resource_and_its_parts_whoever_sends_it(
    service: Service,
) -> None:
    one = locations(await service.request("POST", "$process-message", laboratory()))
    two = locations(await service.request("POST", "$process-message", laboratory(source="urn:example:two")))
    ids = [[where.split("/")[-3] for where in found] for found in (one, two)]
    same = [a == b for a, b in zip(*ids, strict=True)]
    # Header, report, observation, patient: the observation is the report's, whoever sends it.
    assert same == [False, True, True, True]


async def test_a_resource_that_is_stored_already_keeps_its_id(service: Service) -> None:
    await service.load(patient("known", identified(MRN, "1")))
    found = locations(await service.request("POST", "$process-message", laboratory()))
    assert found[3] == f"{service.base}/Patient/known/_history/1"
    assert (await service.get(found[1])).body["subject"] == refers("Patient/known")


async def test_ids_differ_between_tenants(service: Service) -> None:
    other = await service.new_tenant()
    ids = [
        [
            where.split("/")[-3]
            for where in locations(await one.request("POST", "$process-message", laboratory()))
        ]
        for one in (service, other)
    ]
    assert not set(ids[0]) & set(ids[1])


async def test_twenty_messages_at_once_store_one(service: Service) -> None:
    answers = await asyncio.gather(
        *(service.request("POST", "$process-message", laboratory()) for _ in range(20))
    )
    assert len({tuple(locations(answer)) for answer in answers}) == 1
    assert Counter(answer.body["entry"][1]["response"]["status"] for answer in answers) == {
        "201 Created": 1,
        "200 OK": 19,
    }
    assert (await service.search("patient.identifier=1")).body["total"] == 1


async def test_twin_entries_are_stored_once_and_each_is_answered(service: Service) -> None:
    twin = patient("pat", identified(MRN, "1"))
    found = locations(
        await service.request("POST", "$process-message", message(report("rep", "pat"), twin, twin))
    )
    assert (len(found), found[2]) == (4, found[3])


async def test_entries_under_one_identifier_that_differ_are_two_resources(service: Service) -> None:
    both = [
        resource("Specimen", f"s{n}", identifier=[identified("urn:x", "1")], note=[{"text": str(n)}])
        for n in (1, 2)
    ]
    found = locations(await service.request("POST", "$process-message", message(*both)))
    assert found[1] != found[2]
    texts = [(await service.get(where)).body["note"][0]["text"] for where in found[1:]]
    assert texts == ["1", "2"]


async def test_nothing_of_a_message_is_dropped_when_two_entries_meet_at_one_stored_id(
    service: Service,
) -> None:
    await service.load(patient("known", identified(MRN, "1"), identified("urn:other", "2")))
    sent = message(
        patient("a", identified(MRN, "1"), gender="female"),
        patient("b", identified("urn:other", "2"), gender="male"),
    )
    found = locations(await service.request("POST", "$process-message", sent))
    genders = {(await service.get(where)).body.get("gender") for where in found[1:]}
    assert genders == {"female", "male"}


async def test_nothing_of_a_message_is_dropped_when_two_entries_have_one_id(service: Service) -> None:
    both = [
        resource("Observation", "o", status="final", code=coded("1-8"), note=[{"text": str(n)}])
        for n in (1, 2)
    ]
    answer = await service.request("POST", "$process-message", message(*both))
    if answer.status == 200:
        texts = {(await service.get(where)).body["note"][0]["text"] for where in locations(answer)[1:]}
        assert texts == {"1", "2"}
    else:
        is_refused(answer, 422, "invalid")


async def test_a_message_without_header_is_taken_and_said_so(service: Service) -> None:
    answer = await service.request(
        "POST", "Observation/$observation-create", message(patient("p"), header=False)
    )
    assert len(locations(answer)) == 1
    assert "`no-message-header`" in answer.text


async def test_an_observation_without_identifier_sent_twice_is_one(service: Service) -> None:
    sent = message(resource("Observation", "o", status="final", code=coded("1-8")))
    first, second = [
        locations(await service.request("POST", "Observation/$observation-create", sent)) for _ in range(2)
    ]
    assert first == second
    assert (await service.get("/".join(first[1].split("/")[-4:-2]))).headers["ETag"] == 'W/"1"'


async def test_a_message_that_breaks_rules_is_refused_with_all_of_them_and_stores_nothing(
    service: Service,
) -> None:
    sent = message(
        patient("pat", identified(MRN, "1")),
        report("a", "pat", status=SENTINEL),
        report("b", "pat", code=None, effectiveDateTime=SENTINEL),
        resource("Nonsense", "n"),
    )
    answer = await service.request("POST", "$process-message", sent)
    assert (answer.status, answer.headers["Content-Type"]) == (422, FHIR_UTF8)
    paths = {issue["expression"][0] for issue in answer.body["issue"]}
    assert {
        "Bundle.entry[2].resource.status",
        "Bundle.entry[3].resource.code",
        "Bundle.entry[4].resource",
    } <= {path.removesuffix(".resourceType") for path in paths}
    assert SENTINEL not in answer.text
    found = await service.search([("identifier", f"{MRN}|1")], type="Patient")
    assert found.body["total"] == 0


@pytest.mark.parametrize(
    "bundle",
    [
        {**message(patient()), "type": "collection"},
        {**message(patient()), "type": "transaction"},
        patient(),
        {"resourceType": "Bundle", "type": "message"},
        {"resourceType": "Bundle", "type": "message", "entry": []},
        {"resourceType": "Bundle", "type": "message", "entry": "x"},
        {"resourceType": "Bundle", "type": "message", "entry": [{"fullUrl": "urn:x"}]},
        {"resourceType": "Bundle", "type": "message", "entry": [{"resource": {"id": "x"}}]},
        {"resourceType": "Bundle", "type": "message", "entry": [{"resource": []}]},
        {"resourceType": "Bundle", "type": "message", "entry": [{"resource": patient(), "fullUrl": 7}]},
        {
            "resourceType": "Bundle",
            "type": "message",
            "entry": [{"resource": {"resourceType": "MessageHeader", "source": []}}, {"resource": patient()}],
        },
        {
            "resourceType": "Bundle",
            "type": "message",
            "entry": [{"resource": {"resourceType": "MessageHeader", "source": "x"}}],
        },
    ],
)
async def test_an_envelope_that_is_no_message(service: Service, bundle: Json) -> None:
    answer = await service.request("POST", "$process-message", bundle)
    if answer.status != 200:
        assert (answer.status, answer.headers["Content-Type"]) == (422, FHIR_UTF8)
        assert all(issue["expression"] for issue in answer.body["issue"])
    else:
        assert bundle["entry"][0]["resource"].get("source") == []


async def test_a_message_needs_scopes_for_every_entry(service: Service) -> None:
    partial = await service.with_token(scopes=["system/DiagnosticReport.cu", "system/Patient.cu"])
    answer = await partial.request("POST", "$process-message", laboratory())
    is_refused(answer, 403, "forbidden")
    found = await service.search([("identifier", f"{MRN}|1")], type="Patient")
    assert found.body["total"] == 0


async def test_ids_of_messages_cannot_be_guessed_from_identifiers(service: Service) -> None:
    [_, where] = locations(
        await service.request("POST", "$process-message", message(patient("x", identified(MRN, "1"))))
    )
    assert UUID(where.split("/")[-3]).version == 8


@pytest.mark.parametrize("number", ["1e999999999", "9" * 5000, "-0", "-0.0", "1e-7", "1.00"])
async def test_a_number_that_no_double_holds_hinders_nothing(service: Service, number: str) -> None:
    body = json.dumps(report(identifier=[identified(MRN, "7")], conclusion="first", extension=["…"]))
    body = body.replace('"\\u2026"', f'{{"url": "urn:x", "valueDecimal": {number}}}')
    for changed in (body, body.replace("first", "second")):
        entries = f'{{"resource":{changed}}},{{"resource":{json.dumps(patient("p1"))}}}'
        wrapped = f'{{"resourceType":"Bundle","type":"message","entry":[{entries}]}}'
        assert (await service.request("POST", "$process-message", data=wrapped)).status == 200
    for headers in ({"If-None-Exist": f"identifier={MRN}|7"}, *({"Idempotency-Key": "k"},) * 2):
        answer = await service.request("POST", "DiagnosticReport", data=body, headers=headers)
        assert answer.status in (200, 201), answer.text
        assert f'"valueDecimal":{number}}}' in answer.text
