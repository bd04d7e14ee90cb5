"""Place up to which MongoDB's log was read, as the document of `change_state` keeps it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from store.mongo.changes.blocks import LOG
from store.mongo.driver.client import durable
from store.mongo.indexes import CHANGE_STATE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from store.mongo.driver.client import Database


class Place(NamedTuple):
    """Place up to which the log was read."""

    token: Mapping[str, Any] | None
    start: Any
    """Operation time from which on to read, when there is no token."""
    at: datetime
    """Moment at which the feed was complete."""
    since: datetime | None = None
    """Moment from which on a scan looks, while it is not over."""

    @property
    def resume(self) -> dict[str, Any]:
        """Option of `$changeStream` that goes on from here."""
        if self.token is not None:
            return {"startAfter": self.token}
        return {"startAtOperationTime": self.start}


async def begin(database: Database, *, now: datetime) -> None:
    """Note where the feed begins, if it has not begun: with what is committed from now on."""
    state = durable(database, CHANGE_STATE)
    if await state.find_one({"_id": LOG}, {"_id": 1}) is None:
        start = await operation_time(database)
        first = {"token": None, "start": start, "at": now, "since": None}
        await state.update_one({"_id": LOG}, {"$setOnInsert": first}, upsert=True)


async def operation_time(database: Database) -> object:
    """Time of MongoDB's log, now."""
    reply: Mapping[str, object] = await database.command("ping")
    return reply["operationTime"]
