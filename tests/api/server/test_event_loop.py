"""The event loop of the service: uvloop's where it is installed."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import pytest
import uvloop

from api.server.event_loop import factory_of, run
from store.errors import StartupError

if TYPE_CHECKING:
    from api.settings.service import EventLoop

PYTHONS = asyncio.SelectorEventLoop


async def loop_under_way() -> type[asyncio.AbstractEventLoop]:
    return type(asyncio.get_running_loop())


def run_on(event_loop: EventLoop) -> type[asyncio.AbstractEventLoop]:
    return run(loop_under_way(), event_loop=event_loop)


def test_where_uvloop_is_installed() -> None:
    assert issubclass(run_on("auto"), uvloop.Loop)
    assert issubclass(run_on("uvloop"), uvloop.Loop)
    assert issubclass(run_on("asyncio"), PYTHONS)


def test_where_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert issubclass(run_on("auto"), PYTHONS)
    assert issubclass(run_on("asyncio"), PYTHONS)
    with pytest.raises(StartupError, match="pip install uvloop"):
        factory_of("uvloop")
