"""Random feeds late, twice, out of order, by many senders on two replicas: a model says what is current.

`ORDER_ROUNDS` says how many feeds, `ORDER_SEED` which to begin with; a failure names its own, and
`make soak-order` runs hundreds.
"""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import replace
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest

from store.tenancy import SearchScope
from tests.oracle.feeds import current, faults, feed, shown, tied_feed
from tests.support.feed import send, state
from tests.support.service import opened_service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from tests.oracle.feeds import Sent
    from tests.support.service import Service

ROUNDS: Final = int(os.environ.get("ORDER_ROUNDS", "4"))
SEED: Final = int(os.environ.get("ORDER_SEED", "1"))
SENDERS: Final = 8

Json = dict[str, Any]


@pytest.fixture(scope="module")
async def replicas(mongodb: str) -> AsyncIterator[tuple[Service, Service]]:
    async with opened_service(mongodb) as one, opened_service(mongodb) as other:
        yield one, other


async def heard(
    replicas: tuple[Service, Service], messages: Sequence[Sent], *, senders: int = 1
) -> tuple[Service, Service]:
    """A new tenant, seen through each replica, to which all of these were sent."""
    tenant = await replicas[0].new_tenant(search_scope=SearchScope.ANY)
    there = tenant, replace(replicas[1], tenant=tenant.tenant, headers=tenant.headers)
    await tell(there, messages, senders=senders)
    return there


async def tell(there: tuple[Service, Service], messages: Sequence[Sent], *, senders: int = 1) -> None:
    queue = list(messages)

    async def sender(service: Service) -> None:
        while queue:
            # Byte for byte it would only be given the first answer again.
            sent = {**queue.pop(0).bundle(), "id": f"attempt-{len(queue)}"}
            answer = await send(service, sent)
            assert answer.status == 200, answer.text

    await asyncio.gather(*(sender(there[number % 2]) for number in range(senders)))


class Versions(NamedTuple):
    """Versions of one resource, in the order of the numbers; None is a deletion."""

    current: list[Json | None]
    late: list[Json | None]
    """Contents that never were current."""


async def histories(service: Service) -> dict[str, Versions]:
    found: dict[str, Versions] = {}
    for kind in ("DiagnosticReport", "Observation", "Patient"):
        page = await service.get(f"{kind}/_history?_count=1000")
        assert page.status == 200, page.text
        for entry in reversed(page.body.get("entry", [])):
            versions = found.setdefault("/".join(entry["fullUrl"].split("/")[-2:]), Versions([], []))
            resource = entry.get("resource")
            content = None if resource is None else {k: v for k, v in resource.items() if k != "meta"}
            stale = "Stale" in json.dumps(entry["response"])
            (versions.late if stale else versions.current).append(content)
    return found


async def check(service: Service, messages: Sequence[Sent]) -> dict[str, Versions]:
    """Check that the current content is right, and that a version was made only where the content changed."""
    assert shown(await state(service)) == current(messages)
    found = await histories(service)
    for path, versions in found.items():
        assert all(a != b for a, b in pairwise(versions.current)), path
        assert not any(one in versions.late[:n] for n, one in enumerate(versions.late)), path
    return found


@pytest.mark.parametrize("seed", range(SEED, SEED + ROUNDS))
async def test_any_order_of_a_feed(replicas: tuple[Service, Service], seed: int) -> None:
    rng = Random(seed)
    messages = feed(rng)
    for _ in range(3):
        there = await heard(replicas, messages)
        versions = await check(there[0], messages)
        rng.shuffle(messages)
        await tell(there, messages)
        assert await check(there[0], messages) == versions
        rng.shuffle(messages)


@pytest.mark.parametrize("seed", range(SEED, SEED + ROUNDS))
async def test_three_times_in_any_order_by_eight_senders_on_two_replicas(
    replicas: tuple[Service, Service], seed: int
) -> None:
    rng = Random(-seed)
    messages = feed(rng)
    queue = messages * 3
    rng.shuffle(queue)
    there = await heard(replicas, queue, senders=SENDERS)
    versions = await check(there[0], messages)
    await tell(there, messages)
    assert await check(there[0], messages) == versions


@pytest.mark.parametrize("seed", range(SEED, SEED + ROUNDS))
async def test_messages_of_one_time_leave_nothing_dangling_or_over(
    replicas: tuple[Service, Service], seed: int
) -> None:
    rng = Random(seed)
    messages = tied_feed(rng)
    queue = messages * 3
    rng.shuffle(queue)
    there = await heard(replicas, queue, senders=rng.choice((1, SENDERS)))
    assert not list(faults(shown(await state(there[0])), messages))
    before = await histories(there[0])
    await tell(there, messages)
    assert await histories(there[0]) == before
