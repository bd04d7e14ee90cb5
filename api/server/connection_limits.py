"""Connections of clients: how many there may be, and who has to go when there are too many.

Pure, but for the limit of open files. Half-sent heads and idle connections starve nobody, and neither does
one network that makes as many as it can (`ingest.places`).
"""

from __future__ import annotations

import resource
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from typing_extensions import override

from ingest.places import Held, Places
from ingest.work import Pace, Turns
from store.errors import StartupError

if TYPE_CHECKING:
    from api.settings.service import Settings

FILES_MAX: Final = 65_536
"""Open files asked for, where the hard limit allows as many."""
FILES_KEPT: Final = 64
"""Open files for everything but clients and MongoDB: libraries, logs, sockets that listen, probes."""
FILES_OF_DATABASE: Final = 2
"""Open files for each connection of the pool: its socket, and one for MongoDB's monitors and searches."""
HEADS_BYTES_MAX: Final = 32_000_000
"""Bytes of all heads whose end has not come: four thousand of the largest would be a gigabyte."""
CONNECTIONS_MIN: Final = 16
"""Fewest connections of clients that are worth a start."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of connections: their number, and the time and size of a head."""

    connections: int = 4_000
    per_address: int = 0
    """Connections of one client network; 0: as many as there may be at all."""
    head_seconds: float = 10.0
    """Time from the first byte of a request to the end of its header fields."""
    idle_seconds: float = 75.0
    """Time between two requests."""
    stall_seconds: float = 30.0
    """Time in which nothing is taken of what was sent."""
    heads_bytes: int = HEADS_BYTES_MAX
    """Bytes of all heads whose end has not come."""


def limits_of(settings: Settings, *, files: int) -> Limits:
    """The limits of the settings, as far as the open files allow. Raises StartupError when they do not."""
    kept = FILES_KEPT + FILES_OF_DATABASE * settings.pool_size
    if files < kept + CONNECTIONS_MIN:
        raise StartupError(
            f"At most {files} files may be open (`ulimit -n`); with {settings.pool_size} connections to"
            f" MongoDB (DOD_POOL_SIZE) at least {kept + CONNECTIONS_MIN} are needed."
        )
    return Limits(
        min(settings.connections_max, files - kept),
        settings.connections_per_address_max,
        settings.head_seconds,
        settings.idle_seconds,
        settings.answer_stall_seconds,
    )


def raise_files() -> int:
    """Raise the limit of open files as far as it goes; gives it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_MAX if hard == resource.RLIM_INFINITY else min(hard, FILES_MAX)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return FILES_MAX if soft == resource.RLIM_INFINITY else soft


class Connections(Places[Held]):
    """Open connections, and what they have in common."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits.connections, per_network=limits.per_address)
        self.limits = limits
        self.pace = Pace()
        """Time in a turn of the event loop for bodies that begin to be read."""
        self.turns = Turns()
        """Turns of requests to begin."""
        self.draining = False
        """Whether the service will end: each answer is the last of its connection, and says so."""
        self.ending = False
        """Whether the service ends: a connection that is made still takes one request."""
        self._heads: dict[Held, int] = {}
        """Connections of whose next head a part has come, each with its bytes."""
        self._head_bytes = 0

    def arriving(self, connection: Held, size: int) -> None:
        """A further part of a head has come; past the bound of all the largest ones give way."""
        self._heads[connection] = self._heads.get(connection, 0) + size
        self._head_bytes += size
        while self._head_bytes > self.limits.heads_bytes and len(self._heads) > 1:
            largest = max(self._heads, key=self._heads.__getitem__)
            self.forget(largest)
            largest.give_way()

    def arrived(self, connection: Held) -> None:
        """The head is there, or nobody waits for it any more."""
        self._head_bytes -= self._heads.pop(connection, 0)

    def close(self) -> None:
        """Close all that are open: the service has ended."""
        for one in self:
            self.forget(one)
            one.give_way()

    @override
    def forget(self, one: Held) -> None:
        self.arrived(one)
        super().forget(one)
