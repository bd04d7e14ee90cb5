"""Places of connections: how many there may be, and which one gives way to a new one. Pure.

Of the network with most connections the one goes that has been idle for longest. Where none is idle, one goes
whose client is waited for, to a network with far fewer, or to its own. No network takes a place from one that
has fewer: whoever makes many connections has its own to lose. See DECISIONS.md#places-by-network.
"""

from __future__ import annotations

from collections import OrderedDict
from ipaddress import IPv6Address, IPv6Network
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

SUBSCRIBER_BITS: Final = 64
"""Bits of an IPv6 address that tell subscribers apart: each has all addresses behind them."""
FAR_FEWER: Final = 2
"""Factor between two networks behind which a connection under way gives way too."""


class Held(Protocol):
    """A connection, as far as its place among the others asks."""

    @property
    def address(self) -> str:
        """Address of the client."""

    @property
    def is_awaited(self) -> bool:
        """Whether its client is waited for: for the rest of a request, or to take an answer."""

    def give_way(self) -> None:
        """Close at once."""


C = TypeVar("C", bound=Held)


class _Network(Generic[C]):
    """Connections of one network, the longest in their state first."""

    __slots__ = ("busy", "idle", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.idle: OrderedDict[C, None] = OrderedDict()
        self.busy: OrderedDict[C, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self.idle) + len(self.busy)

    def leaving(self, *, also_awaited: bool) -> C | None:
        """Connection that goes first: idle, or else one that may be cut; None: none of these is there."""
        if self.idle:
            return next(iter(self.idle))
        return next((one for one in self.busy if one.is_awaited), None) if also_awaited else None


class Places(Generic[C]):
    """Places, and who has them."""

    def __init__(self, most: int, *, per_network: int = 0) -> None:
        """`per_network`: most connections of one network; 0: as many as there may be at all."""
        self._most = most
        self._per_network = per_network
        self._network_of: dict[C, _Network[C]] = {}
        self._networks: dict[str, _Network[C]] = {}
        self._by_size: dict[int, OrderedDict[_Network[C], None]] = {}
        """Networks with so many connections, the one that was last idle longest ago first."""

    def __len__(self) -> int:
        return len(self._network_of)

    def __iter__(self) -> Iterator[C]:
        return iter(tuple(self._network_of))

    def admit(self, one: C) -> bool:
        """Take a new connection in, idle, if there is a place or another one gives way."""
        name = network_of(one.address)
        own = self._networks.get(name)
        size = 0 if own is None else len(own)
        if own is not None and self._per_network and size >= self._per_network:
            if not _end(self, own.leaving(also_awaited=True)):
                return False
        elif len(self) >= self._most and not _end(self, self._next(own, size)):
            return False
        own = self._networks.setdefault(name, _Network(name))
        self._network_of[one] = own
        own.idle[one] = None
        self._sized(own, len(own) - 1)
        return True

    def begins(self, one: C) -> None:
        """Something has come that is to be answered."""
        own = self._network_of.get(one)
        if own is not None and one in own.idle:
            del own.idle[one]
            own.busy[one] = None

    def rests(self, one: C) -> None:
        """Nothing is under way any more."""
        own = self._network_of.get(one)
        if own is not None:
            own.busy.pop(one, None)
            own.idle[one] = None
            own.idle.move_to_end(one)
            self._by_size[len(own)].move_to_end(own)

    def forget(self, one: C) -> None:
        """The connection is closed, or needs its place no longer."""
        own = self._network_of.pop(one, None)
        if own is not None:
            size = len(own)
            own.idle.pop(one, None)
            own.busy.pop(one, None)
            self._sized(own, size)

    def _sized(self, network: _Network[C], before: int) -> None:
        """Keep a network among those of its size."""
        if before:
            same = self._by_size[before]
            del same[network]
            if not same:
                del self._by_size[before]
        if network:
            self._by_size.setdefault(len(network), OrderedDict())[network] = None
        else:
            del self._networks[network.name]

    def _next(self, own: _Network[C] | None, size: int) -> C | None:
        """The connection that gives way to one of a network that has so many; None: nobody does."""
        for number in sorted(self._by_size, reverse=True):
            if number < size:
                break
            for network in self._by_size[number]:
                may_cost = network is own or number > FAR_FEWER * max(size, 1)
                found = network.leaving(also_awaited=may_cost)
                if found is not None:
                    return found
        return None


def _end(places: Places[C], one: C | None) -> bool:
    """Have a connection give way, if there is one."""
    if one is None:
        return False
    places.forget(one)
    one.give_way()
    return True


def network_of(address: str) -> str:
    """The network that a client is told from others by: its address, or the first half of an IPv6 one."""
    if ":" not in address:
        return address
    try:
        found = IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(IPv6Network((int(found), SUBSCRIBER_BITS), strict=False))
