"""Room for pushed bodies: how many bytes of them are in memory at once is bounded, whoever sends how many.

A body takes room by what its `Content-Length` says before it is read; one that is compressed or has no
length takes more as it is read. What finds no room is told so at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiohttp import web

from store.errors import Category, ServiceError
from store.fhir.issues import Issue

if TYPE_CHECKING:
    from collections.abc import Callable

BODIES: Final = "bodies"
_NO_ROOM: Final = Issue("transient", "too many pushes are under way; nothing was stored, try again shortly")


class Room:
    """What one push takes, until it is answered."""

    def __init__(self, admission: Admission, told: int) -> None:
        self._admission = admission
        self._told = told
        self.size = 0

    def take(self, size: int) -> None:
        """Raise to this size. Raises ServiceError `unavailable` when there is no room for that."""
        more = size - self.size
        if more > 0:
            self._admission.reserve(more, mine=self.size)
            self.size = size

    def __enter__(self) -> None:
        self.take(self._told)

    def __exit__(self, *_: object) -> None:
        self._admission.bytes -= self.size


ROOM: Final[web.RequestKey[Room]] = web.RequestKey("room")


class Admission:
    """Counts the bytes of the bodies under way."""

    def __init__(self, bytes_max: int, *, check: Callable[[], None], rejected: Callable[[str], None]) -> None:
        self._bytes_max = bytes_max
        self.check = check
        """Raises ServiceError `unavailable` while a push would be refused anyway."""
        self._rejected = rejected
        self.bytes = 0

    def reserve(self, size: int, *, mine: int) -> None:
        """Take so many bytes more; one body alone always finds room, it has a limit of its own."""
        if self.bytes + size > self._bytes_max and self.bytes > mine:
            self._rejected(BODIES)
            raise ServiceError(Category.UNAVAILABLE, _NO_ROOM)
        self.bytes += size

    def room_for(self, request: web.Request) -> Room:
        """Room for this request's body, once it is entered."""
        room = request[ROOM] = Room(self, min(request.content_length or 0, request.client_max_size))
        return room
