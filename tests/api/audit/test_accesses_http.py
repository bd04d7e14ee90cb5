"""Each request is on record before its answer leaves, whatever it was and whatever became of it."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from api.http.app_keys import PRIVACY, REGISTRY
from api.interactions import history
from api.interactions.data_model import query
from store.audit.records import STRANGER_DAYS, AuditQuery, AuditRecord, Deed
from store.errors import Category, ServiceError
from store.mongo.audit.trail import MongoAuditTrail
from store.tenancy import Tenant, TenantSettings
from tests.support.data_model import results_query
from tests.support.fhir import MRN, batch, identified, message, patient, report
from tests.support.oauth import assertion, claims, form, key
from tests.support.service import opened_service

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.service import Answer, Service

ANNA = identified(MRN, "A-1")
ANNAS = f"{MRN}|A-1"
JSON_PATCH = "application/json-patch+json"


async def records(service: Service, **wanted: Any) -> list[AuditRecord]:
    """All records of the tenant, the oldest first."""
    trail = service._app[PRIVACY].audit
    page = await trail.find(AuditQuery(service.tenant, most=1_000, **wanted))
    return list(reversed(page.records))


def told(record: AuditRecord) -> tuple[str, str, set[str]]:
    return record.did, record.resource, set(record.patients)


def document(text: bytes) -> dict[str, Any]:
    return {"contentType": "text/plain", "data": b64encode(text).decode()}


async def test_a_failure_of_ours_is_on_record_too(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(query, "refuse_test", fail)
    monkeypatch.setattr(history, "_query", fail)
    url = str(service.client.make_url("/query"))
    asked = await service.request("POST", url, results_query("A-1"), content_type="application/json")
    assert (asked.status, (await service.get("Patient/p1/_history")).status) == (500, 500)
    await service.get("Patient/p1")  # The records of failures follow, and this one comes behind them.
    assert [(one.did, one.status) for one in await records(service)] == [
        ("query", 500),
        ("history-instance", 500),
        ("read", 404),
    ]


async def test_a_record_of_every_kind_of_request(service: Service) -> None:  # noqa: PLR0915 -- a table of requests
    asked: list[tuple[Answer, tuple[str, str, set[str]]]] = []

    def then(answer: Answer, did: str, path: str, *patients: str) -> Answer:
        asked.append((answer, (did, path, set(patients))))
        return answer

    anna, form = "Patient/p1", f"patient.identifier={MRN}|A-1"
    attached = report("r2", presentedForm=[document(b"long " * 100_000)])
    then(await service.put(patient("p1", ANNA)), "update", anna, anna)
    made = then(await service.create(report()), "create", "", anna)
    asked[-1] = (made, ("create", f"DiagnosticReport/{made.body['id']}", {anna}))
    then(await service.put(report("r1")), "update", "DiagnosticReport/r1", anna)
    filed = then(await service.put(attached), "update", "DiagnosticReport/r2", anna)
    file = filed.body["presentedForm"][0]["url"]
    then(await service.get("DiagnosticReport/r1"), "read", "DiagnosticReport/r1", anna)
    then(await service.get("DiagnosticReport/r1/_history/1"), "vread", "DiagnosticReport/r1/_history/1", anna)
    then(
        await service.get("DiagnosticReport/r1/_history"),
        "history-instance",
        "DiagnosticReport/r1/_history",
        anna,
    )
    then(await service.get("DiagnosticReport/_history"), "history-type", "DiagnosticReport/_history", anna)
    then(await service.search("patient=p1"), "search", "DiagnosticReport", anna)
    then(await service.search(f"patient.identifier={ANNAS}"), "search", "DiagnosticReport", ANNAS)
    then(await service.search("_id=r1,none"), "search", "DiagnosticReport", anna)
    then(await service.post_search(form), "search-post", "DiagnosticReport", ANNAS)
    then(await service.search(f"identifier={ANNAS}", type="Patient"), "search", "Patient", anna, ANNAS)
    then(
        await service.get("Patient/p1/DiagnosticReport"),
        "search-compartment",
        f"{anna}/DiagnosticReport",
        anna,
    )
    then(await service.get(file), "read-binary", file.partition(f"{service.tenant}/")[2] or file, anna)
    patched = [{"op": "replace", "path": "/status", "value": "amended"}]
    then(
        await service.request("PATCH", "DiagnosticReport/r1", patched, content_type=JSON_PATCH),
        "patch", "DiagnosticReport/r1", anna,
    )  # fmt: skip
    sent = message(patient("m", identified(MRN, "B-1")), report("x", "m"))
    answer = then(
        await service.request("POST", "$process-message", sent), "process-message", "$process-message"
    )
    asked[-1] = (answer, ("process-message", "$process-message", set()))
    then(await service.delete("DiagnosticReport/r2"), "delete", "DiagnosticReport/r2", anna)
    # Refused.
    then(await service.get("DiagnosticReport/none"), "read", "DiagnosticReport/none")
    then(await service.get("DiagnosticReport/r2"), "read", "DiagnosticReport/r2")
    then(await service.search("patient=p1&_count=x"), "search", "DiagnosticReport")
    then(await service.search("code=1"), "search", "DiagnosticReport")
    then(await service.put({**report(), "status": 7}), "update", "DiagnosticReport/r1")
    then(await service.get("$dead-letters"), "dead-letters", "$dead-letters")
    nobody = type(service)(service.client, service.clock, service.tenant)
    then(await nobody.get("Patient/p1"), "read", "Patient/p1", anna)
    other = await service.new_tenant()
    stranger = type(service)(service.client, service.clock, service.tenant, other.headers)
    then(await stranger.search("patient=p1"), "search", "DiagnosticReport")
    found = await records(service)
    assert len(found) == len(asked)
    by_id = {record.request_id: record for record in found}
    for answer, expected in asked:
        record = by_id[answer.headers["X-Request-Id"]]
        if expected[0] == "process-message":
            assert len(record.patients) == 1
            assert record.patients[0] != anna
        else:
            assert told(record) == expected, record
        assert record.status == (answer.status if answer.status >= 400 else 0)
        assert record.by == ("" if answer.status == 401 else "tests")
        assert record.address == "127.0.0.1"
    assert (await service.get("metadata")).status == 200
    assert len(await records(service)) == len(asked)  # What stands open is nobody's.


async def test_patients_are_on_record_that_a_search_names_half_and_finds(service: Service) -> None:
    await service.load(patient("p1", ANNA), patient("p2", identified(MRN, "B-2")))
    await service.load(report("r1"), report("r2", "p2"))
    for text, named in (
        (f"patient.identifier={ANNAS},B-2", {ANNAS}),
        ("subject=Patient/p1,p2", {"Patient/p1", "Patient/p2"}),
    ):
        answer = await service.search(text)
        assert answer.ids == ["r2", "r1"], text
        [record] = [one for one in await records(service) if one.request_id == answer.headers["X-Request-Id"]]
        assert set(record.patients) == {*named, "Patient/p1", "Patient/p2"}, text


async def test_behind_proxies_the_client_s_own_address_is_on_record(mongodb: str) -> None:
    sent = {"X-Forwarded-For": "198.51.100.9, 203.0.113.7"}
    for trusted, address in (("127.0.0.0/8", "203.0.113.7"), ("10.0.0.0/8", "127.0.0.1")):
        async with opened_service(mongodb, trusted_proxies=trusted) as service:
            await service.request("GET", "Patient/none", headers=sent)
            client = await service.register(key("ec"))
            url = str(service.client.make_url("/v2/auth/token"))
            told = claims(service.clock().timestamp(), url, iss=client.id, sub=client.id)
            asked = form(assertion(told, key("ec")))
            async with service.client.session.post(url, data=asked, headers=sent) as response:
                assert response.status == 200, await response.text()
            assert {one.did: one.address for one in await records(service)} == {
                "read": address,
                Deed.TOKEN_GRANTED.value: address,
            }


async def test_the_query_is_kept_as_it_was_sent(service: Service) -> None:
    await service.load(*(report(f"r{number}") for number in range(3)))
    first = await service.post_search("patient=p1&_count=2", url_query="_sort=-date")
    next_page = await service.get(first.links["next"])
    odd = await service.search("patient=p1&note=%41%20b+c&_count=99")
    found = {record.request_id: record.query for record in await records(service)}
    assert found[first.headers["X-Request-Id"]] == b"_sort=-date&patient=p1&_count=2"
    assert b"patient=p1" in found[next_page.headers["X-Request-Id"]]
    assert found[odd.headers["X-Request-Id"]] == b"patient=p1&note=%41%20b+c&_count=99"


async def test_each_read_of_a_batch_is_a_record_of_its_own(service: Service) -> None:
    await service.load(patient("p1", ANNA), patient("p2"), report("r1"), report("r2", "p2"))
    before = len(await records(service))
    sent = batch(
        ("GET", "DiagnosticReport/r1", None),
        ("GET", "DiagnosticReport?patient=p2", None),
        ("GET", "DiagnosticReport/none", None),
        ("PUT", "DiagnosticReport/r3", report("r3", "p3")),
    )
    answer = await service.request("POST", "", sent)
    assert answer.status == 200
    found = (await records(service))[before:]
    assert {told(record)[:2] for record in found} == {
        ("batch", ""),
        ("read", "DiagnosticReport/r1"),
        ("search", "DiagnosticReport"),
    }
    patients = {record.did: set(record.patients) for record in found}
    assert patients["read"] == {"Patient/p1"}
    assert patients["search"] == {"Patient/p2"}
    assert patients["batch"] == {"Patient/p1", "Patient/p2", "Patient/p3"}
    assert len({record.request_id for record in found}) == 1


async def test_many_at_once_are_all_on_record(service: Service) -> None:
    await service.load(report("r1"))
    answers = await asyncio.gather(*[service.search("patient=p1") for _ in range(100)])
    wanted = {answer.headers["X-Request-Id"] for answer in answers}
    assert wanted <= {record.request_id for record in await records(service)}


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Audit writes fail while it holds True."""
    state = [False]
    whole = MongoAuditTrail._command

    def command(self: MongoAuditTrail, writes: Sequence[Any]) -> None:
        if state[0]:
            raise ServiceError(Category.FAULT)
        whole(self, writes)

    monkeypatch.setattr(MongoAuditTrail, "_command", command)
    return state


@pytest.mark.parametrize("audit", ["required", "counted"])
async def test_without_a_record_reads_are_refused_where_the_settings_say_so(
    mongodb: str, broken: list[bool], audit: str
) -> None:
    async with opened_service(mongodb, audit=audit) as service:
        await service.load(patient("p1", ANNA), report("r1"))
        broken[0], required = True, audit == "required"
        reads = [
            await service.get("DiagnosticReport/r1"),
            await service.search("patient=p1"),
            await service.search("_id=r1"),
            await service.get("DiagnosticReport/r1/_history"),
        ]
        assert {answer.status for answer in reads} == ({503} if required else {200})
        if required:
            assert reads[0].headers["Retry-After"] == "1"
            assert "on record" in reads[0].texts
        assert (await service.put(report("r2"))).status == 201  # A push is not lost for that.
        assert (await service.get("DiagnosticReport/none")).status == 404
        assert counted(service, "lost") == 6
        broken[0] = False
        assert (await service.get("DiagnosticReport/r1")).status == 200
        assert counted(service, "lost") == 6


async def test_accesses_can_be_left_off_the_record(mongodb: str) -> None:
    async with opened_service(mongodb, audit="off") as service:
        await service.load(report("r1"))
        assert (await service.get("DiagnosticReport/r1")).status == 200
        assert await records(service) == []


def counted(service: Service, outcome: str) -> float:
    """Records by outcome, as they are scraped."""
    value = service._app[REGISTRY].get_sample_value("dod_audit_records_total", {"outcome": outcome})
    assert value is not None
    return value


async def test_requests_to_a_tenant_that_is_not_there_leave_no_value_and_do_not_stay(
    service: Service,
) -> None:
    """Strangers who invent names would fill the audit of tenants that no sweep comes to."""
    typo = Tenant(f"{service.tenant.organization}-typo", "Production")
    for headers in ({}, service.headers):
        elsewhere = type(service)(service.client, service.clock, typo, headers)
        assert (await elsewhere.search(f"patient.identifier={ANNAS}")).status in (401, 403, 404)
        assert (await elsewhere.get("Patient/anna")).status in (401, 403, 404)
    trail = service._app[PRIVACY].audit
    assert isinstance(trail, MongoAuditTrail)
    found = await trail._audit.find({"tenant": str(typo)}).to_list(None)
    assert len(found) == 4
    assert {one.get("resource") for one in found} == {"DiagnosticReport", "Patient"}
    assert all(one["nowhere"] for one in found)
    assert {one["expires_at"] - one["at"] for one in found} == {timedelta(days=STRANGER_DAYS)}
    assert all("query" not in one and "patients" not in one for one in found)
    await service.access.put_tenant(
        TenantSettings(typo)
    )  # It is made, and its clients are at once on record.
    there = await replace(service, tenant=typo).with_token(scopes=["system/*.cruds"])
    await there.get("Patient/anna")
    [last] = await records(there, by="tests", patients=frozenset({"Patient/anna"}))
    assert last.patients == ("Patient/anna",)
