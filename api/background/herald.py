"""Key of the herald: a process beside this one that follows the change feed and tells subscribers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager


class Herald(Protocol):
    """The process, as this one sees it."""

    def is_there(self) -> bool:
        """Whether it runs, and has these duties."""

    def kept(
        self, is_needed: Callable[[], Awaitable[bool]], free: Callable[[int], Awaitable[None]]
    ) -> AbstractAsyncContextManager[None]:
        """Keep it while it is needed, until the end of the context; that it is, is asked again and again.

        `free` lets others have what one held that was killed, by its process id.
        """


HERALD: Final[web.AppKey[Herald]] = web.AppKey("herald")
"""Only where it has these duties."""
