"""Names of others are looked up where nobody else waits for a thread."""

from __future__ import annotations

import asyncio
import socket
from queue import Queue
from threading import Event
from typing import Any

import pytest

from api.outgoing.names import ASKER, Names


async def test_a_name_is_led_to_its_addresses() -> None:
    found = await Names().resolve("localhost", 81)
    assert {(one["hostname"], one["host"], one["port"]) for one in found} == {("localhost", "127.0.0.1", 81)}
    with pytest.raises(socket.gaierror):
        await Names().resolve("nothing.invalid")


async def test_slow_names_take_nobody_elses_threads_and_one_of_their_own_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names, let_go, asked = Names(threads=2), Event(), list[str]()

    def look(host: str, *_: Any) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        asked.append(host)
        if host.startswith("slow"):
            let_go.wait(30)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", look)
    try:
        for _ in range(50):  # Who waited has given up; the look-up goes on.
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await names.resolve("slow.example", 443)
        assert await asyncio.to_thread(str, 1) == "1"
        assert (await names.resolve("quick.example", 443))[0]["host"] == "192.0.2.1"
        waiting = asyncio.ensure_future(names.resolve("slow.example", 443))
        await asyncio.sleep(0)
        assert not waiting.done()
    finally:
        let_go.set()
    assert (await waiting)[0]["host"] == "192.0.2.1"
    assert asked == ["slow.example", "quick.example"]


@pytest.mark.parametrize("another", [("lab", "app"), ("other", "slow")])
async def test_slow_names_of_one_asker_leave_threads_to_others(
    monkeypatch: pytest.MonkeyPatch, another: tuple[str, str]
) -> None:
    names, let_go, asked = Names(threads=5, shares=(3, 2)), Event(), list[str]()
    begun: Queue[str] = Queue()

    def look(host: str, *_: Any) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        asked.append(host)
        if host.startswith("slow"):
            if "-" in host:
                begun.put(host)
            let_go.wait(30)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0))]

    async def resolved(asker: tuple[str, ...], host: str) -> str:
        ASKER.set(asker)
        return (await names.resolve(host, 443))[0]["host"]

    monkeypatch.setattr(socket, "getaddrinfo", look)
    slow = [asyncio.ensure_future(resolved(("lab", "slow"), f"slow{number}.example")) for number in range(9)]
    try:
        await asyncio.sleep(0)
        assert await resolved(another, "quick.example") == "192.0.2.1"
        assert await resolved((), "keys.example") == "192.0.2.1"
        assert len(asked) == 4
        further = [asyncio.ensure_future(resolved(("lab", str(n)), f"slow-{n}.example")) for n in range(9)]
        await asyncio.sleep(0)
        assert await resolved(("other", "quick"), "another.example") == "192.0.2.1"
        assert await asyncio.to_thread(begun.get, timeout=30), "a tenant has more than one app of it"
        assert begun.empty(), "and no more than its share, whatever app asks"
    finally:
        let_go.set()
    assert await asyncio.gather(*slow, *further) == ["192.0.2.1"] * 18
