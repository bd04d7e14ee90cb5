"""The same random hospitals told in HL7 v2: a report leads to what its message said, in whatever order.

`IDENTITY_ROUNDS` and `IDENTITY_SEED` as for `test_worlds_http`; `make soak-identity` runs many.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

from store.tenancy import SearchScope
from tests.oracle.identity.er7 import STORIES, written
from tests.oracle.identity.er7_closure import faults
from tests.oracle.identity.hospital import Ids
from tests.oracle.identity.identities import world
from tests.support.hospital import AGAIN, ATTEMPTS, rounds, served, smallest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.oracle.identity.hospital import Sent
    from tests.support.service import Service

ROUNDS: Final = int(os.environ.get("IDENTITY_ROUNDS", "12"))
SEED: Final = int(os.environ.get("IDENTITY_SEED", "1"))
STORY: Final = os.environ.get("IDENTITY_STORY")
SHARE: Final = 25
"""Worlds of one test."""
SENDERS: Final = int(os.environ.get("IDENTITY_SENDERS", "8"))
"""As many at once, in half of the worlds."""
ER7: Final = "x-application/hl7-v2+er7"


class Copy(NamedTuple):
    """Delivery of a message: byte for byte the same as another one, or under another MSH-10."""

    sent: Sent
    body: bytes


def deliveries(messages: Sequence[Sent], rng: Random) -> list[Copy]:
    """Each message once or more, in random order."""
    found = [
        Copy(one, written(one, f"M-{one.minute}-{rng.choice((0, n))}"))
        for one in messages
        for n in range(rng.choice((1, 2, 2, 3)))
    ]
    rng.shuffle(found)
    return found


async def wrong(replicas: tuple[Service, Service], copies: Sequence[Copy], *, senders: int) -> list[str]:
    """Untruths that are served after these deliveries to a new tenant."""
    tenant = await replicas[0].new_tenant(search_scope=SearchScope.ANY)
    there = tenant, replace(replicas[1], tenant=tenant.tenant, headers=tenant.headers)
    queue: list[bytes] = []
    refused: list[str] = []

    async def sender(service: Service) -> None:
        while queue:
            body = queue.pop(0)
            for _ in range(ATTEMPTS):
                answer = await service.request("POST", "$hl7v2", data=body, content_type=ER7)
                if answer.status not in AGAIN:
                    break
            if "MSA|AA" not in answer.text:
                refused.append(f"not acknowledged: {answer.text}")

    for some in rounds(copies):
        queue += [one.body for one in some]
        await asyncio.gather(*(sender(there[number % 2]) for number in range(senders)))
    messages = list({one.sent.minute: one.sent for one in copies}.values())
    return refused or list(faults(messages, await served(tenant, messages)))


async def told(replicas: tuple[Service, Service], copies: list[Copy], found: list[str]) -> str:
    """The smallest story that fails by one sender, else by several at once, tried some times."""
    last = found
    for senders, times in ((1, 1), (SENDERS, 6)):

        async def fails(fewer: list[Copy], senders: int = senders, times: int = times) -> bool:
            nonlocal last
            if _merges(fewer) != _merges(copies):  # Later messages of the survivor tell no merge.
                return False
            for _ in range(times if fewer else 0):
                if wrongs := await wrong(replicas, fewer, senders=senders):
                    last = wrongs
                    return True
            return False

        if await fails(copies):
            few = await smallest(copies, fails)
            return "\n".join([*last, f"in the smallest story, {senders} at once:", _story(few)])
    return "\n".join([*found, "not again in the same story:", _story(copies)])


def _merges(copies: Sequence[Copy]) -> set[int]:
    """Minutes of the messages that merge two records."""
    return {one.sent.minute for one in copies if not one.sent.reports and one.sent.kind == "merged"}


def _story(copies: Sequence[Copy]) -> str:
    return "\n\n".join(f"{one.sent.kind}:\n" + one.body.decode().replace("\r", "\n") for one in copies)


@pytest.mark.parametrize("first", range(SEED, SEED + ROUNDS, SHARE))
async def test_every_report_of_a_feed_leads_to_what_its_message_said(
    replicas: tuple[Service, Service], first: int
) -> None:
    for seed in range(first, min(first + SHARE, SEED + ROUNDS)):
        rng = Random(seed)
        copies = deliveries(world(rng, story=STORY, ids=Ids.NONE, stories=STORIES), rng)
        found = await wrong(replicas, copies, senders=rng.choice((1, SENDERS)))
        if found:
            pytest.fail(f"seed {seed}\n{await told(replicas, copies, found)}")


async def test_a_mix_up_mended_while_the_first_message_is_tried_again(
    replicas: tuple[Service, Service],
) -> None:
    """Two messages make Bob's record at once: one is tried again, and finds the report that it made."""
    rng = Random(4)
    told_of = {}
    for one in deliveries(world(rng, ids=Ids.NONE, stories=STORIES[:-1]), rng):
        told_of[one.body.decode().split("|")[9]] = one
    copies = [told_of[name] for name in ("M-20-1", "M-86-0", "M-36-1")]
    for _ in range(10):
        assert not await wrong(replicas, copies, senders=SENDERS)
