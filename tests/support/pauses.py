"""Pauses of one module, for a test to do something in them."""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import TYPE_CHECKING
from unittest.mock import patch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractContextManager


class _Asyncio:
    """The module `asyncio` with another `sleep`."""

    def __init__(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        self.sleep = sleep

    def __getattr__(self, name: str) -> object:
        return getattr(asyncio, name)


def pausing(module: str, instead: Callable[[float], Awaitable[None]]) -> AbstractContextManager[object]:
    """Have one module await this where it sleeps. Loops of the service and of the driver sleep as ever."""
    return patch.object(import_module(module), "asyncio", _Asyncio(instead))
