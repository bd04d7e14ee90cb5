"""Ports for what a test starts a moment later, or never."""

from __future__ import annotations

import socket
from random import Random
from typing import Final

PORTS: Final = range(10_000, 32_000)
"""Ports below those that systems give to clients and to servers on port 0, hundreds of them in a run: a port
that is free now would be another's by the time.
"""
_CHANCE: Final = Random()  # Of its own: workers whose tests seed the shared one would choose alike.
_GIVEN: Final[set[int]] = set()


def free_port() -> int:
    """A port of loopback that nobody uses, another one each time."""
    while True:
        port = _CHANCE.choice(PORTS)
        if port not in _GIVEN and _is_free(port):
            _GIVEN.add(port)
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: a connection that ended a moment ago does not keep its port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
