"""The one factory of the MongoDB client: pool, deadlines and concerns are set here and nowhere else."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from store.errors import StartupError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from motor.motor_asyncio import (
        AsyncIOMotorClient,
        AsyncIOMotorClientSession,
        AsyncIOMotorCollection,
        AsyncIOMotorDatabase,
    )
    from pymongo.monitoring import ConnectionPoolListener

    from store.settings import StoreSettings

    Document: TypeAlias = Mapping[str, Any]  # BSON has no narrower type
    Client: TypeAlias = AsyncIOMotorClient[Document]
    Database: TypeAlias = AsyncIOMotorDatabase[Document]
    Collection: TypeAlias = AsyncIOMotorCollection[Document]
    Session: TypeAlias = AsyncIOMotorClientSession

CONNECT_SECONDS_MAX: Final = 3.0
"""Longest wait for a connection, and for a member's heartbeat: one that stands still is passed over then."""


MAJORITY: Final = ReadConcern("majority")
"""Reads see what is durable on a majority, and nothing that may roll back."""
DURABLE: Final = WriteConcern("majority", j=True)
"""Writes that are acknowledged survive the loss of a minority of nodes, and of power."""


def durable(database: Database, name: str) -> Collection:
    """The collection of this name, read and written on a journaled majority."""
    return database[name].with_options(read_concern=MAJORITY, write_concern=DURABLE)


def majority(database: Database, name: str) -> Collection:
    """The collection of this name for readers: what they see is durable."""
    return database[name].with_options(read_concern=MAJORITY)


def connect(uri: str, settings: StoreSettings, *, watch: ConnectionPoolListener | None = None) -> Client:
    """A client that has not connected yet; the first operation does. `watch` hears of its connections."""
    # Motor reads this once, at its import: threads are its ceiling of operations under way.
    os.environ.setdefault("MOTOR_MAX_WORKERS", str(settings.pool_size))
    from motor.motor_asyncio import AsyncIOMotorClient  # noqa: PLC0415 -- after the variable is set

    try:
        return AsyncIOMotorClient(
            uri,
            appname="data-on-demand",
            maxPoolSize=settings.pool_size,
            event_listeners=[] if watch is None else [watch],
            # For what runs without a deadline of its own; others wait as long as theirs leaves.
            serverSelectionTimeoutMS=int(settings.store_timeout_seconds * 1000),
            connectTimeoutMS=int(min(settings.store_timeout_seconds, CONNECT_SECONDS_MAX) * 1000),
            # Members tell of an election by themselves; a member that stands still has to be asked.
            heartbeatFrequencyMS=int(settings.heartbeat_seconds * 1000),
            retryWrites=True,
            retryReads=True,
            tz_aware=True,
            uuidRepresentation="standard",
        )
    except OSError as error:
        text = f"A file that DOD_MONGODB_URI names, such as a certificate, cannot be read: {error.strerror}."
        raise StartupError(text) from None
    except (PyMongoError, ValueError) as error:
        # In our own words: the driver's may quote a password.
        text = f"DOD_MONGODB_URI is no connection string that the driver can use ({type(error).__name__})."
        raise StartupError(text) from None
