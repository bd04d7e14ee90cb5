"""The herald: `python -m api.herald.process`, started by the process beside it alone.

It follows the change feed and tells subscribers, by the leases that each process of role `jobs` asks for, and
ends when its standard input does.
"""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack
from typing import NoReturn

from aiohttp import web

from api.app import Duty
from api.health import create_admin_app, families
from api.herald.order import HeraldOrder
from api.http.app_keys import READINESS
from api.processes.families import FAMILIES
from api.processes.program import come_last, dismissal
from api.served import served
from api.server.event_loop import run
from api.server.logs import configure_logging
from api.server.memory import settle_memory
from store.errors import StartupError


async def work(order: HeraldOrder) -> None:
    """Tell until standard input ends."""
    configure_logging(order.settings.log_level)
    async with dismissal() as is_over, AsyncExitStack() as stack:
        app = served(order.settings, order.uri, duties=frozenset({Duty.TELL}))
        runner = web.AppRunner(app, access_log=None)  # It listens nowhere.
        admin = web.AppRunner(create_admin_app(app, [web.get(FAMILIES, families)]), access_log=None)
        for one in (admin, runner):
            stack.push_async_callback(one.cleanup)
            await one.setup()
        await web.UnixSite(admin, order.admin).start()
        settle_memory()
        come_last()
        app[READINESS].started = True
        await is_over.wait()


def main() -> NoReturn:
    """Take the order and work."""
    order = HeraldOrder.read(sys.stdin.buffer)
    try:
        run(work(order), event_loop=order.settings.event_loop)
    except StartupError as error:
        sys.exit(str(error))
    sys.exit(0)


if __name__ == "__main__":
    main()
