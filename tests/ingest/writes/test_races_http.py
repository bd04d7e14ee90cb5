"""Simultaneous writes with one condition or one key, on two services over one database: one is done.

`RACE_ROUNDS` says how often; `make soak-races` does it many times.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import pytest

from tests.support.conditional import by, count, marked, numbered, put_where
from tests.support.fhir import ORDERS, report
from tests.support.service import Service, opened_service
from tests.support.together import together

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.slow
ROUNDS: Final = int(os.environ.get("RACE_ROUNDS", "5"))
Twins = tuple[Service, Service]


@pytest.fixture(scope="module")
async def replicas(mongodb: str) -> AsyncIterator[Twins]:
    async with opened_service(mongodb) as one, opened_service(mongodb) as other:
        yield one, other


@pytest.fixture
async def twins(replicas: Twins) -> Twins:
    """New tenant, seen through two services on one database."""
    one, other = replicas
    tenant = await one.new_tenant()
    return tenant, Service(other.client, other.clock, tenant.tenant, tenant.headers)


async def test_twenty_creates_make_one(twins: Twins) -> None:

    async def round_of(turn: int) -> None:
        condition = f"identifier={ORDERS}|A-{turn}"
        answers = await asyncio.gather(
            *(
                twins[n % 2].create(numbered(f"A-{turn}", conclusion=str(n)), if_none_exist=condition)
                for n in range(20)
            )
        )
        assert Counter(answer.status for answer in answers) == {201: 1, 200: 19}
        assert len({answer.headers["Location"].partition("/fhir/")[2] for answer in answers}) == 1
        assert await count(twins[0], f"A-{turn}") == 1

    await together((round_of(turn) for turn in range(ROUNDS)), at_once=5)


def spelled(service: Service, number: int, turn: int) -> str:
    """Condition in as many ways as a sender may come to spell it."""
    order = quote(f"{ORDERS}|A-{number}", safe="" if turn % 2 else "|:")
    subject = ("p1", "Patient/p1", "Patient%2Fp1", f"{service.base}/Patient/p1")[turn % 4]
    parts = [
        f"identifier={order}",
        f"patient={subject}",
        ("code=X", "code=x", "code=%78,X")[turn % 3],
        f"date={('2020-05-05', 'eq2020-05-05')[turn % 2]}",
        f"code:text=blood{('+', '%20', '++', '+%20+')[turn % 4]}count",
    ]
    turned = parts[turn % 5 :] + parts[: turn % 5]
    return ("", "?", "DiagnosticReport?", "  ")[turn % 4] + "&".join(turned)


async def test_twenty_spellings_make_one(twins: Twins) -> None:

    async def round_of(turn: int) -> None:
        body = numbered(
            f"A-{turn}",
            code={"coding": [{"code": "x"}], "text": "Blood count"},
            effectiveDateTime="2020-05-05",
        )
        answers = await asyncio.gather(
            *(
                twins[n % 2].create(body, if_none_exist=spelled(twins[n % 2], turn, turn + n))
                for n in range(20)
            )
        )
        assert Counter(answer.status for answer in answers) == {201: 1, 200: 19}
        assert await count(twins[0], f"A-{turn}") == 1

    await together((round_of(turn) for turn in range(ROUNDS)), at_once=5)


async def test_updates_by_one_condition_at_once_make_one(twins: Twins) -> None:
    for turn in range(ROUNDS):
        answers = await asyncio.gather(
            *(
                put_where(twins[n % 2], by(f"A-{turn}"), numbered(f"A-{turn}", conclusion=str(n)))
                for n in range(12)
            )
        )
        assert Counter(answer.status for answer in answers) == {201: 1, 200: 11}
        assert await count(twins[0], f"A-{turn}") == 1
        [latest] = (await twins[0].search([("patient", "p1"), ("identifier", f"{ORDERS}|A-{turn}")])).matches
        assert latest["resource"]["meta"]["versionId"] == "12"


async def test_twenty_creates_with_one_key_make_one(twins: Twins) -> None:

    async def round_of(n: int) -> None:
        sent = report(patient=f"p{n}")
        answers = await asyncio.gather(
            *(twins[m % 2].create(sent, idempotency_key=f"key-{n}") for m in range(20))
        )
        assert Counter((a.status, marked(a)) for a in answers) == {(201, False): 1, (201, True): 19}
        assert len({(a.text, a.headers["Location"]) for a in answers}) == 1
        assert (await twins[0].search(f"patient=p{n}")).body["total"] == 1

    await together((round_of(n) for n in range(ROUNDS)), at_once=5)


async def test_one_key_for_several_requests_does_one_of_them(twins: Twins) -> None:
    """A single one of them is done, whichever; the others hear that the key was used for something else."""
    service, there = twins
    for n in range(ROUNDS):
        key = f"key-{n}"
        answers = await asyncio.gather(
            *(service.create(report(patient=f"p{n}"), idempotency_key=key) for _ in range(4)),
            *(there.create(report(patient=f"q{n}"), idempotency_key=key) for _ in range(4)),
            *(there.put(report(f"r{n}", f"r{n}"), idempotency_key=key) for _ in range(4)),
        )
        kinds = [answers[:4], answers[4:8], answers[8:]]
        done = [Counter((a.status, marked(a)) for a in kind) for kind in kinds]
        assert sorted(map(len, done)) == [1, 1, 2]
        assert done.count(Counter({(422, False): 4})) == 2
        assert done.count(Counter({(201, False): 1, (201, True): 3})) == 1
        stored = [(await service.search(f"patient={who}{n}")).body["total"] for who in "pqr"]
        assert sorted(stored) == [0, 0, 1]
