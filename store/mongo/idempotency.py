"""The collection of answers given, `idempotency`: one document per request that must take effect once.

_id "org/env/client/name", tenant, fingerprint, status, headers [[name, value] …], body, shown [{place, type,
id, version}], expires_at. A claim that is not answered yet has no `status`; only its own transaction sees it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymongo.errors import DuplicateKeyError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from store.idempotency import Remembered, Shown
from store.mongo.indexes import IDEMPOTENCY
from store.resources import ResourceKey

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from store.idempotency import Slot
    from store.mongo.client import Collection, Database, Session
    from store.tenancy import Tenant


class Memory:
    """The documents; errors of the driver are the caller's to guard."""

    def __init__(self, database: Database) -> None:
        self._outside: Collection = database[IDEMPOTENCY].with_options(
            read_concern=ReadConcern("majority"), write_concern=WriteConcern("majority", j=True)
        )
        self._inside: Collection = database[IDEMPOTENCY]

    async def recall(
        self, tenant: Tenant, slot: Slot, now: datetime, *, session: Session | None = None
    ) -> Remembered | None:
        """The answer that was given, unless it is to be forgotten: MongoDB sweeps once a minute."""
        wanted = {"_id": _id(tenant, slot), "status": {"$exists": True}, "expires_at": {"$gt": now}}
        if session is None:
            document = await self._outside.find_one(wanted)
        else:
            document = await self._inside.find_one(wanted, session=session)
        return None if document is None else _remembered(document)

    async def claim(self, tenant: Tenant, slot: Slot, until: datetime, *, session: Session) -> None:
        """Be the one who does it: whoever claims the same meanwhile gets a write conflict.

        What is there already has expired, else it would have been recalled.
        """
        claimed = {"tenant": str(tenant), "expires_at": until}
        await self._inside.replace_one({"_id": _id(tenant, slot)}, claimed, upsert=True, session=session)

    async def answer(self, tenant: Tenant, slot: Slot, answered: Remembered, *, session: Session) -> None:
        """Keep the answer with what it tells of: in the same transaction."""
        document = _document(tenant, answered)
        await self._inside.replace_one({"_id": _id(tenant, slot)}, document, session=session)

    async def remember(self, tenant: Tenant, slot: Slot, answered: Remembered, now: datetime) -> None:
        """Keep an answer after the fact; the first one stays."""
        expired = {"_id": _id(tenant, slot), "expires_at": {"$lte": now}}
        try:
            await self._outside.replace_one(expired, _document(tenant, answered), upsert=True)
        except DuplicateKeyError:
            return


def _id(tenant: Tenant, slot: Slot) -> str:
    return f"{tenant}/{slot.client}/{slot.name}"


def _document(tenant: Tenant, answered: Remembered) -> dict[str, Any]:
    return {
        "tenant": str(tenant),
        "fingerprint": answered.fingerprint,
        "status": answered.status,
        "headers": [[name, value] for name, value in answered.headers.items()],
        "body": answered.body,
        "shown": [
            {"place": one.place, "type": one.key.type, "id": one.key.id, "version": one.version}
            for one in answered.shown
        ],
        "expires_at": answered.until,
    }


def _remembered(document: Mapping[str, Any]) -> Remembered:
    return Remembered(
        fingerprint=document["fingerprint"],
        status=document["status"],
        headers=dict(document["headers"]),
        body=document["body"],
        shown=tuple(
            Shown(one["place"], ResourceKey(one["type"], one["id"]), one["version"])
            for one in document["shown"]
        ),
        until=document["expires_at"],
    )
