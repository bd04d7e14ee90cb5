"""Addresses of names of others, looked up in threads of their own.

A name belongs to somebody else, and so does the server that is asked for it, which may take its time: the
threads of the event loop, in which bodies are inflated and answers made, are not for that.
"""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, Final

from aiohttp.abc import AbstractResolver, ResolveResult
from typing_extensions import override

THREADS: Final = 16
"""Names looked up at once; each has one look-up under way, whoever waits for it."""


class Names(AbstractResolver):
    """Looks names up, as the system does; one for the life of the process."""

    def __init__(self, *, threads: int = THREADS) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="names")
        self._under_way: dict[tuple[str, int], Future[list[Any]]] = {}

    @override
    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        name = host, family
        looking = self._under_way.get(name)
        if looking is None:
            look = partial(socket.getaddrinfo, host, None, family, socket.SOCK_STREAM)
            looking = self._under_way[name] = self._threads.submit(look)
            looking.add_done_callback(lambda _: self._under_way.pop(name, None))
        infos = await asyncio.shield(asyncio.wrap_future(looking))
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

    @override
    async def close(self) -> None:
        """Leave the threads to those who still wait for them."""


NAMES: Final = Names()
