"""Odd frames and messages: each is answered or its connection closed, and who comes behind is served."""

from __future__ import annotations

import asyncio
import os
import random
from contextlib import suppress

from bench.soak.odd_bytes import mutated
from ingest.mllp.framing import framed
from tests.support.mllp import Sender, connected, fed_service, msa, oru

ROUNDS = int(os.environ.get("FUZZ_EXAMPLES", "60"))


async def heard(sender: Sender, sent: bytes) -> list[str] | None:
    """MSA of the answer; None: the connection was closed, or nothing has to be said."""
    with suppress(OSError, TimeoutError):
        await sender.write(sent)
        async with asyncio.timeout(1):
            return msa(await sender.answer()) or None
    return None


async def test_whatever_comes_those_behind_it_are_served(mongodb: str) -> None:
    chance = random.Random(os.environ.get("FUZZ_SEED", "7"))
    async with fed_service(mongodb, mllp_stall_seconds=0.5) as (service, port):
        for number in range(ROUNDS):
            message = oru(f"M-{number}", filler=f"F-{number}")
            message = mutated(message, chance)
            sent = framed(message) if chance.random() < 0.8 else message
            async with connected(port) as sender:
                told = await heard(sender, sent)
                assert told is None or told[1] in ("AA", "AE", "AR", "CA", "CE", "CR"), (sent, told)
                answer = await service.request(
                    "POST", "$hl7v2", data=message, content_type="application/hl7-v2"
                )
                assert answer.status in (200, 204, 400, 422), (message, answer.text)
        async with connected(port) as sender:
            assert await sender.send(oru("M-last", filler="F-last")) == ["MSA", "AA", "M-last"]
