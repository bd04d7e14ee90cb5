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
from typing import Any, Final, NamedTuple

from aiohttp.abc import AbstractResolver, ResolveResult
from typing_extensions import override

THREADS: Final = 16
"""Names looked up at once; each has one look-up under way, whoever waits for it."""
SHARE: Final = 4
"""Names looked up at once for one asker."""
ASKER: Final[ContextVar[str]] = ContextVar("asker", default="")
"""Asker for whom a task looks names up, such as a tenant; without one no share is counted."""


class _Look(NamedTuple):
    answer: Future[list[Any]]
    asker: str


class Names(AbstractResolver):
    """Looks names up, as the system does; one for the life of the process.

    A name whose server takes its time holds a thread for as long: those of one asker wait for each other
    (`DECISIONS.md#names-by-asker`).
    """

    def __init__(self, *, threads: int = THREADS, share: int = SHARE) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="names")
        self._share = share
        self._under_way: dict[tuple[str, int], _Look] = {}

    @override
    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        name, asker = (host, family), ASKER.get()
        while (look := self._under_way.get(name)) is None and self._is_out_of(asker):
            await self._one_of(asker)
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

    def _own(self, asker: str) -> list[Future[list[Any]]]:
        return [one.answer for one in tuple(self._under_way.values()) if one.asker == asker]

    def _is_out_of(self, asker: str) -> bool:
        """Whether an asker has no share left."""
        return bool(asker) and len(self._own(asker)) >= self._share

    async def _one_of(self, asker: str) -> None:
        """Wait until a look-up of an asker is over."""
        loop, over = asyncio.get_running_loop(), asyncio.Event()

        def tell(_: object) -> None:
            with suppress(RuntimeError):  # The loop has ended meanwhile.
                loop.call_soon_threadsafe(over.set)

        for one in self._own(asker):
            one.add_done_callback(tell)
        await over.wait()

    @override
    async def close(self) -> None:
        """Leave the threads to those who still wait for them."""


NAMES: Final = Names()
