"""Work that waits for a place, taken in turns: by tenant, within a tenant by client.

A tenant and a client have a share of the places and of the room to wait, so that neither can take all. What
one of them asks for too much waits behind its own, and is refused when too much of it waits.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar

from store.errors import Category, ServiceError
from store.fhir.issues import Issue

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from types import TracebackType

Item = TypeVar("Item")

REMEMBERED_MAX: Final = 1_000
"""Askers that are remembered though nothing of them waits or is under way."""
_OWN_SHARE: Final = Issue(
    "throttled", "too many requests of this client or tenant are waiting already; send fewer at a time"
)
_FULL: Final = Issue("transient", "too many requests are waiting already; try again shortly")
_TOO_LONG: Final = Issue("transient", "too many requests are under way; try again shortly")


class Asker(NamedTuple):
    """The client that asks, and for which tenant."""

    tenant: str
    client: str


class Shares(NamedTuple):
    """Shares of something: the most that one client, one tenant, and all of them may have."""

    client: int
    tenant: int
    all: int


class _Tenant:
    """A tenant and those of its clients that have something waiting, the next one first."""

    __slots__ = ("name", "runs", "waiting", "waits")

    def __init__(self, name: str) -> None:
        self.name = name
        self.waiting: OrderedDict[Asker, _Client[Any]] = OrderedDict()
        self.waits = 0
        self.runs = 0


class _Client(Generic[Item]):
    """Waiting work of a client, in order, and how much of it is under way."""

    __slots__ = ("asker", "items", "runs", "tenant")

    def __init__(self, asker: Asker, tenant: _Tenant) -> None:
        self.asker = asker
        self.tenant = tenant
        self.items: deque[Item] = deque()
        self.runs = 0


class FairQueue(Generic[Item]):
    """Waiting work, and how much of each asker is under way."""

    def __init__(
        self, *, places: Shares, waiting: Shares, most: Callable[[Asker], int] | None = None
    ) -> None:
        """`most`: places that an asker may have now, where that are not always those of its share."""
        self._most = most or (lambda _: places.client)
        self._places = places
        self._limits = waiting
        self._clients: dict[Asker, _Client[Item]] = {}
        self._tenants: dict[str, _Tenant] = {}
        self._waiting: OrderedDict[str, _Tenant] = OrderedDict()
        self._length = 0
        self.askers = 0
        """Number of askers that have something waiting; may be read by any thread."""

    def __len__(self) -> int:
        return self._length

    def waiting_of(self, asker: Asker) -> int:
        """Number of items of an asker that wait."""
        client = self._clients.get(asker)
        return 0 if client is None else len(client.items)

    def put(self, asker: Asker, item: Item) -> None:
        """Have it wait. Raises ServiceError `throttled` past the asker's share, `unavailable` past all."""
        client = self._clients.get(asker) or self._new(asker)
        if len(client.items) >= self._limits.client or client.tenant.waits >= self._limits.tenant:
            raise ServiceError(Category.THROTTLED, _OWN_SHARE)
        if self._length >= self._limits.all:
            raise ServiceError(Category.UNAVAILABLE, _FULL)
        self._wait(client)
        client.items.append(item)

    def take(self, beside: Collection[Asker] = ()) -> tuple[Asker, Item] | None:
        """The next item that has a place, or shares one `beside` others of its asker; None: none has.

        It is under way then.

        `ended` gives its place back, once for each asker that was taken without being `beside`.
        """
        places = self._places
        for tenant in self._waiting.values():
            for client in tenant.waiting.values():
                shared = client.asker in beside
                if shared or (client.runs < self._most(client.asker) and tenant.runs < places.tenant):
                    if not shared:
                        client.runs += 1
                        tenant.runs += 1
                    return client.asker, self._next(client)
        return None

    def back(self, asker: Asker, item: Item) -> None:
        """Have one that was taken wait again, before all others: it was not begun."""
        client = self._clients.get(asker) or self._new(asker)
        self._wait(client)
        client.items.appendleft(item)
        client.tenant.waiting.move_to_end(asker, last=False)
        self._waiting.move_to_end(asker.tenant, last=False)

    def ended(self, asker: Asker) -> None:
        """Free a place of this asker."""
        client = self._clients[asker]
        client.runs -= 1
        client.tenant.runs -= 1

    def _new(self, asker: Asker) -> _Client[Item]:
        """An asker that comes for the first time, or again after a while."""
        if len(self._clients) >= REMEMBERED_MAX:
            self._clients = {one: c for one, c in self._clients.items() if c.runs or c.items}
            self._tenants = {c.tenant.name: c.tenant for c in self._clients.values()}
        tenant = self._tenants.setdefault(asker.tenant, _Tenant(asker.tenant))
        return self._clients.setdefault(asker, _Client(asker, tenant))

    def _wait(self, client: _Client[Item]) -> None:
        """Note that another work of a client waits."""
        tenant = client.tenant
        if not client.items:
            tenant.waiting[client.asker] = client
            self._waiting.setdefault(tenant.name, tenant)
            self.askers += 1
        tenant.waits += 1
        self._length += 1

    def _next(self, client: _Client[Item]) -> Item:
        """The first of a client's; others come first the next time."""
        item, tenant = client.items.popleft(), client.tenant
        tenant.waits -= 1
        self._length -= 1
        if client.items:
            tenant.waiting.move_to_end(client.asker)
        else:
            del tenant.waiting[client.asker]
            self.askers -= 1
        if tenant.waiting:
            self._waiting.move_to_end(tenant.name)
        else:
            del self._waiting[tenant.name]
        return item


class Gate:
    """Gate with so many places; a caller that finds none waits for a fair turn, within its deadline."""

    def __init__(self, *, places: Shares, waiting: Shares, seconds: float) -> None:
        self._free = places.all
        self._queue: FairQueue[asyncio.Future[None]] = FairQueue(places=places, waiting=waiting)
        self._seconds = seconds

    def turn(self, asker: Asker) -> Turn:
        """A place, for as long as the context lasts."""
        return Turn(self, asker)

    async def enter(self, asker: Asker) -> None:
        """Wait for a place. Raises ServiceError `throttled` or `unavailable`."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.put(asker, future)
        self._start()
        if future.done():
            return
        try:
            async with asyncio.timeout(self._seconds):
                await future
        except BaseException as error:
            if future.done() and not future.cancelled():
                self.leave(asker)  # The place came when nobody waited for it any more.
            future.cancel()
            if isinstance(error, TimeoutError):
                raise ServiceError(Category.UNAVAILABLE, _TOO_LONG) from None
            raise

    def leave(self, asker: Asker) -> None:
        """Give the place to the next one."""
        self._free += 1
        self._queue.ended(asker)
        self._start()

    def _start(self) -> None:
        while self._free and (taken := self._queue.take()) is not None:
            asker, future = taken
            if future.done():  # Nobody waits for it any more.
                self._queue.ended(asker)
                continue
            self._free -= 1
            future.set_result(None)


class Turn:
    """A place at a gate, as a context."""

    __slots__ = ("_asker", "_gate")

    def __init__(self, gate: Gate, asker: Asker) -> None:
        self._gate = gate
        self._asker = asker

    async def __aenter__(self) -> None:
        await self._gate.enter(self._asker)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._gate.leave(self._asker)
