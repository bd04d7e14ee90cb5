"""Pushes that are refused: bodies, media types, rules, and who may push where."""

from __future__ import annotations

import json
import zlib
from typing import Any
from uuid import uuid4

import pytest

from tests.ingest.writes.pushes import PATH, SENTINEL, is_refused
from tests.support.fhir import (
    Json,
    patient,
    report,
)
from tests.support.service import Service, opened_service

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
