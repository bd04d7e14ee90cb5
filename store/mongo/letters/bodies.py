"""Bodies of dead letters: compressed in the letter or, when large, in pieces beside it."""

from __future__ import annotations

import asyncio
import zlib
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from store.mongo.driver.client import durable
from store.mongo.indexes import DEAD_LETTER_BODIES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from store.mongo.driver.client import Collection, Database
    from store.tenancy import Tenant


INLINE_BYTES_MAX: Final = 1_000_000
"""Largest compressed body that is kept in the letter: one write, as for almost all of them."""


PIECE_BYTES: Final = 8_000_000
"""Bytes of a piece of a larger one; MongoDB's document limit is 16 MB."""


THREAD_BYTES: Final = 64_000
"""Size above which bodies are compressed beside the event loop: a megabyte takes about 15 ms."""


COMPRESSION: Final = 1
"""The quickest level: JSON shrinks to a fifth."""


async def beside(work: Callable[..., Any], *given: Any, size: int) -> Any:  # noqa: ANN401 (any work)
    """Result of the work, which is done beside the event loop when it takes more than a moment."""
    return await asyncio.to_thread(work, *given) if size > THREAD_BYTES else work(*given)


def pack(body: bytes) -> bytes:
    """Compressed body."""
    return zlib.compress(body, COMPRESSION)


class Bodies:
    """The pieces of large bodies in one database. Raises the driver's errors."""

    def __init__(self, database: Database) -> None:
        self._pieces: Collection = durable(database, DEAD_LETTER_BODIES)

    async def place(
        self, letter_id: str, packed: bytes | None, tenant: Tenant, end: datetime
    ) -> dict[str, Any]:
        """Fields of the letter that say where its body is; pieces are written here."""
        if packed is None:
            return {"body": None, "pieces": 0, "set": None}
        if len(packed) <= INLINE_BYTES_MAX:
            return {"body": packed, "pieces": 0, "set": None}
        # A name of its own: two who fix one letter at once must not write into one another's pieces.
        own = str(uuid4())
        pieces = [packed[start : start + PIECE_BYTES] for start in range(0, len(packed), PIECE_BYTES)]
        for number, data in enumerate(pieces):
            await self._pieces.insert_one(
                {
                    "_id": f"{own}/{number}",
                    "letter": letter_id,
                    "set": own,
                    "tenant": str(tenant),
                    "expires_at": end,
                    "data": data,
                }
            )
        return {"body": None, "pieces": len(pieces), "set": own}

    async def packed(self, tenant: Tenant, letter: Mapping[str, Any]) -> bytes | None:
        """Compressed body of a letter; None: it has none, or was closed or changed between the two reads."""
        if not letter["pieces"]:
            body: bytes | None = letter["body"]
            return body
        names = [f"{letter['set']}/{number}" for number in range(letter["pieces"])]
        found = await self._pieces.find({"_id": {"$in": names}, "tenant": str(tenant)}).to_list(None)
        if len(found) != len(names):
            return None
        data = {piece["_id"]: piece["data"] for piece in found}
        return b"".join(data[name] for name in names)

    async def drop(self, letter_id: str, own: str | None = None) -> None:
        """Delete the pieces of a letter; with `own` those of this set alone."""
        wanted = {"letter": letter_id} if own is None else {"letter": letter_id, "set": own}
        await self._pieces.delete_many(wanted)
