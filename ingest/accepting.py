"""Connections on their way in: few are accepted at once, and TLS handshakes have places and a deadline.

An event loop that is given the certificate tells nobody of a connection before its handshake is over: ten
thousand that say nothing would take all open files, and a quarter of a megabyte of memory each.
See DECISIONS.md#handshakes-have-places.
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING, Any, Final, cast

from typing_extensions import override

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Coroutine, Iterable

    from ingest.places import Places

ACCEPTED_AT_ONCE: Final = 8
"""Connections accepted before others get a turn: an event loop accepts as many at once as may wait."""
BACKLOG: Final = 1_024
"""Connections that wait to be accepted; the system may allow fewer."""


def let_wait(listening: Iterable[socket.socket]) -> None:
    """Let more connections wait than are accepted at once."""
    for one in listening:
        with socket.socket(fileno=os.dup(one.fileno())) as same:
            same.listen(BACKLOG)


class Handshake(asyncio.Protocol):
    """A connection until its handshake is over; another protocol has it from then on."""

    is_awaited = True

    def __init__(
        self,
        places: Places[Any],
        made: Callable[[], asyncio.Protocol],
        context: ssl.SSLContext,
        seconds: float,
    ) -> None:
        self._places = places
        self._made = made
        self._context = context
        self._seconds = seconds
        self._wire: asyncio.Transport | None = None
        self._early = bytearray()
        """Bytes that came with the end of the handshake."""
        self._is_lost = False
        self._is_at_end = False
        self.address = ""

    def give_way(self) -> None:
        """Close at once."""
        self._is_lost = True
        if self._wire is not None:
            self._wire.abort()

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wire = wire = cast("asyncio.Transport", transport)
        peer = wire.get_extra_info("peername")
        self.address = str(peer[0]) if isinstance(peer, tuple) else ""
        if not self._places.admit(self):
            self.give_way()
            return
        shaking = asyncio.get_running_loop().start_tls(
            wire, self, self._context, server_side=True, ssl_handshake_timeout=self._seconds
        )
        # Its first step at once, not a turn later in a task: what comes meanwhile is for the handshake.
        over: asyncio.Future[None] = shaking.send(None)
        over.add_done_callback(lambda _: self._shaken(shaking))

    @override
    def connection_lost(self, exc: BaseException | None) -> None:
        self._is_lost = True
        self._places.forget(self)

    @override
    def data_received(self, data: bytes) -> None:
        self._early += data

    @override
    def eof_received(self) -> None:
        self._is_at_end = True

    def _shaken(self, shaking: Coroutine[Any, Any, asyncio.Transport | None]) -> None:
        """Hand the connection over."""
        self._places.forget(self)
        try:
            shaking.send(None)
        except StopIteration as done:
            secured = done.value
        except (OSError, RuntimeError):  # Not TLS, too late, or gone: nobody is there to be told.
            return
        if self._is_lost or secured is None or secured.is_closing():
            return
        protocol = self._made()
        secured.set_protocol(protocol)
        protocol.connection_made(secured)
        if self._early:
            protocol.data_received(bytes(self._early))
        if self._is_at_end:
            protocol.eof_received()
