"""Secrets that all replicas share: made by whoever asks first, in the collection `secrets`."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from pymongo import ReturnDocument

if TYPE_CHECKING:
    from store.mongo.driver.client import Collection


async def shared_secret(collection: Collection, name: str) -> bytes:
    """32 random bytes under this name, made at the first call. Raises the driver's errors."""
    document = await collection.find_one_and_update(
        {"_id": name},
        {"$setOnInsert": {"value": secrets.token_bytes(32)}},
        upsert=True,
        return_document=ReturnDocument.AFTER,
    )
    return bytes(document["value"])
