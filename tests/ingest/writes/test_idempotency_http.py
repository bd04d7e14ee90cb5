"""Requests that take effect once, over HTTP: the same sent again gets the same answer, marked."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import pytest

from store.errors import Category, ServiceError
from store.mongo.resources.answers import Answers
from store.mongo.resources.resources import MongoResources
from store.retention.policy import Policy
from tests.ingest.writes.keyed import bundle, dies, same, total
from tests.support.conditional import marked
from tests.support.fhir import report
from tests.support.service import Answer, Service


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
