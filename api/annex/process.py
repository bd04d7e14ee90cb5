"""The annex: `python -m api.annex.process`, started by the process beside it alone.

It answers what is handed over, on a socket of its own, and ends when its standard input does: signals that
ask the whole service to end leave it to the process that still needs it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Final, NoReturn

from aiohttp import web

from api.annex.order import AnnexOrder
from api.annex.taking import AnnexRunner, say_tenant, taken
from api.health import create_admin_app, families
from api.http.app_keys import READINESS
from api.processes.families import FAMILIES
from api.served import served
from api.server.event_loop import run
from api.server.logs import configure_logging
from api.server.memory import settle_memory
from api.server.runner import AT_ONCE_SECONDS
from store.errors import StartupError

NICE: Final = 5
"""Steps by which it comes after the process beside it, where there are too few processors for both."""
OOM_SCORE: Final = 500
"""Score by which the system ends it first when memory runs out."""


async def work(order: AnnexOrder) -> None:
    """Answer until standard input ends."""
    settings = order.settings
    configure_logging(settings.log_level)
    is_over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, lambda: None)
    loop.add_reader(sys.stdin.fileno(), is_over.set)
    async with AsyncExitStack() as stack:
        app = served(settings, order.uri, is_timekeeper=False, taken=taken)
        app.on_response_prepare.append(say_tenant)
        seconds = max(settings.shutdown_seconds, AT_ONCE_SECONDS)
        admin = create_admin_app(app, [web.get(FAMILIES, families)])
        for runner, path in (
            (web.AppRunner(admin, access_log=None), order.admin),
            (AnnexRunner(app, access_log=None, shutdown_timeout=seconds), order.work),
        ):
            stack.push_async_callback(runner.cleanup)
            await runner.setup()
            await web.UnixSite(runner, path).start()
        settle_memory()
        _come_last()
        app[READINESS].started = True
        await is_over.wait()
        loop.remove_reader(sys.stdin.fileno())


def _come_last() -> None:
    """Leave processor and memory to others first."""
    with suppress(OSError):
        os.nice(NICE)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE), encoding="ascii")


def main() -> NoReturn:
    """Take the order and work."""
    order = AnnexOrder.read(sys.stdin.buffer)
    try:
        run(work(order), event_loop=order.settings.event_loop)
    except StartupError as error:
        sys.exit(str(error))
    sys.exit(0)


if __name__ == "__main__":
    main()
