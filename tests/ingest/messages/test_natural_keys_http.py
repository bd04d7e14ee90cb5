"""Simultaneous messages with one natural key, on two services over one database: one is stored."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from typing import TYPE_CHECKING, Final

from tests.support.feed import at, delivery, observation, send
from tests.support.fhir import message_header
from tests.support.service import opened_service

if TYPE_CHECKING:
    from tests.support.service import Answer

ROUNDS: Final = int(os.environ.get("RACE_ROUNDS", "5"))
"""`make soak-races` does more."""
TWINS = 20


async def test_twenty_messages_with_one_key_on_two_services(mongodb: str) -> None:
    async with opened_service(mongodb) as one, opened_service(mongodb) as other:
        other.tenant, other.headers = one.tenant, one.headers
        for number in range(ROUNDS):
            bundle = delivery(f"r{number}", observation(f"o{number}"), time=at(1), of=f"p{number}")
            # Each by a sender of its own: the identifiers alone say that it is one report.
            twins = [
                {**bundle, "entry": [{"resource": message_header(f"urn:s{n}")}, *bundle["entry"][1:]]}
                for n in range(TWINS)
            ]
            answers = await asyncio.gather(*(send((one, other)[n % 2], twin) for n, twin in enumerate(twins)))
            for entry in (1, 2, 3):
                assert Counter(status(answer, entry) for answer in answers) == {
                    "201 Created": 1,
                    "200 OK": TWINS - 1,
                }, number
                assert len({resource_id(answer, entry) for answer in answers}) == 1
            assert {answer.body["entry"][1]["response"]["etag"] for answer in answers} == {'W/"1"'}
            assert len((await one.search(f"patient.identifier=p{number}")).ids) == 1


def status(answer: Answer, entry: int) -> str:
    assert answer.status == 200, answer.text
    return str(answer.body["entry"][entry]["response"]["status"])


def resource_id(answer: Answer, entry: int) -> str:
    return str(answer.body["entry"][entry]["response"]["location"].split("/")[-3])
