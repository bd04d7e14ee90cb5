"""Random messages at the same moment, to two replicas, come out as one after the other, in whatever order.

`IDENTITY_PAIRS` and `IDENTITY_SEED` of the environment draw more of them (`make soak-identity`), and
`IDENTITY_AT_ONCE` more of them at a time.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from itertools import permutations
from random import Random
from typing import TYPE_CHECKING, Any, Final

from store.tenancy import SearchScope
from tests.oracle.identity.hospital import number
from tests.support.cases import fill, lines, mr, msg, obs, pat, rep
from tests.support.feed import send
from tests.support.service import opened_service

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.service import Service

Json = dict[str, Any]
PAIRS: Final = int(os.environ.get("IDENTITY_PAIRS", "6"))
SEED: Final = int(os.environ.get("IDENTITY_SEED", "3"))
AT_ONCE: Final = int(os.environ.get("IDENTITY_AT_ONCE", "2"))
TRIES: Final = 3
"""Times that they are sent at once: each meets in another way."""
PATIENTS: Final = (
    pat("1", mr("A")),
    pat("1", mr("A")),
    pat("1", mr("B"), name="Bob", born="1960-02-02"),
    pat("1", mr("A"), number("x", "A", "SS")),
)
STATUSES: Final = ("preliminary", "final", "final", "corrected", "cancelled")
ASKED: Final = ("", "mr|A", "mr|B", "x|A")


def drawn(random: Random, minute: int) -> Json:
    """A message with one report or two of an order, of few patients and numbers, so that they meet."""
    filler, value = fill(random.choice("FFG")), str(minute)
    timed = random.choice(({}, {}, {"effectiveDateTime": "2026-01-01"}, {"effectiveDateTime": "2026-01-02"}))
    first = rep(
        random.choice(("r1", "r2")),
        "Patient/1",
        filler,
        code=(code := random.choice(("CBC", "CBC", "CMP"))),
        status=random.choice(STATUSES),
        results=["Observation/k"],
        **timed,
    )
    entries = [random.choice(PATIENTS), first, obs("k", "Patient/1", "K", value)]
    if random.random() < 0.3:
        other = "CMP" if code == "CBC" else "CBC"
        entries.append(rep("r9", "Patient/1", filler, code=other, results=["Observation/n"]))
        entries.append(obs("n", "Patient/1", "Na", value))
    return msg(*entries, minute=minute)


async def shown(service: Service) -> list[list[str]]:
    """All that searches show, by patient."""
    return [await lines(service, asked) for asked in ASKED]


async def one_after_the_other(lab: Service, sent: Sequence[Json]) -> list[list[str]]:
    tenant = await lab.new_tenant(search_scope=SearchScope.ANY)
    for message in sent:
        assert (await send(tenant, message)).status == 200
    return await shown(tenant)


async def test_messages_at_the_same_moment_come_out_as_one_after_the_other(mongodb: str) -> None:
    random = Random(SEED)
    async with opened_service(mongodb) as lab, opened_service(mongodb) as replica:
        for turn in range(PAIRS):
            before = [drawn(random, minute) for minute in random.sample(range(1, 20), random.choice((0, 1)))]
            meeting = [drawn(random, minute) for minute in random.sample(range(20, 60), AT_ONCE)]
            allowed = [await one_after_the_other(lab, [*before, *order]) for order in permutations(meeting)]
            for _ in range(TRIES):
                tenant = await lab.new_tenant(search_scope=SearchScope.ANY)
                other = replace(replica, tenant=tenant.tenant, headers=tenant.headers)
                for message in before:
                    assert (await send(tenant, message)).status == 200
                sent = [send(other if n % 2 else tenant, one) for n, one in enumerate(meeting)]
                assert [answer.status for answer in await asyncio.gather(*sent)] == [200] * AT_ONCE
                assert await shown(tenant) in allowed, (SEED, turn)
