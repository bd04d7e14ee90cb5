"""Fetching published keys: how long they are remembered, and what a URL must never reach."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from api.auth import key_sets
from api.auth.key_sets import KeySets, UnreadableError, kept_for, refuse_jwks_url
from tests.support.oauth import key, public
from tests.support.resolving import resolves

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HERE = (ip_network("127.0.0.0/8"),)
OLD, NEW = key("ec"), key("ec", 1)


class Published:
    """A server of a key set that a test changes."""

    def __init__(self) -> None:
        self.document: bytes = orjson.dumps(public(OLD))
        self.headers: dict[str, str] = {}
        self.status = 200
        self.asked = 0
        self.now = 1_000.0
        self.waits = asyncio.Event()
        self.waits.set()
        self.url = ""

    async def answer(self, _: web.Request) -> web.Response:
        self.asked += 1
        await self.waits.wait()
        return web.Response(body=self.document, status=self.status, headers=self.headers)

    def sets(self, **changed: Any) -> KeySets:
        return KeySets(**{"allowed": HERE, "monotonic": lambda: self.now, **changed})


@asynccontextmanager
async def publishing() -> AsyncIterator[Published]:
    published = Published()
    app = web.Application()
    app.router.add_get("/keys", published.answer)
    async with TestServer(app) as server:
        published.url = str(server.make_url("/keys"))
        yield published


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("", 300),
        ("public", 300),
        ("max-age=60", 60),
        ("public, Max-Age = 60", 60),
        ('max-age="60"', 60),
        ("s-maxage=60", 300),
        ("max-age=0", 0),
        ("max-age=999999999", 3_600),
        ("no-store", 0),
        ("no-cache, max-age=60", 0),
    ],
)
def test_how_long_a_key_set_is_remembered(header: str, seconds: float) -> None:
    assert kept_for(header) == seconds


async def test_a_key_set_is_fetched_once_until_it_is_stale() -> None:
    async with publishing() as published:
        sets = published.sets()
        published.headers = {"Cache-Control": "max-age=60"}
        published.waits.clear()
        asking = [asyncio.ensure_future(sets.key(published.url, str(OLD.kid))) for _ in range(5)]
        await asyncio.sleep(0)
        published.waits.set()
        assert all(await asyncio.gather(*asking))
        published.now += 59
        assert await sets.key(published.url, str(OLD.kid))
        assert published.asked == 1
        published.now += 1
        published.document = orjson.dumps(public(NEW))
        assert await sets.key(published.url, str(OLD.kid)) is None
        assert published.asked == 2


async def test_a_rotated_key_is_found_at_once_and_unknown_ones_make_few_fetches() -> None:
    async with publishing() as published:
        sets = published.sets()
        assert await sets.key(published.url, str(OLD.kid))
        published.document = orjson.dumps(public(OLD, NEW))
        for n in range(20):
            assert await sets.key(published.url, f"nobody {n}") is None
        assert published.asked == 1
        published.now += key_sets.AGAIN_SECONDS
        assert await sets.key(published.url, str(NEW.kid))
        assert published.asked == 2


async def test_a_key_set_that_nobody_may_keep_makes_few_fetches_too() -> None:
    async with publishing() as published:
        published.headers = {"Cache-Control": "no-store"}
        sets = published.sets()
        for n in range(20):
            assert await sets.key(published.url, f"nobody {n}") is None
            assert await sets.key(published.url, str(OLD.kid))
        assert published.asked == 1
        published.now += key_sets.AGAIN_SECONDS
        assert await sets.key(published.url, str(OLD.kid))
        assert published.asked == 2


@pytest.mark.parametrize(
    ("document", "status", "reason"),
    [
        (b"{", 200, "not JSON"),
        (b"{}", 200, "no `keys`"),
        (b"{}", 404, "status 404"),
        (b"{}", 302, "status 302"),
        (b" " * 70_000, 200, "more than 65536 bytes"),
    ],
)
async def test_what_cannot_be_read_is_not_asked_for_again_at_once(
    document: bytes, status: int, reason: str
) -> None:
    async with publishing() as published:
        published.document, published.status = document, status
        published.headers = {"Location": published.url}
        sets = published.sets()
        with pytest.raises(UnreadableError, match=reason):
            await sets.key(published.url, "any")
        with pytest.raises(UnreadableError, match="a moment ago"):
            await sets.key(published.url, "any")
        assert published.asked == 1


async def test_a_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_sets, "FETCH_SECONDS", 0.05)
    async with publishing() as published:
        published.waits.clear()
        with pytest.raises(UnreadableError, match="in time"):
            await published.sets().key(published.url, "any")
        published.waits.set()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_the_own_network_is_not_reached_by_address_or_by_name(host: str) -> None:
    async with publishing() as published:
        url = published.url.replace("127.0.0.1", host)
        elsewhere = published.sets(allowed=(ip_network("10.9.9.0/24"),))
        with pytest.raises(UnreadableError, match=r"private or loopback|no public address"):
            await elsewhere.key(url, str(OLD.kid))
        with pytest.raises(UnreadableError, match="https"):
            await published.sets(allowed=()).key(url, str(OLD.kid))
        assert published.asked == 0


async def test_a_name_that_leads_inside_is_refused_at_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    async with publishing() as published:
        asked = resolves(monkeypatch, "127.0.0.1")
        url = published.url.replace("http://127.0.0.1", "https://vendor.example")
        with pytest.raises(UnreadableError, match="no public address"):
            await published.sets(allowed=()).key(url, str(OLD.kid))
        assert (asked, published.asked) == (["vendor.example"], 0)


@pytest.mark.parametrize(
    "url",
    [
        "http://vendor.example/keys",
        "ftp://vendor.example/keys",
        "file:///etc/passwd",
        "https:///keys",
        "https://user@vendor.example/keys",
        "https://user:secret@vendor.example/keys",
        "https://vendor.example/keys#part",
        "https://127.0.0.1/keys",
        "https://[::1]/keys",
        "https://10.0.0.1/keys",
        "https://localhost/keys",
        "https://0x7f.1/keys",
        "vendor.example",
        "",
    ],
)
def test_urls_that_are_never_registered(url: str) -> None:
    with pytest.raises(ValueError, match="JWKS URL"):
        refuse_jwks_url(url, ())


def test_urls_that_are_registered() -> None:
    refuse_jwks_url("https://vendor.example/keys?of=us", ())
    refuse_jwks_url("http://10.0.0.1:8080/keys", (ip_network("10.0.0.0/8"),))
