"""Sockets that listen on an address for all workers."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

from api.serve import not_listening
from ingest.accepting import BACKLOG

if TYPE_CHECKING:
    from collections.abc import Sequence


def listening_on(host: str, port: int) -> list[socket.socket]:
    """A socket for each address that the host has. Raises StartupError when one cannot be had.

    One socket for all workers, not one for each (SO_REUSEPORT): connections that nobody has accepted yet stay
    when a worker ends.
    """
    try:
        with ExitStack() as made:
            sockets: list[socket.socket] = []
            for family, address in _addresses(host, port):
                one = made.enter_context(socket.socket(family, socket.SOCK_STREAM))
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                one.setblocking(False)  # noqa: FBT003 -- its own
                one.bind((address, sockets[0].getsockname()[1] if sockets else port))
                one.listen(BACKLOG)
                sockets.append(one)
            made.pop_all()
            return sockets
    except OSError as error:
        raise not_listening(error, host, port, option="--port") from None


def _addresses(host: str, port: int) -> dict[tuple[socket.AddressFamily, str], None]:
    """The addresses of the host, each once."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return dict.fromkeys((one[0], str(one[4][0])) for one in found)


def url_of(listening: Sequence[socket.socket], host: str, *, is_secured: bool) -> str:
    """The URL of the address, with the port that was really taken."""
    shown = f"[{host}]" if ":" in host else host
    scheme = "https" if is_secured else "http"
    return f"{scheme}://{shown}:{listening[0].getsockname()[1]}"
