"""Creates with a key over HTTP: announced first, then done once, whoever dies in between."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest

from store.errors import Category, ServiceError
from store.mongo.indexes import IDEMPOTENCY, RESOURCES
from store.mongo.resources.resources import MongoResources
from store.retention.policy import CountedFrom, Policy
from tests.ingest.writes.keyed import bundle, dies, same, total
from tests.support.conditional import marked
from tests.support.fhir import report
from tests.support.service import DATABASE, Service, opened_service

if TYPE_CHECKING:
    from store.mongo.driver.client import Client


async def test_who_died_after_the_announcement_loses_nothing(service: Service) -> None:
    with patch.object(MongoResources, "put_many", dies):
        assert (await service.create(report(), idempotency_key="k")).status == 500
    assert await total(service) == 0
    answers = await asyncio.gather(*(service.create(report(), idempotency_key="k") for _ in range(5)))
    assert Counter((a.status, marked(a)) for a in answers) == {(201, False): 1, (201, True): 4}
    assert len({(a.text, a.headers["Location"]) for a in answers}) == 1
    assert await total(service) == 1


async def test_who_died_before_it_was_marked_doubles_nothing(service: Service) -> None:
    """Deleted, changed or expired meanwhile: it was created once."""
    with patch.object(MongoResources, "fulfil", lambda *_: None):
        first = await service.create(report(), idempotency_key="k")
    key = first.body["id"]
    for change in (
        service.put({**report(key), "status": "amended"}),
        service.delete(f"DiagnosticReport/{key}"),
    ):
        assert (await change).status in (200, 204)
        again = await service.create(report(), idempotency_key="k")
        assert (marked(again), same(first, again)) == (True, True)
    assert (await service.get(f"DiagnosticReport/{key}")).status == 410
    assert await total(service) == 0


async def test_what_is_kept_no_longer_than_today_is_created_once(service: Service) -> None:
    await service.keeps(Policy(keep_days=1, counted_from=CountedFrom.EFFECTIVE))
    sent = report(effectiveDateTime="2020-01-01")
    answers = await asyncio.gather(*(service.create(sent, idempotency_key="k") for _ in range(10)))
    assert Counter((a.status, marked(a)) for a in answers) == {(201, False): 1, (201, True): 9}
    assert {(a.headers["ETag"], a.headers["Location"]) for a in answers} == {
        ('W/"1"', answers[0].headers["Location"])
    }


async def test_what_was_created_and_swept_away_is_not_created_again(
    service: Service, mongo_client: Client
) -> None:
    first = await service.create(report(), idempotency_key="k")
    database, tenant = mongo_client[DATABASE], str(service.tenant)
    await database[IDEMPOTENCY].update_one({"tenant": tenant}, {"$set": {"done": True}})
    await database[RESOURCES].delete_many({"tenant": tenant})
    again = await service.create(report(), idempotency_key="k")
    assert (again.status, marked(again), again.text) == (201, True, "")
    assert again.headers["Location"] == first.headers["Location"]
    assert await total(service) == 0


async def test_another_request_while_the_first_is_only_announced(service: Service) -> None:
    with patch.object(MongoResources, "put_many", dies):
        await service.create(report(), idempotency_key="k")
    for answer in (
        await service.create(report(status="amended"), idempotency_key="k"),
        await service.put(report(), idempotency_key="k"),
        await service.request("POST", "", bundle(), headers={"Idempotency-Key": "k"}),
    ):
        assert (answer.status, answer.issues) == (422, [("error", "conflict")])
    assert (await service.create(report(), idempotency_key="k")).status == 201


@pytest.mark.parametrize("prefer", ["return=minimal", "return=OperationOutcome", "return=representation"])
async def test_a_twin_that_finishes_it_gives_the_answer_that_was_announced(
    service: Service, mongodb: str, prefer: str
) -> None:
    sent = report(category={"coding": [{"code": "LAB"}]}, conclusion="1.00")
    with patch.object(MongoResources, "put_many", dies):
        await service.create(sent, idempotency_key="k", prefer=prefer)
    async with opened_service(mongodb) as second:
        there = Service(second.client, second.clock, service.tenant, service.headers)
        finished = await there.create(sent, idempotency_key="k", prefer=prefer)
        again = await service.create(sent, idempotency_key="k", prefer=prefer)
    assert (finished.status, marked(finished), marked(again)) == (201, False, True)
    assert same(finished, again)
    assert finished.headers["Location"].startswith(service.base)


async def test_what_is_too_large_leaves_the_key(mongodb: str) -> None:
    async with opened_service(mongodb, resource_bytes_max=1_000) as service:
        large = report(conclusion="x" * 1_000)
        assert (await service.create(large, idempotency_key="k")).status == 413
        assert (await service.create(report(), idempotency_key="k")).status == 201


async def test_what_the_store_finds_too_large_leaves_the_key(service: Service) -> None:
    def refuses(*_: Any) -> None:
        raise ServiceError(Category.TOO_LARGE)

    with patch.object(MongoResources, "put_many", refuses):
        assert (await service.create(report(), idempotency_key="k")).status == 413
    answer = await service.create(report(status="amended"), idempotency_key="k")
    assert (answer.status, marked(answer)) == (201, False)


async def test_a_document_with_a_key_is_kept_once(service: Service) -> None:
    data = b"made-up document " * 10_000
    answers = [
        await service.request(
            "POST", "Binary", data=data, content_type="text/plain", headers={"Idempotency-Key": "k"}
        )
        for _ in range(2)
    ]
    assert [(a.status, marked(a)) for a in answers] == [(201, False), (201, True)]
    assert same(*answers)
    read = await service.get(f"Binary/{answers[0].body['id']}", accept="*/*")
    assert read.text.encode() == data
