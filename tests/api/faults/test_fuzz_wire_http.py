"""Bytes, header fields and JSON of any kind on raw connections, beside a client that is well.

Never a 5xx, never an answer that is late for the other one, no memory that stays. `make soak-fuzz` sends the
same for long, to a service of its own.
"""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Final

from bench.soak.odd_bytes import request
from tests.support.fhir import report
from tests.support.service import opened_service

if TYPE_CHECKING:
    from tests.support.service import Service

EXAMPLES: Final = int(os.environ.get("FUZZ_EXAMPLES", "400"))
SEED: Final = int(os.environ.get("FUZZ_SEED", "1"))
SENDERS: Final = 8
GROWTH_MAX: Final = 150_000_000
"""Bytes of memory that may be more at the end than after the first tenth."""
STATUS: Final = re.compile(rb"HTTP/1\.1 (\d{3}) ")


async def _send(draw: Random, service: Service, count: int, seen: set[int]) -> None:
    for _ in range(count):
        sent = request(draw, service.root, service.headers.items())
        try:
            reader, writer = await asyncio.open_connection(service.client.host, service.client.port)
            writer.write(sent)
            if draw.random() < 0.7:
                writer.write_eof()
            answer = b""
            async with asyncio.timeout(0.3 if draw.random() < 0.2 else 5):
                answer = await reader.read(65_536)
        except (OSError, TimeoutError):
            continue
        finally:
            writer.close()
        seen.update(int(status) for status in STATUS.findall(answer))
        # 501: a transfer coding that is not read, as RFC 9112 has it.
        failed = [one for one in STATUS.findall(answer) if one >= b"500" and one != b"501"]
        assert not failed, (answer[:500], sent[:500])


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def test_nothing_that_is_sent_harms_anybody(mongodb: str) -> None:
    async with opened_service(mongodb, head_seconds=1, body_seconds=1) as service:
        well = await service.new_tenant()
        seen: set[int] = set()
        draws = [Random(SEED * 1_000 + number) for number in range(SENDERS)]
        before = 0
        for part in (EXAMPLES // 10, EXAMPLES - EXAMPLES // 10):
            sending = [asyncio.ensure_future(_send(draw, service, part // SENDERS, seen)) for draw in draws]
            done = asyncio.gather(*sending)
            while not done.done():
                assert (await well.put(report("well"))).status in (200, 201)
                assert (await well.get("DiagnosticReport?patient=p1")).status == 200
                await asyncio.sleep(0.01)
            await done
            before = before or _resident()
        assert _resident() - before < GROWTH_MAX
        assert {400, 401, 404, 405, 415} <= seen
        assert any(status < 300 for status in seen)
