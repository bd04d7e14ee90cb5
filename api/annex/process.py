"""The annex: `python -m api.annex.process`, started by the process beside it alone.

It answers what is handed over, on a socket of its own, and ends when its standard input does: signals that
ask the whole service to end leave it to the process that still needs it.
"""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack
from typing import Final, NoReturn

from aiohttp import web

from api.annex.order import AnnexOrder
from api.annex.taking import AnnexRunner, say_tenant, taken
from api.app import NO_DUTIES
from api.health import create_admin_app, families
from api.http.app_keys import READINESS
from api.processes.families import FAMILIES
from api.processes.program import come_last, dismissal
from api.served import served
from api.server.event_loop import run
from api.server.logs import configure_logging
from api.server.memory import settle_memory
from api.server.runner import AT_ONCE_SECONDS
from ingest.accepting import BACKLOG
from store.errors import StartupError

NICE: Final = 5
"""Steps by which it comes after the process beside it, where there are too few processors for both."""


async def work(order: AnnexOrder) -> None:
    """Answer until standard input ends."""
    settings = order.settings
    configure_logging(settings.log_level)
    async with dismissal() as is_over, AsyncExitStack() as stack:
        app = served(settings, order.uri, duties=NO_DUTIES, taken=taken)
        app.on_response_prepare.append(say_tenant)
        seconds = max(settings.shutdown_seconds, AT_ONCE_SECONDS)
        admin = create_admin_app(app, [web.get(FAMILIES, families)])
        for runner, path in (
            (web.AppRunner(admin, access_log=None), order.admin),
            (AnnexRunner(app, access_log=None, shutdown_timeout=seconds), order.work),
        ):
            stack.push_async_callback(runner.cleanup)
            await runner.setup()
            await web.UnixSite(runner, path, backlog=BACKLOG).start()
        settle_memory()
        come_last(nice=NICE)
        app[READINESS].started = True
        await is_over.wait()


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
