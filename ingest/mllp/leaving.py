"""Choice of the connection that gives way where there are as many as there may be. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Collection


class Leaving(Protocol):
    """A connection, as far as it is asked whether it gives way."""

    @property
    def address(self) -> str:
        """Address of the other side."""

    @property
    def is_idle(self) -> bool:
        """Whether no message is under way."""

    @property
    def is_answering(self) -> bool:
        """Whether a message has come that is not answered."""

    @property
    def since(self) -> float:
        """Moment from which on it is idle, or at which its message began."""


L = TypeVar("L", bound=Leaving)


def first_to_go(connections: Collection[L]) -> L | None:
    """The connection that gives way to a new one: of the address with most, idle for longest, else with the
    message that began first. None: all have messages to be answered.
    """
    number = Counter(one.address for one in connections)
    some = [one for one in connections if not one.is_answering]
    return min(some, key=lambda one: (-number[one.address], not one.is_idle, one.since), default=None)
