"""Secrets that all replicas share: made by whoever asks first, in the collection `secrets`.

Inserted, never updated: a role that only reads resources must not be able to replace a secret.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Final

from pymongo.errors import DuplicateKeyError
from pymongo.read_concern import ReadConcern

if TYPE_CHECKING:
    from store.mongo.driver.client import Collection

PAUSE_SECONDS: Final = 0.05
"""Pause between two looks while the secret of another process is not on a majority yet."""


async def shared_secret(collection: Collection, name: str) -> bytes:
    """32 random bytes under this name, made at the first call. Raises the driver's errors."""
    certain = collection.with_options(read_concern=ReadConcern("majority"))
    while True:
        found = await certain.find_one({"_id": name})
        if found is not None:
            return bytes(found["value"])
        fresh = secrets.token_bytes(32)
        try:
            await collection.insert_one({"_id": name, "value": fresh})
        except DuplicateKeyError:
            await asyncio.sleep(PAUSE_SECONDS)
        else:
            return fresh
