"""The event loop that a service runs on: uvloop's where it is installed, else the one of Python.

uvloop takes about a tenth less processor time for a request: docs/benchmark-figures.md.
https://uvloop.readthedocs.io/
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from store.errors import StartupError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from api.settings.service import EventLoop

T = TypeVar("T")


def run(service: Coroutine[Any, Any, T], *, event_loop: EventLoop) -> T:
    """The service, run to its end. Raises StartupError when uvloop is asked for and not there."""
    with asyncio.Runner(loop_factory=factory_of(event_loop)) as runner:
        return runner.run(service)


def factory_of(event_loop: EventLoop) -> Callable[[], asyncio.AbstractEventLoop]:
    """A maker of such loops. Raises StartupError when uvloop is asked for and not installed."""
    if event_loop == "asyncio":
        return asyncio.SelectorEventLoop
    try:
        import uvloop  # noqa: PLC0415 -- where it is installed
    except ImportError:
        if event_loop == "uvloop":
            text = "DOD_EVENT_LOOP=uvloop: uvloop is not installed. `pip install uvloop`, or leave it unset."
            raise StartupError(text) from None
        return asyncio.SelectorEventLoop
    return uvloop.new_event_loop
