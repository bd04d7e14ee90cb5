"""Requests that take effect once, over HTTP: the same sent again gets the same answer, marked."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any
from unittest.mock import patch
from uuid import uuid4

import pytest

from store.errors import Category, ServiceError
from store.mongo.indexes import IDEMPOTENCY, RESOURCES
from store.mongo.resources.answers import Answers
from store.mongo.resources.resources import MongoResources
from store.retention.policy import CountedFrom, Policy
from tests.support.conditional import marked
from tests.support.fhir import MRN, Json, batch, identified, message, patient, refers, report
from tests.support.service import DATABASE, Answer, Service, opened_service

if TYPE_CHECKING:
    from store.mongo.driver.client import Client

URN = "urn:uuid:5e4f0d3a-0000-4000-8000-000000000001"


def dies(*_: Any, **__: Any) -> None:
    raise RuntimeError


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


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_who_died_between_storing_and_remembering_has_stored_nothing(
    service: Service, method: str
) -> None:
    async def push() -> Answer:
        if method == "PUT":
            return await service.put(report(), idempotency_key="k")
        return await service.create(report(), idempotency_key="k", if_none_exist="identifier=urn:a|1")

    with patch.object(Answers, "remember", dies):
        assert (await push()).status == 500
    assert await total(service) == 0
    again = await push()
    assert (again.status, marked(again), await total(service)) == (201, False, 1)


async def test_an_answer_that_got_lost_after_the_commit(service: Service) -> None:
    """The sender sees a time-out of what had in fact succeeded."""

    def losing(verb: Any) -> Any:
        async def loses(self: MongoResources, *arguments: Any) -> Any:
            await verb(self, *arguments)
            raise ServiceError(Category.TIMEOUT)

        return loses

    for verb in ("atomically", "put_many"):
        with patch.object(MongoResources, verb, losing(getattr(MongoResources, verb))):
            if verb == "atomically":
                assert (await service.put(report("r1", "p2"), idempotency_key="k-2")).status == 504
                assert (await service.request("POST", "", bundle())).status == 504
            else:
                assert (await service.create(report(), idempotency_key="k")).status == 504
    first = await service.create(report(), idempotency_key="k")
    assert (first.status, marked(first), await total(service)) == (201, True, 1)
    second = await service.put(report("r1", "p2"), idempotency_key="k-2")
    assert (second.status, marked(second)) == (201, True)
    assert marked(await service.request("POST", "", bundle()))


# --- creates, which are announced first


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


async def test_no_resource_is_copied_into_the_memory(service: Service, mongo_client: Client) -> None:
    sentinel = "sentinel-7391"
    await service.create(report(conclusion=sentinel), idempotency_key=sentinel)
    await service.put(report(conclusion=sentinel), idempotency_key=f"{sentinel}-2")
    await service.request("POST", "", bundle(id=sentinel))
    kept = await mongo_client[DATABASE][IDEMPOTENCY].find({"tenant": str(service.tenant)}).to_list(None)
    assert len(kept) == 3
    assert sentinel not in repr(kept)
