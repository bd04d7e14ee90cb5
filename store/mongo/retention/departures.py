"""Notes of resources that are deleted for good: why, so that the change feed can say it.

departures  _id that of the resource, tenant, type, id, version, kind, at, expires_at

A deletion in MongoDB's log tells an `_id` and nothing else. The note is written in the transaction of the
deletion, so one is there if and only if the other is.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pymongo import ReplaceOne

from store.mongo.indexes import DEPARTURES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from store.changes.kinds import Kind
    from store.mongo.driver.client import Database, Session

DAYS: Final = timedelta(days=14)
"""Time for which a note is kept: a feed that stood still for longer cannot tell who has gone."""


class Departure(NamedTuple):
    """Resource that goes."""

    document: str
    """`_id` of its document."""
    type: str
    id: str
    version: int


async def note(  # noqa: PLR0913 -- one write
    database: Database,
    tenant: str,
    going: Iterable[Departure],
    kind: Kind,
    *,
    now: datetime,
    session: Session,
) -> None:
    """Note why these go, within the transaction that deletes them."""
    notes: list[ReplaceOne[Mapping[str, Any]]] = [
        ReplaceOne(
            {"_id": one.document},
            {
                "tenant": tenant,
                "type": one.type,
                "id": one.id,
                "version": one.version,
                "kind": kind.value,
                "at": now,
                "expires_at": now + DAYS,
            },
            upsert=True,
        )
        for one in going
    ]
    if notes:
        await database[DEPARTURES].bulk_write(notes, ordered=False, session=session)
