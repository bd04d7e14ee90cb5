"""Room for answers: the bytes of large answers in memory at once are bounded, whoever reads how slowly.

An answer takes room when it is there and gives it back when it was sent. A tenant and a client have a share
each. Who has used theirs is refused before anything is read for them.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from aiohttp import web

from ingest.http.app_keys import asker_of
from store.errors import Category, ServiceError
from store.fhir.issues import Issue

if TYPE_CHECKING:
    from store.fair import Asker, Shares

SMALL_BYTES: Final = 65_536
"""Answers up to here take no room: what a connection buffers in any case."""
_OWN_SHARE: Final = Issue(
    "throttled", "too many large answers are on their way to this client or tenant: read them first"
)
_FULL: Final = Issue("transient", "too many large answers are on their way; try again shortly")


class AnswerRoom:
    """Counts the bytes of the answers under way."""

    def __init__(self, shares: Shares) -> None:
        self._shares = shares
        self._used: Counter[Asker | str] = Counter()
        self.bytes = 0

    def check(self, asker: Asker) -> None:
        """Raise ServiceError `throttled` or `unavailable` when there is no room for anything more."""
        if self._used[asker] >= self._shares.client or self._used[asker.tenant] >= self._shares.tenant:
            raise ServiceError(Category.THROTTLED, _OWN_SHARE)
        if self.bytes >= self._shares.all:
            raise ServiceError(Category.UNAVAILABLE, _FULL)

    def take(self, asker: Asker, size: int) -> None:
        """Take so much more; raises as `check` unless it fits. The only answer of all always does."""
        if self.bytes:
            own, tenant = self._used[asker], self._used[asker.tenant]
            # One answer of a client may exceed its share: it has a limit of its own.
            if (own and own + size > self._shares.client) or (tenant and tenant + size > self._shares.tenant):
                raise ServiceError(Category.THROTTLED, _OWN_SHARE)
            if self.bytes + size > self._shares.all:
                raise ServiceError(Category.UNAVAILABLE, _FULL)
        self.add(asker, size)

    def add(self, asker: Asker, size: int) -> None:
        """Count bytes taken (or, negative, given back), also past the bound."""
        self.bytes += size
        for key in (asker, asker.tenant):
            self._used[key] += size
            if not self._used[key]:
                del self._used[key]


ANSWER_ROOM: Final[web.AppKey[AnswerRoom]] = web.AppKey("answer_room")
HELD: Final[web.RequestKey[int]] = web.RequestKey("held")
"""Bytes of room that a request has taken."""


def hold(request: web.Request, size: int, *, whatever: bool = False) -> None:
    """Take room for a part of the request's answer. Raises ServiceError when there is none.

    `whatever` room there is: what was written cannot be refused any more.
    """
    room = request.app[ANSWER_ROOM]
    (room.add if whatever else room.take)(asker_of(request), size)
    request[HELD] = request.get(HELD, 0) + size


def let_go(request: web.Request) -> None:
    """Give back all that the request holds."""
    held = request.pop(HELD, 0)
    if held:
        request.app[ANSWER_ROOM].add(asker_of(request), -held)
