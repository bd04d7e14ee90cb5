"""Room for pushed bodies: how many bytes of them are in memory at once is bounded, whoever sends how many.

A body takes room as its bytes come, whatever its `Content-Length` says. A tenant and a client have a share
each, so that none takes all; small bodies have room of their own beside the large ones. Where room is
missing, who sends markedly slower than the one who needs it loses theirs. How fast one client may fill it is
bounded too.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple, Self, TypeAlias

from aiohttp import web
from typing_extensions import override

from ingest.http.app_keys import asker_of
from store.errors import Category, ServiceError
from store.fhir.issues import Issue

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping

    from aiohttp import StreamReader

    from ingest.settings import IngestSettings

ADMISSION: Final[web.AppKey[Admission]] = web.AppKey("admission")
"""Room for pushed bodies."""


BODIES: Final = "bodies"
SMALL_BYTES: Final = 65_536
"""Largest body that counts as small: nearly every single resource."""
SMALL_PART: Final = 8
"""Room for small bodies, as a part of that for large ones."""
SLOWER: Final = 4
"""Factor by which a sender must be slower than another to lose its room to it."""
RATE_SECONDS: Final = 1.0
"""Time for which a sender is watched before it is called slow."""
LEAST_SECONDS: Final = 0.005
"""Shortest wait that is worth a timer."""
REMEMBERED: Final = 1_000
"""Senders that are remembered before those that are not behind are forgotten."""
_NO_ROOM: Final = Issue("transient", "too many pushes are under way; nothing was stored, try again shortly")


class NoRoomError(ServiceError):
    """Refusal for want of room."""

    def __init__(self) -> None:
        super().__init__(Category.UNAVAILABLE, _NO_ROOM)

    @override
    def __reduce__(self) -> tuple[object, ...]:
        return type(self), ()


Group: TypeAlias = tuple[bool, *tuple[str, ...]]
"""Whether the bodies are small; of which tenant, and of which client of it."""


class Shares(NamedTuple):
    """Bytes that the bodies of one client, those of one tenant, and all of them may take together."""

    client: int
    tenant: int
    all: int

    def part(self, divisor: int) -> Shares:
        """Shares of which each bound is divided by this number."""
        return Shares(*(max(1, one // divisor) for one in self))


def shares_of(settings: IngestSettings) -> Shares:
    """The shares that the settings give."""
    most = settings.push_bytes_max
    return Shares(int(most * settings.push_client_share), int(most * settings.push_tenant_share), most)


class Room:
    """Room that a push takes until it is answered."""

    def __init__(self, admission: Admission, tenant: str, client: str) -> None:
        self._admission = admission
        self.tenant = tenant
        self.client = client
        self.size = 0
        self._content: StreamReader | None = None
        self._rate = 0.0
        self._marked_at = 0.0
        self._marked_size = 0
        self._grown_at = 0.0
        self.at_end: Callable[[], None] | None = None
        """Called when the push is answered."""

    def groups(self, size: int) -> tuple[Group, Group, Group]:
        """The bodies with which it shares room at this size: of its client, of its tenant, all."""
        small = size <= SMALL_BYTES
        return (small, self.tenant, self.client), (small, self.tenant), (small,)

    def watch(self, content: StreamReader) -> None:
        """The body is arriving from here: its room may be taken away."""
        self._content = content
        self._marked_at = self._grown_at = self._admission.clock()

    def has_come(self) -> None:
        """The body is there as a whole: its room is kept until it is answered."""
        self._content = None

    def take(self, size: int) -> None:
        """Raise to this size. Raises ServiceError `unavailable` when there is no room for that."""
        if size > self.size:
            self._admission.raise_to(self, size)
        if self._content is not None:
            self._mark()

    async def keep_pace(self, size: int) -> None:
        """Wait behind so many bytes of a large body, if its client sends faster than it may."""
        if self.size > SMALL_BYTES:
            seconds = self._admission.flow.wait((self.tenant, self.client), size)
            if seconds:
                await asyncio.sleep(seconds)

    def _mark(self) -> None:
        self._grown_at = now = self._admission.clock()
        passed = now - self._marked_at
        if passed >= RATE_SECONDS:
            self._rate = (self.size - self._marked_size) / passed
            self._marked_at, self._marked_size = now, self.size

    def rate(self, now: float) -> float | None:
        """Bytes a second, lately; None: it has not been watched for long enough, or nothing is awaited."""
        if self._content is None:
            return None
        if now - self._grown_at >= RATE_SECONDS:
            return 0.0
        return self._rate or None

    def lose(self) -> None:
        """Give the room to another one; whoever reads the body finds it refused."""
        content, self._content = self._content, None
        self._admission.release(self)
        if content is not None:
            content.set_exception(NoRoomError())

    def __enter__(self) -> Self:
        self._admission.rooms.add(self)
        return self

    def __exit__(self, *_: object) -> None:
        if self.at_end is not None:
            self.at_end()
        self._admission.release(self)
        self._admission.rooms.discard(self)


ROOM: Final[web.RequestKey[Room]] = web.RequestKey("room")


class Flow:
    """Moments up to which each sender has sent what it may.

    To take a megabyte in is some milliseconds of the event loop, for the copies on its way. A thousand
    connections of one client that send one each would have the loop for themselves. Who sends faster is read
    later: its line fills up, and it waits. See DECISIONS.md#flow-of-a-client.
    """

    def __init__(self, rate: int, *, clock: Callable[[], float]) -> None:
        """`rate`: bytes a second; 0: as many as come."""
        self._rate = rate
        self._clock = clock
        self._paid: dict[Hashable, float] = {}

    def wait(self, sender: Hashable, size: int) -> float:
        """Seconds for which no more is read from this sender behind so many bytes; 0.0: read on."""
        if not self._rate:
            return 0.0
        now = self._clock()
        if len(self._paid) >= REMEMBERED:
            self._paid = {one: moment for one, moment in self._paid.items() if moment > now}
        moment = self._paid[sender] = max(now, self._paid.get(sender, now)) + size / self._rate
        return moment - now if moment - now >= LEAST_SECONDS else 0.0


class Admission:
    """Counts the bytes of the bodies under way."""

    def __init__(
        self,
        shares: Shares,
        *,
        check: Callable[[], None],
        rejected: Callable[[str], None],
        rate: int = 0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`rate`: bytes a second of the large bodies of one client; 0: as many as come."""
        self._shares: Mapping[bool, Shares] = {False: shares, True: shares.part(SMALL_PART)}
        self.check = check
        """Raises ServiceError `unavailable` while a push would be refused anyway."""
        self._rejected = rejected
        self.clock = clock
        self.flow = Flow(rate, clock=clock)
        self.rooms: set[Room] = set()
        self._taken: Counter[Group] = Counter()

    @property
    def bytes(self) -> int:
        """Bytes of all bodies under way."""
        return self._taken[(True,)] + self._taken[(False,)]

    def room_for(self, request: web.Request) -> Room:
        """Room for this request's body, once it is entered."""
        asker = asker_of(request)
        room = request[ROOM] = Room(self, asker.tenant, asker.client)
        return room

    def release(self, room: Room) -> None:
        """Free what a room takes."""
        for group in room.groups(room.size):
            self._taken[group] -= room.size
            if not self._taken[group]:
                del self._taken[group]
        room.size = 0

    def raise_to(self, room: Room, size: int) -> None:
        """Let a room grow; one alone among those like it always does, it has a limit of its own."""
        before, groups = room.size, room.groups(size)
        self.release(room)
        try:
            for group, limit in zip(groups, self._shares[groups[0][0]], strict=True):
                missing = size + self._taken[group] - limit
                if missing > 0 and self._taken[group]:
                    self._make(missing, group, for_=room)
        except ServiceError:
            size = before
            raise
        finally:
            room.size = size
            for group in room.groups(size):
                self._taken[group] += size

    def _make(self, missing: int, group: Group, *, for_: Room) -> None:
        """Take so much room from slower senders. Raises ServiceError when they have not enough."""
        given_up = []
        for slow in self._slower(group, for_):
            given_up.append(slow)
            missing -= slow.size
            if missing <= 0:
                for one in given_up:
                    self._rejected(BODIES)
                    one.lose()
                return
        self._rejected(BODIES)
        raise NoRoomError

    def _slower(self, group: Group, for_: Room) -> Iterator[Room]:
        """The rooms of a group whose senders are markedly slower, the slowest first."""
        now = self.clock()
        own = for_.rate(now)
        mine = [one for one in self.rooms if one.size and one is not for_ and group in one.groups(one.size)]
        rated = [(rate, id(one), one) for one in mine if (rate := one.rate(now)) is not None]
        for rate, _, one in sorted(rated):
            if own is None or rate * SLOWER < own:
                yield one
