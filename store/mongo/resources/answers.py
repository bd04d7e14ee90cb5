"""The collection of answers given, `idempotency`: one document per request that must take effect once.

_id "org/env/client/name", tenant, fingerprint, status, headers [[name, value] …], body, shown [{place, type,
id, version}], expires_at. A claim that is not answered yet has no `status`; only its own transaction sees it.
What was announced has `creates` {type, id} and, from when it is known to be there, `done` true.
"""

from __future__ import annotations

import copy
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pymongo.errors import DuplicateKeyError
from typing_extensions import override

from store.errors import Category, ServiceError
from store.mongo.driver.client import durable
from store.mongo.driver.guard import guarded
from store.mongo.indexes import IDEMPOTENCY
from store.resources.answers import Remembered, Shown
from store.resources.resource_keys import ResourceKey
from store.resources.resources import RequestAnswers
from store.retention.erased_names import KEY, Name, references

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from store.metrics import StoreMetrics
    from store.mongo.driver.client import Collection, Database, Document
    from store.mongo.driver.transaction import OpenTransaction
    from store.mongo.rules.erased_names import ErasedNames
    from store.mongo.rules.policies import Policies
    from store.resources.answers import Slot
    from store.settings import StoreSettings
    from store.tenancy import Tenant


class Answers(RequestAnswers):
    """The answers to requests that must take effect once."""

    def __init__(  # noqa: PLR0913 (all but the first keyword-only)
        self,
        database: Database,
        *,
        settings: StoreSettings,
        clock: Callable[[], datetime],
        metrics: StoreMetrics,
        policies: Policies,
        erasures: ErasedNames,
    ) -> None:
        self._erasures = erasures
        self._outside: Collection = durable(database, IDEMPOTENCY)
        self._inside: Collection = database[IDEMPOTENCY]
        self._transaction: OpenTransaction | None = None
        self._seconds = settings.store_timeout_seconds
        self._clock = clock
        self._metrics = metrics
        self._policies = policies

    def within(self, transaction: OpenTransaction) -> Answers:
        """These verbs in a transaction: an answer is kept with what it tells of, or not at all."""
        within = copy.copy(self)
        within._transaction = transaction  # noqa: SLF001 -- of our own kind
        return within

    @override
    async def recall(self, tenant: Tenant, slot: Slot) -> Remembered | None:
        """The remembered answer; None: there is none, or its time is over, swept by MongoDB or not."""
        now = self._clock()
        wanted = {"_id": id_of(tenant, slot), "status": {"$exists": True}, "expires_at": {"$gt": now}}
        document: Document | None
        if self._transaction is not None:
            document = await self._transaction.run(
                lambda session: self._inside.find_one(wanted, session=session)
            )
        else:
            with guarded(self._metrics, "recall", seconds=self._seconds):
                document = await self._outside.find_one(wanted)
        return None if document is None else remembered(document)

    async def claim(self, tenant: Tenant, slot: Slot, until: datetime) -> None:
        """Be the transaction that does it: whoever claims the same meanwhile gets a write conflict.

        What is there already has expired, else it would have been recalled.
        """
        if self._transaction is None:
            return
        claimed = {"tenant": str(tenant), "expires_at": await self._until(tenant, until)}
        place = {"_id": id_of(tenant, slot)}
        await self._transaction.run(
            lambda session: self._inside.replace_one(place, claimed, upsert=True, session=session)
        )

    @override
    async def remember(self, tenant: Tenant, slot: Slot, answered: Remembered, *, anew: bool = False) -> None:
        """Keep an answer. Outside of a transaction the first one stays, unless `anew` is asked for, and none
        that tells of somebody who was erased is kept.
        """
        until = await self._until(tenant, answered.until)
        document = document_of(tenant, replace(answered, until=until))
        place = {"_id": id_of(tenant, slot)}
        if self._transaction is not None:
            await self._transaction.run(
                lambda session: self._inside.replace_one(place, document, session=session)
            )
            return
        try:  # A batch may take longer than the erasure of somebody whom it began with.
            await self._erasures.admit_named(tenant, _told_by(answered))
        except ServiceError as error:
            if error.category is Category.GONE:
                return
            raise
        with guarded(self._metrics, "remember", seconds=self._seconds):
            expired = place if anew else {**place, "expires_at": {"$lte": self._clock()}}
            with suppress(DuplicateKeyError):
                await self._outside.replace_one(expired, document, upsert=True)

    async def _until(self, tenant: Tenant, until: datetime) -> datetime:
        """End of an answer: sooner than asked for where the tenant's policy says so."""
        return (await self._policies.remembered(tenant)).policy.answers_until(until, self._clock())


def _told_by(answered: Remembered) -> Iterator[Name]:
    """Names of the resources that an answer tells of."""
    yield from (Name(KEY, str(one.key)) for one in answered.shown)
    headers = b" ".join(b'"' + value.encode() + b'"' for value in answered.headers.values())
    yield from (Name(KEY, one) for said in (answered.body, headers) for one in references(said))


def id_of(tenant: Tenant, slot: Slot) -> str:
    """`_id` of the answer to a request."""
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
    """Answer that a document holds."""
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
