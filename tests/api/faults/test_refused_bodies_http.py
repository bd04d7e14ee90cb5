"""Bodies that are refused: not read, not inflated, not waited for; the connection is closed behind them."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from typing import TYPE_CHECKING

import pytest

from api.settings.service import Settings
from ingest.http import body
from ingest.http.inflate import Inflater
from tests.support.edge import LAB_BASE, OTHER, bearer, memory_access, serving
from tests.support.wire import head, wire

if TYPE_CHECKING:
    from tests.support.access import MemoryAccess

FHIR = {"Content-Type": "application/fhir+json"}
LONG = {"Content-Length": "30000000"}
REPORTS = f"{LAB_BASE}/DiagnosticReport"

REFUSED = pytest.mark.parametrize(
    ("method", "path", "headers", "known", "status"),
    [
        ("POST", REPORTS, FHIR, "", 401),
        ("POST", REPORTS, FHIR, "other", 403),
        ("POST", REPORTS, FHIR, "reader", 403),
        ("POST", "/nothing/here", FHIR, "", 404),
        ("POST", "/fhir/R4/lab/Nowhere/DiagnosticReport", FHIR, "lab", 404),
        ("PATCH", REPORTS, FHIR, "lab", 405),
        ("POST", REPORTS, {"Content-Type": "text/plain"}, "lab", 415),
        ("POST", REPORTS, {**FHIR, "Content-Encoding": "lzma"}, "lab", 415),
        ("POST", REPORTS, {**FHIR, "Accept": "text/html"}, "lab", 406),
        ("POST", REPORTS, FHIR, "lab", 413),
        ("POST", f"{REPORTS}/_search", {"Content-Type": "application/x-www-form-urlencoded"}, "lab", 413),
    ],
)


def _known(access: MemoryAccess, who: str) -> dict[str, str]:
    if not who:
        return {}
    if who == "other":
        return bearer(access, tenants=[OTHER])
    return bearer(access, scopes=["system/*.rs" if who == "reader" else "system/*.cruds"])


@REFUSED
async def test_no_body_is_waited_for(
    method: str, path: str, headers: dict[str, str], known: str, status: int
) -> None:
    """The answer comes though the body does not, and the connection ends."""
    access = memory_access()
    async with serving(access, settings=Settings(body_bytes_max=20_000_000)) as client, wire(client) as line:
        await line.send(head(method, path, {**headers, **LONG, **_known(access, known)}))
        reply = await line.reply()
        assert (reply.status, reply.headers["connection"]) == (status, "close")
        assert await line.rest() == b""


@REFUSED
async def test_no_body_is_inflated(
    method: str,
    path: str,
    headers: dict[str, str],
    known: str,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A bomb costs nothing where nobody wants it."""
    taken: list[bytes] = []
    monkeypatch.setattr(Inflater, "give", lambda _, data: taken.append(data))
    access = memory_access()
    bomb = gzip.compress(bytes(10_000_000))
    coded = {"Content-Encoding": "gzip", **headers, **_known(access, known)}
    settings = Settings(body_bytes_max=5_000)
    async with serving(access, settings=settings) as client, wire(client) as line:
        await line.send(head(method, path, {**coded, "Content-Length": str(len(bomb))}), bomb)
        assert (await line.reply()).status == status
    assert not taken


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_a_bomb_is_inflated_up_to_the_limit_and_no_further(
    coding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []
    take = Inflater.take

    def counted(self: Inflater, most: int) -> bytes:
        taken = take(self, most)
        steps.append(len(taken))
        return taken

    monkeypatch.setattr(Inflater, "take", counted)
    data = bytes(30_000_000)
    bomb = gzip.compress(data) if coding == "gzip" else zlib.compress(data)
    access = memory_access()
    headers = {**bearer(access), **FHIR, "Content-Encoding": coding, "Content-Length": str(len(bomb))}
    settings = Settings(body_bytes_max=2_000_000)
    async with serving(access, settings=settings) as client, wire(client) as line:
        await line.send(head("POST", REPORTS, headers), bomb)
        assert (await line.reply()).status == 413
    assert sum(steps) <= 2_000_000 + body.STEP_BYTES


@pytest.mark.parametrize("is_whole", [True, False])
@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("DiagnosticReport", "application/fhir+json"),
        ("DiagnosticReport/_search", "application/x-www-form-urlencoded"),
    ],
)
async def test_a_body_that_is_cut_is_refused(is_whole: bool, path: str, content_type: str) -> None:
    """A form without its last criteria finds more than was asked for."""
    access = memory_access()
    data = gzip.compress(b"made up, and long enough to be cut somewhere" * 100)
    headers = {**bearer(access), "Content-Type": content_type, "Content-Encoding": "gzip"}
    async with serving(access) as client:
        sent = data if is_whole else data[:-9]
        response = await client.post(f"{LAB_BASE}/{path}", data=sent, headers=headers)
        assert response.status == (200 if is_whole else 400)


@pytest.mark.parametrize(("known", "answers"), [("lab", [100, 200]), ("", [401])])
async def test_who_waits_for_a_go_ahead_is_told_once_the_body_is_wanted(
    known: str, answers: list[int]
) -> None:
    access = memory_access()
    async with serving(access) as client, wire(client) as line:
        expects = {"Expect": "100-continue", "Content-Length": "2"}
        await line.send(head("POST", REPORTS, {**FHIR, **_known(access, known), **expects}))
        assert (await line.reply()).status == answers[0]
        if answers[0] == 100:
            await line.send(b"{}")
            reply = await line.reply()
            assert (reply.status, reply.body) == (200, b"{}")


async def test_a_refusal_whose_body_was_small_keeps_the_connection() -> None:
    access = memory_access()
    async with serving(access) as client, wire(client) as line:
        for _ in range(3):
            await line.send(head("POST", REPORTS, {**FHIR, "Content-Length": "2"}), b"{}")
            reply = await line.reply()
            assert (reply.status, reply.headers.get("connection")) == (401, None)


async def test_a_body_that_is_arriving_when_the_service_ends_is_taken_whole() -> None:
    """A sender in the middle of 30 MB is answered; its connection ends behind that."""
    access = memory_access()
    body = b'{"a":"%s"}' % (b"x" * 3_000_000)
    headers = {**FHIR, **bearer(access), "Content-Length": str(len(body))}
    async with serving(access) as client, wire(client) as line, wire(client) as other:
        await line.send(head("POST", REPORTS, headers), body[:2_000_000])
        await other.send(head("GET", REPORTS, bearer(access)))
        assert (await other.reply()).status == 200
        assert client.server.runner is not None
        assert client.server.runner.server is not None
        client.server.runner.server.pre_shutdown()
        ending = asyncio.ensure_future(client.server.runner.server.shutdown(20.0))
        await asyncio.sleep(0)
        await line.send(body[2_000_000:])
        reply = await line.reply()
        assert (reply.status, reply.body == body) == (200, True)
        await ending
        assert await line.rest() == b""
