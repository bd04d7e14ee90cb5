"""The service behind mongos: whatever is asked, no command goes to every shard. The router is simulated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from store.mongo import stores
from store.mongo.driver.pool import PoolWatch
from store.retention.policy import Policy
from store.tenancy import SearchScope
from tests.support.fhir import batch, message, patient, report
from tests.support.router import Router
from tests.support.service import opened_service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.service import Service

pytestmark = pytest.mark.mongo


class _Watch(PoolWatch, Router):
    """Watch of the connections of the store's client, which hears of its commands too."""

    made: list[_Watch] = []  # noqa: RUF012 -- of one test

    def __init__(self, *arguments: Any, **options: Any) -> None:
        PoolWatch.__init__(self, *arguments, **options)
        Router.__init__(self)
        self.made.append(self)


@pytest.fixture
async def sharded(mongodb: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    monkeypatch.setattr(stores, "PoolWatch", _Watch)
    monkeypatch.setattr(_Watch, "made", [])
    scope = SearchScope.ANY
    async with opened_service(mongodb, mongodb_sharded=True, search_scope=scope) as service:
        yield service
    [watch] = _Watch.made
    assert watch.seen > 200
    assert sorted(set(watch.refused)) == []


SEARCHES = (
    "DiagnosticReport?patient=Patient/p1",
    "DiagnosticReport?patient.identifier=urn:x|1&_total=accurate&_count=1",
    "DiagnosticReport?patient.name=somebody",
    "DiagnosticReport?patient=Patient/p1&_include=DiagnosticReport:patient&_sort=-date",
    "DiagnosticReport?code=x&_sort=code",
    "DiagnosticReport?date=ge2020&_total=none",
    "DiagnosticReport?_lastUpdated=ge2020",
    "DiagnosticReport?_id=r1,r2",
    "Patient?_has:DiagnosticReport:patient:code=x&_revinclude=DiagnosticReport:patient",
    "DiagnosticReport?_summary=count",
    "DiagnosticReport/_history?_count=2",
    "DiagnosticReport/_history?_at=2026-01-01",
    "DiagnosticReport/r1/_history",
    "DiagnosticReport/r1/_history/1",
    "DiagnosticReport/r1",
    "Patient/p1/$everything",
    "AuditEvent?_count=5",
    "$changes?_wait=0",
)


async def test_nothing_is_asked_of_every_shard(sharded: Service) -> None:
    lab = sharded
    somebody = patient("p1", identifier=[{"system": "urn:x", "value": "1"}])
    for resource in (somebody, patient("p2"), *(report(f"r{n}", patient="p1") for n in range(4))):
        assert (await lab.put(resource)).status == 201
    assert (await lab.put(report("r1", patient="p1", conclusion="changed"))).status == 200
    document = {"contentType": "text/plain", "data": "QUJD" * 40_000}
    assert (await lab.put(report("r5", patient="p1", presentedForm=[document]))).status == 201
    assert (await lab.create({"resourceType": "DiagnosticReport"})).status == 422
    told = message(report("m1", patient="p3"), patient("p3"))
    for _ in range(2):
        assert (await lab.request("POST", "$process-message", told)).status == 200
    both = batch(
        ("PUT", "Patient/p4", patient("p4")), ("GET", "Patient/p1", None), ("DELETE", "Patient/p5", None)
    )
    for kind in ("batch", "transaction"):
        assert (await lab.request("POST", "", {**both, "type": kind})).status == 200
    # With a policy, what is needed is looked up behind each write, and within the transaction of one.
    await lab.keeps(Policy(keep_days=30))
    kept = batch(
        ("PUT", "Patient/p4", patient("p4", gender="female")),
        ("PUT", "DiagnosticReport/r4", report("r4", patient="p4")),
    )
    for kind in ("batch", "transaction"):
        assert (await lab.request("POST", "", {**kept, "type": kind})).status == 200
    once = {"If-None-Exist": "identifier=urn:x|1"}
    assert (await lab.request("POST", "Patient", somebody, headers=once)).status == 200
    keyed = {"Idempotency-Key": "k"}
    for _ in range(2):
        assert (await lab.request("POST", "Patient", patient("p9"), headers=keyed)).status == 201
    assert (await lab.request("DELETE", "DiagnosticReport/r3")).status == 204
    for query in SEARCHES:
        answer = await lab.get(query)
        assert answer.status == 200, (query, answer.body)
        for link in answer.body.get("link", ()):
            if link["relation"] == "next":
                assert (await lab.get(link["url"])).status == 200
