"""Further processes: when one counts as standing still, and is to be ended."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from aiohttp import web

from api.health import livez
from api.processes import child as module
from api.processes.child import Child

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import pytest


async def waits_for_ever(_: web.Request) -> web.Response:
    """The state of a process whose database is away."""
    await asyncio.Event().wait()
    return web.Response()


@asynccontextmanager
async def answering(path: Path) -> AsyncIterator[None]:
    """An admin endpoint that is alive, and never says how it is."""
    app = web.Application()
    app.router.add_get("/livez", livez)
    app.router.add_get("/readyz", waits_for_ever)
    runner = web.AppRunner(app, shutdown_timeout=0.01)
    await runner.setup()
    await web.UnixSite(runner, str(path)).start()
    try:
        yield
    finally:
        await runner.cleanup()


@asynccontextmanager
async def sleeper(tmp_path: Path) -> AsyncIterator[Child]:
    """A process that does nothing, and has answered once."""
    process = await asyncio.create_subprocess_exec("cat", stdin=asyncio.subprocess.PIPE)
    path = tmp_path / "admin"
    child = Child(cast("Any", SimpleNamespace(admin=str(path))), process)
    try:
        async with answering(path):
            assert not await child.is_stuck()
        yield child
    finally:
        process.kill()
        await child.ended()
        await child.closed()


def later(child: Child, seconds: float) -> None:
    """Let so much time pass since it was heard of, or moved."""
    child.started -= seconds
    child.heard -= seconds
    child._moved -= seconds


async def test_one_that_answers_nothing_and_does_nothing_is_stuck_at_once(tmp_path: Path) -> None:
    async with sleeper(tmp_path) as child:
        assert not await child.is_stuck()
        later(child, module.STILL_SECONDS + 1)
        assert await child.is_stuck()


async def test_one_that_works_has_more_time(tmp_path: Path) -> None:
    """To parse what is large keeps a process from answering."""
    async with sleeper(tmp_path) as child:
        later(child, module.STILL_SECONDS + 1)
        child._used = -1  # Less than now.
        assert not await child.is_stuck()
        later(child, module.SILENT_SECONDS)
        child._used = -1
        assert await child.is_stuck()


async def test_one_that_begins_has_more_time(tmp_path: Path) -> None:
    async with sleeper(tmp_path) as child:
        later(child, module.STILL_SECONDS + 1)
        child.heard = child.started
        assert not await child.is_stuck()


async def test_one_whose_time_is_not_told_has_more_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_ticks_of", lambda _: None)
    async with sleeper(tmp_path) as child:
        later(child, module.STILL_SECONDS + 1)
        assert not await child.is_stuck()
        later(child, module.SILENT_SECONDS)
        assert await child.is_stuck()


async def test_one_that_waits_for_its_database_is_not_stuck(tmp_path: Path) -> None:
    """Whether it is ready it may take as long as it likes to say."""
    async with sleeper(tmp_path) as child, answering(tmp_path / "admin"):
        later(child, 2 * module.SILENT_SECONDS)
        assert not await child.is_stuck()
