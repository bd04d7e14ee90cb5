"""Bundles sent again over HTTP, with a key or without: nothing is there twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any
from unittest.mock import patch
from uuid import uuid4

import pytest

from store.errors import Category, ServiceError
from store.mongo.indexes import IDEMPOTENCY
from store.mongo.resources.resources import MongoResources
from tests.ingest.writes.keyed import bundle, same, total
from tests.support.conditional import marked
from tests.support.fhir import Json, batch, identified, message, patient, report
from tests.support.service import DATABASE, Service

if TYPE_CHECKING:
    from store.mongo.driver.client import Client


async def test_a_transaction_sent_again_makes_no_twins(service: Service) -> None:
    first = await service.request("POST", "", bundle())
    second = await service.request("POST", "", bundle())
    assert (first.status, marked(first), marked(second), same(first, second)) == (200, False, True, True)
    other = await service.request("POST", "", bundle(id="other"))
    assert (marked(other), other.body["entry"] == first.body["entry"]) == (False, False)
    keyed = [await service.request("POST", "", bundle(), headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert [marked(answer) for answer in keyed] == [False, True]
    assert same(*keyed)
    service.clock.move(days=7)
    assert not marked(await service.request("POST", "", bundle()))


async def test_twenty_of_one_transaction_at_once(service: Service) -> None:
    for n in range(5):
        answers = await asyncio.gather(*(service.request("POST", "", bundle(id=f"b{n}")) for _ in range(20)))
        assert Counter((a.status, marked(a)) for a in answers) == {(200, False): 1, (200, True): 19}
        assert len({a.text for a in answers}) == 1


async def test_a_transaction_that_reads_shows_the_same_version_again(service: Service) -> None:
    await service.load(patient("p1"))
    sent = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {"request": {"method": "GET", "url": "Patient/p1"}},
            {"resource": report(), "request": {"method": "PUT", "url": "DiagnosticReport/r1"}},
        ],
    }
    first = await service.request("POST", "", sent)
    await service.load(patient("p1", active=True))
    second = await service.request("POST", "", sent)
    assert (marked(second), second.body) == (True, first.body)
    reads = {**sent, "entry": sent["entry"][:1]}
    versions = []
    for active in (True, False):
        await service.load(patient("p1", active=active))
        answer = await service.request("POST", "", reads)
        versions.append(answer.body["entry"][0]["resource"]["active"])
    assert versions == [True, False]


async def test_a_batch_sent_again_makes_no_twins(service: Service) -> None:
    sent = batch(*(("POST", "DiagnosticReport", report(conclusion=str(n))) for n in range(3)))
    first = await service.request("POST", "", sent)
    second = await service.request("POST", "", sent)
    assert (marked(second), same(first, second), await total(service)) == (True, True, 3)
    service.clock.move(days=7)
    third = await service.request("POST", "", sent)
    assert (marked(third), await total(service)) == (False, 6)


async def test_a_batch_whose_answer_was_not_remembered_makes_no_twins_either(service: Service) -> None:
    sent = batch(*(("POST", "DiagnosticReport", report(conclusion=str(n))) for n in range(3)))

    async def away(*_: Any, **__: Any) -> None:
        raise ServiceError(Category.UNAVAILABLE)

    with patch.object(MongoResources, "remember", away):
        answers = [await service.request("POST", "", sent) for _ in range(2)]
    told = [[e["response"]["status"][:3] for e in a.body["entry"]] for a in answers]
    assert told == [["201"] * 3, ["200"] * 3]
    locations = [[e["response"]["location"] for e in a.body["entry"]] for a in answers]
    assert locations[0] == locations[1]
    assert await total(service) == 3


async def test_a_batch_with_a_failure_can_be_tried_again(service: Service) -> None:
    sent = batch(("PUT", "DiagnosticReport/r1", report()), ("PUT", "Patient/p1", patient()), ifMatch='W/"1"')
    await service.load(report())
    first = await service.request("POST", "", sent)
    await service.load(patient())
    second = await service.request("POST", "", sent)
    told = [[e["response"]["status"][:3] for e in a.body["entry"]] for a in (first, second)]
    assert told == [["200", "412"], ["200", "200"]]


async def test_a_batch_with_a_key(service: Service) -> None:
    sent = batch(
        *(("POST", "DiagnosticReport", report(conclusion=str(n))) for n in range(3)),
        ("PUT", "Patient/a", patient("b")),
    )
    key = {"Idempotency-Key": str(uuid4())}
    answers = [await service.request("POST", "", sent, headers=key) for _ in range(2)]
    assert [e["response"]["status"][:3] for e in answers[0].body["entry"]] == ["201"] * 3 + ["400"]
    assert (marked(answers[1]), same(*answers), await total(service)) == (True, True, 3)


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "k"}])
async def test_a_message_sent_again_gets_the_first_answer(service: Service, headers: Json) -> None:
    sent = message(report("rep", "pat", identifier=[identified("urn:f", "1")]), patient("pat"))
    answers = [await service.request("POST", "$process-message", sent, headers=headers) for _ in range(3)]
    assert [marked(answer) for answer in answers] == [False, True, True]
    assert {e["response"]["status"] for e in answers[0].body["entry"]} == {"201 Created"}
    assert same(*answers[:2])


async def test_no_resource_is_copied_into_the_memory(service: Service, mongo_client: Client) -> None:
    sentinel = "sentinel-7391"
    await service.create(report(conclusion=sentinel), idempotency_key=sentinel)
    await service.put(report(conclusion=sentinel), idempotency_key=f"{sentinel}-2")
    await service.request("POST", "", bundle(id=sentinel))
    kept = await mongo_client[DATABASE][IDEMPOTENCY].find({"tenant": str(service.tenant)}).to_list(None)
    assert len(kept) == 3
    assert sentinel not in repr(kept)
