"""The collection of answers given, `idempotency`: one document per request that must take effect once.

_id "org/env/client/name", tenant, fingerprint, status, headers [[name, value] …], body, shown [{place, type,
id, version}], expires_at. A claim that is not answered yet has no `status`; only its own transaction sees it.
What was announced has `creates` {type, id} and, from when it is known to be there, `done` true.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymongo.errors import DuplicateKeyError

from store.answers import Remembered, Shown
from store.mongo.driver.client import durable
from store.mongo.indexes import IDEMPOTENCY
from store.resource_keys import ResourceKey

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from store.answers import Slot
    from store.mongo.driver.client import Collection, Database, Session
    from store.tenancy import Tenant


class Memory:
    """The documents; errors of the driver are the caller's to guard."""

    def __init__(self, database: Database) -> None:
        self._outside: Collection = durable(database, IDEMPOTENCY)
        self._inside: Collection = database[IDEMPOTENCY]

    async def recall(
        self, tenant: Tenant, slot: Slot, now: datetime, *, session: Session | None = None
    ) -> Remembered | None:
        """The answer that was given, unless it is to be forgotten: MongoDB sweeps once a minute."""
        wanted = {"_id": id_of(tenant, slot), "status": {"$exists": True}, "expires_at": {"$gt": now}}
        if session is None:
            document = await self._outside.find_one(wanted)
        else:
            document = await self._inside.find_one(wanted, session=session)
        return None if document is None else remembered(document)

    async def claim(self, tenant: Tenant, slot: Slot, until: datetime, *, session: Session) -> None:
        """Be the one who does it: whoever claims the same meanwhile gets a write conflict.

        What is there already has expired, else it would have been recalled.
        """
        claimed = {"tenant": str(tenant), "expires_at": until}
        await self._inside.replace_one({"_id": id_of(tenant, slot)}, claimed, upsert=True, session=session)

    async def answer(self, tenant: Tenant, slot: Slot, answered: Remembered, *, session: Session) -> None:
        """Keep the answer with what it tells of: in the same transaction."""
        document = document_of(tenant, answered)
        await self._inside.replace_one({"_id": id_of(tenant, slot)}, document, session=session)

    async def remember(
        self, tenant: Tenant, slot: Slot, answered: Remembered, now: datetime, *, anew: bool
    ) -> None:
        """Keep an answer after the fact; the first one stays, unless the request was done `anew`."""
        place = {"_id": id_of(tenant, slot)}
        expired = place if anew else {**place, "expires_at": {"$lte": now}}
        try:
            await self._outside.replace_one(expired, document_of(tenant, answered), upsert=True)
        except DuplicateKeyError:
            return


def id_of(tenant: Tenant, slot: Slot) -> str:
    """Where the answer to a request is."""
    return f"{tenant}/{slot.client}/{slot.name}"


def document_of(tenant: Tenant, answered: Remembered) -> dict[str, Any]:
    """An answer as it is stored, without its `_id`."""
    announced = {} if answered.creates is None else {"creates": _key(answered.creates), "done": answered.done}
    return {
        "tenant": str(tenant),
        "fingerprint": answered.fingerprint,
        "status": answered.status,
        "headers": [[name, value] for name, value in answered.headers.items()],
        "body": answered.body,
        "shown": [{"place": one.place, **_key(one.key), "version": one.version} for one in answered.shown],
        "expires_at": answered.until,
        **announced,
    }


def _key(key: ResourceKey) -> dict[str, str]:
    return {"type": key.type, "id": key.id}


def remembered(document: Mapping[str, Any]) -> Remembered:
    """The other way."""
    creates = document.get("creates")
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
        creates=None if creates is None else ResourceKey(creates["type"], creates["id"]),
        done=document.get("done", True),
    )
