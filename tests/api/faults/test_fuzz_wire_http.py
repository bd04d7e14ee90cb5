"""Bytes, header fields and JSON of any kind on raw connections, beside a client that is well.

Never a 5xx, never an answer that is late for the other one, no memory that stays. `FUZZ_EXAMPLES=200000`
makes it a soak test.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import re
import zlib
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final

from tests.support.fhir import report
from tests.support.service import opened_service

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.service import Service

EXAMPLES: Final = int(os.environ.get("FUZZ_EXAMPLES", "400"))
SEED: Final = int(os.environ.get("FUZZ_SEED", "1"))
SENDERS: Final = 8
GROWTH_MAX: Final = 150_000_000
"""Bytes of memory that may be more at the end than after the first tenth."""
STATUS: Final = re.compile(rb"HTTP/1\.1 (\d{3}) ")
METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "BREW", "P\x00ST", "")
PATHS: Final = (
    "DiagnosticReport",
    "DiagnosticReport/r1",
    "DiagnosticReport/_search",
    "DiagnosticReport?patient=p1&_count=1",
    "DiagnosticReport?%ff=%00&&=",
    "$process-message",
    "Binary",
    "Binary/b1",
    "",
    "metadata",
    "../../../etc/passwd",
    "Patient/p1/$purge",
    "$dead-letters",
)
TYPES: Final = (
    "application/fhir+json",
    "application/json",
    "application/json-patch+json",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/pdf",
    "text/plain; charset=utf-7",
    "",
)
FIELDS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("Content-Encoding", ("gzip", "deflate", "br", "zstd", "gzip, gzip", "identity", "\xff")),
    ("Transfer-Encoding", ("chunked", "gzip, chunked", "chunked, chunked", "x")),
    ("Expect", ("100-continue", "something")),
    ("Accept", ("application/fhir+json", "text/html", "*/*;q=0", "," * 50)),
    ("Prefer", ("return=minimal", "handling=strict", "=" * 100)),
    ("If-Match", ('W/"1"', "*", '"' * 30)),
    ("If-None-Exist", ("identifier=a|b", "&=%00", "_id=r1")),
    ("Idempotency-Key", ("k", "\x7f" * 10, "k" * 300)),
    ("Range", ("bytes=0-1", "bytes=-9999999999999999999999")),
    ("Host", ("evil.example", "", "[::", "a" * 300)),
    ("Connection", ("close", "upgrade", "keep-alive, upgrade")),
    ("Upgrade", ("websocket", "h2c")),
    ("X-Request-Id", ("\t", "x" * 100)),
    ("verification-token", ("x" * 20, "\x01")),
    ("Content-Length", ("5", "-1", "999999999999999999999", "1, 2", "0x10")),
)
LEAVES: Final[tuple[Any, ...]] = (
    *(None, True, 0, -0.0, 1e308, 10**400, "", "\u0000", "\ud800", "x" * 5_000),
    *("2026-02-30", "Patient/p1", "#x", [], {}),
)
NAMES: Final = (
    *"resourceType id status code coding subject reference identifier value contained meta entry".split(),
    *"request method url data contentType text div extension _status".split(),
    *("", "\u0000"),
)


def _json(draw: Random, depth: int = 0) -> Any:
    kind = draw.random()
    if depth > 6 or kind < 0.4:
        return draw.choice(LEAVES)
    if kind < 0.6:
        return [_json(draw, depth + 1) for _ in range(draw.randrange(5))]
    return {draw.choice(NAMES): _json(draw, depth + 1) for _ in range(draw.randrange(6))}


def _resource(draw: Random) -> bytes:
    kind = draw.choice(("DiagnosticReport", "Patient", "Bundle", "Binary", "Parameters", "Nonsense"))
    made = {"resourceType": kind, "id": "r1", draw.choice(NAMES): _json(draw)}
    if draw.random() < 0.5:
        made = {**report("r1"), draw.choice(NAMES): _json(draw)}
    return json.dumps(made).encode(errors="surrogatepass")


BODIES: Final[tuple[Callable[[Random], bytes], ...]] = (
    _resource,
    _resource,
    lambda draw: json.dumps(_json(draw)).encode(errors="surrogatepass"),
    lambda draw: draw.randbytes(draw.randrange(3_000)),
    lambda draw: (
        draw.choice((b"[", b'{"a":', b'{"resourceType":"Bundle","entry":[')) * draw.randrange(50_000)
    ),
    lambda draw: b"patient=p1&" * draw.randrange(2_000),
    lambda draw: gzip.compress(bytes(draw.randrange(3_000_000))),
    lambda draw: gzip.compress(_resource(draw))[: draw.randrange(200)],
    lambda draw: zlib.compress(_resource(draw)) + draw.randbytes(draw.randrange(5)),
    lambda _: b"",
)


def _request(draw: Random, service: Service) -> bytes:
    """Request, or something like it."""
    if draw.random() < 0.1:
        return draw.randbytes(draw.randrange(1, 2_000))
    body = draw.choice(BODIES)(draw)
    fields = [("Host", "127.0.0.1"), ("Content-Type", draw.choice(TYPES))]
    if draw.random() < 0.8:
        fields += service.headers.items()
    if draw.random() < 0.9:
        fields.append(("Content-Length", str(len(body) + draw.choice((0, 0, 0, 0, 1, -1)))))
    fields += [(name, draw.choice(values)) for name, values in FIELDS if draw.random() < 0.08]
    path = (
        f"{service.root}/{draw.choice(PATHS)}" if draw.random() < 0.95 else draw.choice(("*", "//", "%", "x"))
    )
    lines = [f"{draw.choice(METHODS)} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields)]
    request = "\r\n".join([*lines, "", ""]).encode("latin-1", errors="replace") + body
    return request if draw.random() < 0.85 else request[: draw.randrange(len(request) + 1)]


async def _send(draw: Random, service: Service, count: int, seen: set[int]) -> None:
    for _ in range(count):
        request = _request(draw, service)
        try:
            reader, writer = await asyncio.open_connection(service.client.host, service.client.port)
            writer.write(request)
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
        assert not failed, (answer[:500], request[:500])


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
