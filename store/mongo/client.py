"""The one factory of the MongoDB client: pool, deadlines and concerns are set here and nowhere else."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from motor.motor_asyncio import (
        AsyncIOMotorClient,
        AsyncIOMotorClientSession,
        AsyncIOMotorCollection,
        AsyncIOMotorDatabase,
    )

    from store.settings import StoreSettings

    Document: TypeAlias = Mapping[str, Any]  # BSON has no narrower type
    Client: TypeAlias = AsyncIOMotorClient[Document]
    Database: TypeAlias = AsyncIOMotorDatabase[Document]
    Collection: TypeAlias = AsyncIOMotorCollection[Document]
    Session: TypeAlias = AsyncIOMotorClientSession


def connect(uri: str, settings: StoreSettings) -> Client:
    """A client that has not connected yet; the first operation does."""
    # Motor reads this once, at its import: threads are its ceiling of operations under way.
    os.environ.setdefault("MOTOR_MAX_WORKERS", str(settings.pool_size))
    from motor.motor_asyncio import AsyncIOMotorClient  # noqa: PLC0415 -- after the variable is set

    return AsyncIOMotorClient(
        uri,
        appname="data-on-demand",
        maxPoolSize=settings.pool_size,
        # A dead server is noticed within the deadline of an operation, not the driver's 30 s.
        serverSelectionTimeoutMS=int(settings.store_timeout_seconds * 1000),
        connectTimeoutMS=int(settings.store_timeout_seconds * 1000),
        retryWrites=True,
        retryReads=True,
        tz_aware=True,
        uuidRepresentation="standard",
    )
