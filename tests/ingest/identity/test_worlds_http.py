"""Random hospitals told by sources with every habit: what a report leads to is what its source said.

`IDENTITY_ROUNDS` says how many worlds, `IDENTITY_SEED` which to begin with; `make soak-identity` runs
many. A failure prints its seed and the smallest story.
"""

from __future__ import annotations

import os
from random import Random
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.oracle.identity.closure import faults
from tests.oracle.identity.identities import world
from tests.support.hospital import deliveries, served, smallest, story, tell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.hospital import Copy
    from tests.support.service import Service

ROUNDS: Final = int(os.environ.get("IDENTITY_ROUNDS", "24"))
SEED: Final = int(os.environ.get("IDENTITY_SEED", "1"))
STORY: Final = os.environ.get("IDENTITY_STORY")
SHARE: Final = 25
"""Worlds of one test."""
SENDERS: Final = int(os.environ.get("IDENTITY_SENDERS", "8"))
"""As many at once, in half of the worlds."""


async def wrong(
    replicas: tuple[Service, Service], copies: Sequence[Copy], load: Any, *, senders: int
) -> list[str]:
    """Untruths that are served after these deliveries."""
    messages = list({one.sent.minute: one.sent for one in copies}.values())
    try:
        tenant = await tell(replicas, copies, load, senders=senders)
    except AssertionError as error:
        return [f"not acknowledged: {error}"]
    return list(faults(messages, await served(tenant, messages)))


async def report(replicas: tuple[Service, Service], copies: list[Copy], load: Any, found: list[str]) -> str:
    """The smallest story that fails by one sender, else by several at once, tried some times."""
    last = found
    for senders, times in ((1, 1), (SENDERS, 6)):

        async def fails(fewer: list[Copy], senders: int = senders, times: int = times) -> bool:
            nonlocal last
            for _ in range(times if fewer else 0):
                wrongs = await wrong(replicas, fewer, load, senders=senders)
                if wrongs:
                    last = wrongs
                    return True
            return False

        if await fails(copies):
            few = await smallest(copies, fails)
            return "\n".join([*last, f"in the smallest story, {senders} at once:", story(few)])
    return "\n".join([*found, "not again in the same story:", story(copies)])


@pytest.mark.parametrize("first", range(SEED, SEED + ROUNDS, SHARE))
async def test_every_report_leads_to_what_its_source_said(
    replicas: tuple[Service, Service], load: Any, first: int
) -> None:
    for seed in range(first, min(first + SHARE, SEED + ROUNDS)):
        rng = Random(seed)
        copies = deliveries(world(rng, story=STORY), rng)
        found = await wrong(replicas, copies, load, senders=rng.choice((1, SENDERS)))
        if found:
            pytest.fail(f"seed {seed}\n{await report(replicas, copies, load, found)}")
