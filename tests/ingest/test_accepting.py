"""Handshakes that have places of their own, as those of a port for MLLP."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, cast

from typing_extensions import override

from ingest.accepting import Handshake
from ingest.places import Places
from tests.support.certificates import Authority

if TYPE_CHECKING:
    from pathlib import Path


class Greeting(asyncio.Protocol):
    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).write(b"hello\n")


async def test_the_oldest_handshake_gives_way(tmp_path: Path) -> None:
    authority, places = Authority(), Places[Handshake](5)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.server().write(tmp_path, "server"))
    made = partial(Handshake, places, Greeting, context, 3_600.0)
    async with AsyncExitStack() as stack:
        server = await asyncio.get_running_loop().create_server(made, "127.0.0.1", 0)
        stack.callback(server.close)
        port = server.sockets[0].getsockname()[1]
        silent = []
        for _ in range(12):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            stack.callback(writer.close)
            silent.append(reader)
        async with asyncio.timeout(20):
            for reader in silent[:7]:
                assert await reader.read() == b""
            trusting = ssl.create_default_context(cadata=authority.certificate.decode())
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting)
            stack.callback(writer.close)
            assert await reader.readline() == b"hello\n"
        assert len(places) <= 5
