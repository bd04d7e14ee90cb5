"""Addresses of names of others, looked up in threads of their own.

A name belongs to somebody else, and so does the server that is asked for it, which may take its time: the
threads of the event loop, in which bodies are inflated and answers made, are not for that.
"""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from aiohttp.abc import AbstractResolver, ResolveResult
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Sequence

THREADS: Final = 16
"""Names looked up at once; each has one look-up under way, whoever waits for it."""
SHARES: Final = (4, 2)
"""Names looked up at once for one asker: for the whole that it is of, and for itself."""
ASKER: Final[ContextVar[tuple[str, ...]]] = ContextVar("asker", default=())
"""Asker for whom a task looks names up, as a tenant and an app of it; without one no share is counted."""


class _Look(NamedTuple):
    answer: Future[list[Any]]
    asker: tuple[str, ...]


class Names(AbstractResolver):
    """Looks names up, as the system does; one for the life of the process.

    A name whose server takes its time holds a thread for as long: those of one asker wait for each other
    (`DECISIONS.md#names-by-asker`).
    """

    def __init__(self, *, threads: int = THREADS, shares: tuple[int, ...] = SHARES) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="names")
        self._shares = shares
        self._under_way: dict[tuple[str, int], _Look] = {}

    @override
    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        name, asker = (host, family), ASKER.get()
        while (look := self._under_way.get(name)) is None and (before := self._before(asker)):
            await _one_of(before)
        if look is None:
            ask = partial(socket.getaddrinfo, host, None, family, socket.SOCK_STREAM)
            look = self._under_way[name] = _Look(self._threads.submit(ask), asker)
            look.answer.add_done_callback(lambda _: self._under_way.pop(name, None))
        infos = await asyncio.shield(asyncio.wrap_future(look.answer))
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=found,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for found, _, protocol, _, address in infos
        ]

    def _before(self, asker: tuple[str, ...]) -> list[Future[list[Any]]]:
        """Look-ups of which one has to be over, as they take all of a share; none: there is room."""
        under_way = tuple(self._under_way.values())
        for depth, share in enumerate(self._shares[: len(asker)], 1):
            own = [one.answer for one in under_way if one.asker[:depth] == asker[:depth]]
            if len(own) >= share:
                return own
        return []

    @override
    async def close(self) -> None:
        """Leave the threads to those who still wait for them."""


async def _one_of(under_way: Sequence[Future[list[Any]]]) -> None:
    """Wait until one of these look-ups is over."""
    loop, over = asyncio.get_running_loop(), asyncio.Event()

    def tell(_: object) -> None:
        with suppress(RuntimeError):  # The loop has ended meanwhile.
            loop.call_soon_threadsafe(over.set)

    for one in under_way:
        one.add_done_callback(tell)
    await over.wait()


NAMES: Final = Names()
