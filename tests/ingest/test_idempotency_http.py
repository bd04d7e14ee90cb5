"""Requests that take effect once, over HTTP: the same sent again gets the same answer, marked."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import pytest

from store.errors import Category, ServiceError
from store.mongo.idempotency import Memory
from store.mongo.resources import MongoResources
from store.retention.policy import Policy
from tests.support.fhir import MRN, Json, batch, identified, message, patient, refers, report
from tests.support.service import Answer, Service, opened_service

AGAIN = "Idempotent-Replayed"
URN = "urn:uuid:5e4f0d3a-0000-4000-8000-000000000001"


def marked(answer: Answer) -> bool:
    return answer.headers.get(AGAIN) == "true"


def same(one: Answer, other: Answer) -> bool:
    """Status, body, and the headers that tell what is stored."""
    told = ("Location", "ETag", "Last-Modified", "Dod-Tolerances", "Content-Type")
    return (one.status, one.text, [one.headers.get(n) for n in told]) == (
        other.status,
        other.text,
        [other.headers.get(n) for n in told],
    )


def bundle(**more: Any) -> Json:
    return {
        "resourceType": "Bundle",
        "type": "transaction",
        **more,
        "entry": [
            {
                "fullUrl": URN,
                "resource": patient("x", identified(MRN, "7")),
                "request": {"method": "POST", "url": "Patient"},
            },
            {
                "resource": report(subject=refers(URN)),
                "request": {"method": "POST", "url": "DiagnosticReport"},
            },
        ],
    }


async def total(service: Service, code: str = "58410-2") -> int:
    anyone = await service.search(f"patient=p1&code={code}")
    count: int = anyone.body["total"]
    return count


async def test_a_create_with_a_key_is_done_once(service: Service) -> None:
    first = await service.create(report(), idempotency_key="k-1")
    service.clock.move(hours=1)
    second = await service.create(report(), idempotency_key="k-1")
    assert (first.status, marked(first), marked(second)) == (201, False, True)
    assert same(first, second)
    assert await total(service) == 1
    third = await service.create(report(), idempotency_key="k-2")
    assert (third.status, marked(third), await total(service)) == (201, False, 2)


async def test_an_update_with_a_key_is_done_once(service: Service) -> None:
    await service.load(report())
    changed = report(status="amended")
    first = await service.put(changed, idempotency_key="k", if_match='W/"1"')
    await service.load(report(status="corrected"))
    second = await service.put(changed, idempotency_key="k", if_match='W/"1"')
    assert (first.status, first.headers["ETag"], marked(second)) == (200, 'W/"2"', True)
    assert same(first, second)
    assert (await service.get("DiagnosticReport/r1")).headers["ETag"] == 'W/"3"'


@pytest.mark.parametrize("prefer", ["return=minimal", "return=OperationOutcome", "return=representation"])
async def test_the_answer_is_the_same_in_every_form(service: Service, prefer: str) -> None:
    sent = report(category={"coding": [{"code": "LAB"}]}, conclusion="1.00")
    answers = [await service.create(sent, idempotency_key="k", prefer=prefer) for _ in range(2)]
    assert same(*answers)
    assert "Dod-Tolerances" in answers[1].headers


async def test_a_key_used_for_something_else(service: Service) -> None:
    await service.create(report(), idempotency_key="k")
    for answer in (
        await service.create(report(status="amended"), idempotency_key="k"),
        await service.put(report(), idempotency_key="k"),
        await service.create(report(), idempotency_key="k", if_none_exist="identifier=a|1"),
    ):
        assert (answer.status, answer.issues) == (422, [("error", "conflict")])
    assert await total(service) == 1


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "ä"])
async def test_a_key_that_is_none(service: Service, key: str) -> None:
    answer = await service.create(report(), idempotency_key=key)
    assert (answer.status, answer.issues) == (400, [("error", "value")])


async def test_keys_are_the_tenants_and_the_clients(service: Service) -> None:
    other = await service.new_tenant()
    for one in (service, other):
        answer = await one.create(report(), idempotency_key="k")
        assert (answer.status, marked(answer)) == (201, False)


async def test_a_refusal_is_not_remembered(service: Service) -> None:
    wrong = await service.put(report(), idempotency_key="k", if_match='W/"1"')
    assert wrong.status == 412
    await service.load(report())
    right = await service.put(report(status="amended"), idempotency_key="k", if_match='W/"1"')
    assert (right.status, marked(right)) == (200, False)


async def test_keys_are_forgotten(service: Service) -> None:
    await service.create(report(), idempotency_key="k")
    service.clock.move(days=7)
    answer = await service.create(report(status="amended"), idempotency_key="k")
    assert (answer.status, marked(answer)) == (201, False)
    assert marked(await service.create(report(status="amended"), idempotency_key="k"))


async def test_keys_are_forgotten_sooner_where_the_policy_says_so(service: Service) -> None:
    await service.keeps(Policy(idempotency_days=2))
    await service.create(report(), idempotency_key="k")
    service.clock.move(days=2, seconds=-1)
    assert marked(await service.create(report(), idempotency_key="k"))
    service.clock.move(seconds=1)
    assert not marked(await service.create(report(), idempotency_key="k"))


@pytest.mark.slow
async def test_twenty_creates_with_one_key_in_fifty_rounds_on_two_services(
    service: Service, mongodb: str
) -> None:
    async with opened_service(mongodb) as second:
        there = Service(second.client, second.clock, service.tenant, service.headers)
        for n in range(50):
            sent = report(patient=f"p{n}")
            answers = await asyncio.gather(
                *((service, there)[m % 2].create(sent, idempotency_key=f"key-{n}") for m in range(20))
            )
            assert Counter((a.status, marked(a)) for a in answers) == {(201, False): 1, (201, True): 19}
            assert len({(a.text, a.headers["Location"]) for a in answers}) == 1
            assert (await service.search(f"patient=p{n}")).body["total"] == 1


async def test_who_died_between_storing_and_remembering_has_stored_nothing(service: Service) -> None:
    def dies(*_: Any, **__: Any) -> None:
        raise RuntimeError

    with patch.object(Memory, "answer", dies):
        assert (await service.create(report(), idempotency_key="k")).status == 500
    assert await total(service) == 0
    again = await service.create(report(), idempotency_key="k")
    assert (again.status, marked(again), await total(service)) == (201, False, 1)


async def test_an_answer_that_got_lost_after_the_commit(service: Service) -> None:
    """The sender sees a time-out of what had in fact succeeded."""
    finishes = MongoResources.atomically

    async def loses(self: MongoResources, work: Any) -> Any:
        await finishes(self, work)
        raise ServiceError(Category.TIMEOUT)

    with patch.object(MongoResources, "atomically", loses):
        assert (await service.create(report(), idempotency_key="k")).status == 504
        assert (await service.request("POST", "", bundle())).status == 504
    first = await service.create(report(), idempotency_key="k")
    assert (first.status, marked(first), await total(service)) == (201, True, 1)
    assert marked(await service.request("POST", "", bundle()))


# --- whole Bundles


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


async def test_no_resource_is_copied_into_the_memory(service: Service) -> None:
    kept: list[Any] = []
    remember = Memory.answer

    async def seen(self: Memory, tenant: Any, slot: Any, answered: Any, **rest: Any) -> None:
        kept.extend((slot, answered))
        await remember(self, tenant, slot, answered, **rest)

    sentinel = "sentinel-7391"
    with patch.object(Memory, "answer", seen):
        await service.create(report(conclusion=sentinel), idempotency_key=sentinel)
        await service.request("POST", "", bundle(id=sentinel))
    assert len(kept) == 4
    assert sentinel not in repr(kept)
