"""Heads out of bounds: refused before a route is looked for, and while they arrive."""

from __future__ import annotations

import json
import logging

import pytest
from yarl import URL

from api.server.heads import FIELD_BYTES_MAX, FIELDS_BYTES_MAX, HEAD_BYTES_MAX, PATH_MAX, fault_of
from tests.support.edge import LAB_BASE, bearer, memory_access, serving
from tests.support.lines import logged
from tests.support.wire import head, wire

CANARY = "Zq7Canary"
FIELD = ",".join(["a"] * (FIELD_BYTES_MAX // 2 - 100))
FEW = FIELDS_BYTES_MAX // FIELD_BYTES_MAX + 1
"""Fields, each within its own bound, that are too much together."""


@pytest.mark.parametrize(
    ("path", "fields", "status"),
    [
        ("/" * 120_000, {}, 414),
        (LAB_BASE + "/a" * 60_000, {}, 414),
        (f"/fhir/R4/{'o' * 120_000}/Production/Patient", {}, 414),
        (f"{LAB_BASE}/Patient/{CANARY}{'a' * PATH_MAX}", {}, 414),
        (f"http://a/{'%2F' * 40_000}", {}, 414),
        (f"{LAB_BASE}/metadata", {f"X-{n}": FIELD for n in range(FEW)}, 431),
        (f"{LAB_BASE}/Patient", {f"X-{n}": FIELD for n in range(90)}, 431),
        (f"{LAB_BASE}/metadata", {"Accept": FIELD[:-2]}, 406),
        (f"{LAB_BASE}/Patient?name={'a' * 120_000}", {}, 200),
        (f"{LAB_BASE}/Patient/{'a' * 64}", {}, 200),
    ],
    ids=lambda value: repr(value)[:40],
)
async def test_a_head(
    path: str, fields: dict[str, str], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    routed = list[str]()
    access = memory_access()
    async with serving(access) as client:
        router = client.app.router
        resolve = router.resolve

        async def counted(request: object) -> object:
            routed.append("a request")
            return await resolve(request)  # type: ignore[arg-type]

        monkeypatch.setattr(router, "resolve", counted)
        with logged(logging.INFO) as lines:
            async with wire(client) as sent:
                await sent.send(head("GET", path, {**bearer(access), **fields}))
                reply = await sent.reply()
    assert reply.status == status
    assert bool(routed) == (status not in (414, 431)), "a route was looked for"
    if status >= 400:
        assert json.loads(reply.body)["resourceType"] == "OperationOutcome"
        assert "dod" in reply.headers["server"]
    assert not any(CANARY.encode() in line for line in lines.raw)
    assert CANARY.encode() not in reply.body


@pytest.mark.parametrize(
    ("codings", "version", "status"),
    [
        (["chunked"], "1.1", 200),
        (["Chunked"], "1.1", 200),
        (["chunked"], "1.0", 501),
        (["gzip, chunked"], "1.1", 501),
        ([" ,chunked"], "1.1", 501),
        (["x, chunked"], "1.1", 501),
        (["gzip", "chunked"], "1.1", 400),
        (["chunked, gzip"], "1.1", 400),
        (["chunked", "chunked"], "1.1", 400),
        (["identity"], "1.1", 400),
        (["gzip"], "1.1", 400),
    ],
)
async def test_a_transfer_coding(codings: list[str], version: str, status: int) -> None:
    """A body of which a coding would be left in it is not read, and nothing behind it."""
    access = memory_access()
    async with serving(access) as client, wire(client) as sent:
        given = {**bearer(access), "Content-Type": "application/x-www-form-urlencoded"}
        asked = head("POST", f"{LAB_BASE}/Patient/_search", given).removesuffix(b"\r\n")
        asked = asked.replace(b"HTTP/1.1", f"HTTP/{version}".encode())
        fields = b"".join(b"Transfer-Encoding: %b\r\n" % one.encode() for one in codings)
        await sent.send(asked, fields, b"\r\n5\r\n_id=1\r\n0\r\n\r\n")
        reply = await sent.reply()
        assert reply.status == status
        if status != 200:
            assert json.loads(reply.body)["resourceType"] == "OperationOutcome"
            await sent.send(head("GET", f"{LAB_BASE}/metadata", {}))
            assert await sent.rest() == b""


async def test_a_head_without_an_end_is_not_kept() -> None:
    async with serving(memory_access()) as client, wire(client) as sent:
        await sent.send(b"GET /fhir/R4 HTTP/1.1\r\n")
        line = b"a" * (FIELD_BYTES_MAX - 10)
        for number in range(HEAD_BYTES_MAX // len(line) + 1):
            await sent.send(b"X-%d: %s\r\n" % (number, line))
        reply = await sent.reply()
    assert reply.status == 431
    assert reply.headers["connection"] == "close"


async def test_line_ends_without_end_are_no_head_either() -> None:
    async with serving(memory_access()) as client, wire(client) as sent:
        for _ in range(HEAD_BYTES_MAX // 1_000 + 2):
            await sent.send(b"\r\n" * 500)
        assert (await sent.reply()).status == 400


async def test_heads_of_many_requests_on_one_connection_do_not_add_up() -> None:
    access = memory_access()
    async with serving(access) as client, wire(client) as sent:
        request = head("GET", f"{LAB_BASE}/Patient?name={'a' * 100_000}", bearer(access))
        for _ in range(4):
            await sent.send(request[:50_000])
            await sent.send(request[50_000:])
            assert (await sent.reply()).status == 200


def test_the_bounds_go_by_what_was_sent() -> None:
    path = "/" + "%41" * ((PATH_MAX - 1) // 3)
    assert fault_of(URL(path, encoded=True).raw_path, ()) is None
    assert fault_of(path + "aaaa", ()) is not None
