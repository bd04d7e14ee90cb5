"""Indexes of the database that services share, made once: half of a service's start is to ask for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from store.mongo.indexes import ensure_indexes
from tests.support.service import DATABASE

if TYPE_CHECKING:
    from store.mongo.driver.client import Database

_MADE: Final[set[str]] = set()
"""Sockets of embedded MongoDBs whose shared database has its indexes; nobody drops one of those."""


async def indexed_once(database: Database) -> None:
    """Make the indexes, unless they are those of a shared database that has been here before."""
    client: Any = database.client
    where, port = client.address
    if database.name != DATABASE or port is not None:
        await ensure_indexes(database)
    elif where not in _MADE:
        await ensure_indexes(database)
        _MADE.add(where)
