"""Worker of `dod load --workers`: pushes the bodies that its parent hands it, and tells what became of them.

`python -m api.commands.files.load_worker FD`, started by its parent alone. It ends when its parent does, once
what it was handed is done.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import TYPE_CHECKING, NoReturn

from api.commands.access.tenants import existing_tenant
from api.commands.files.load_frames import Failure, LoadOrder, Outcome, frame, next_frame
from api.commands.files.operator import operator_context
from api.database import stores_at
from api.feeds import known_sources
from api.settings.service import load_settings
from ingest.load.pushers import Here
from store.errors import ServiceError, StartupError
from store.tenancy import parse_tenant

if TYPE_CHECKING:
    from ingest.load.files import Place
    from ingest.load.pushers import Pusher


async def work(descriptor: int) -> None:
    """Push until the parent has no more."""
    reader, writer = await asyncio.open_unix_connection(sock=socket.socket(fileno=descriptor))
    said = await next_frame(reader)
    if said is None:
        return
    order: LoadOrder = said[0]
    settings = load_settings(**order.options)
    try:
        async with stores_at(order.uri, settings) as stores:
            whose = await existing_tenant(stores.access, parse_tenant(order.tenant))
            ctx = await operator_context(stores, settings, whose, origin=order.origin)
            here = Here(ctx, known_sources(settings).of_tenant(ctx.tenant))
            writer.write(frame("ready"))
            async with asyncio.TaskGroup() as under_way:
                while (said := await next_frame(reader)) is not None:
                    under_way.create_task(_push(here, writer, *said))
    except (ServiceError, StartupError) as error:
        writer.write(frame("ended", str(error)))
    writer.close()


async def _push(here: Pusher, writer: asyncio.StreamWriter, number: int, place: Place, body: bytes) -> None:
    try:
        done = await here.push(place, body)
        answer = frame(number, Outcome(done.counts, done.refusals))
    except ServiceError as error:
        answer = frame(number, Failure(error.category, error.issues))
    except Exception as error:  # noqa: BLE001 -- told without its text, which may quote a value
        answer = frame(number, Failure(None, (), type(error).__name__))
    if not writer.is_closing():
        writer.write(answer)


def main() -> NoReturn:
    """Take the order and work."""
    asyncio.run(work(int(sys.argv[1])))
    sys.exit(0)


if __name__ == "__main__":
    main()
