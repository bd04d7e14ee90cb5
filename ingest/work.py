"""Ways of calling a pure function: here and now, or beside the event loop when what it works on is large."""

from __future__ import annotations

from typing import TYPE_CHECKING, ParamSpec, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")


class Work(Protocol):
    """Way to call a pure function: at once, or beside the event loop."""

    async def __call__(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Result of the function."""


async def at_once(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Call it here: the way of bodies that are small."""
    return function(*args, **kwargs)
