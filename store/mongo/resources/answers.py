"""The collection of answers given, `idempotency`: one document per request that must take effect once.

_id "org/env/client/name", tenant, fingerprint, status, headers [[name, value] …], body, shown [{place, type,
id, version}], expires_at. A claim that is not answered yet has no `status`; only its own transaction sees it.
What was announced has `creates` {type, id} and, from when it is known to be there, `done` true.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pymongo import ReplaceOne
from pymongo.errors import BulkWriteError
from typing_extensions import override

from store.errors import Category, ServiceError
from store.mongo.documents import DOCUMENT_BYTES_MAX
from store.mongo.driver.client import durable
from store.mongo.driver.gathering import Gathering
from store.mongo.driver.group_commit import GroupCommit
from store.mongo.driver.guard import guarded
from store.mongo.indexes import IDEMPOTENCY
from store.mongo.resources.write_decision import DUPLICATE_KEY
from store.resources.answers import Remembered, Shown
from store.resources.resource_keys import ResourceKey
from store.resources.resources import RequestAnswers
from store.retention.erased_names import KEY, Name, references

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from store.metrics import StoreMetrics
    from store.mongo.driver.client import Collection, Database, Document
    from store.mongo.driver.look_ups import LookUps
    from store.mongo.driver.transaction import OpenTransaction
    from store.mongo.rules.erased_names import ErasedNames
    from store.mongo.rules.policies import Policies
    from store.resources.answers import Slot
    from store.settings import StoreSettings
    from store.tenancy import Tenant


TOGETHER_MAX: Final = 16
"""Answers that are asked for together: one of them may have as many bytes as a document."""
OVERHEAD_BYTES: Final = 500
"""Bytes of a document beside the body of its answer, about."""


class _Kept(NamedTuple):
    """Answer on its way into the collection."""

    id: str
    document: Mapping[str, Any]
    anew: bool
    """Whether it takes the place of one that counts still."""


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
        look_ups: LookUps,
    ) -> None:
        self._erasures = erasures
        self._look_ups = look_ups
        self._outside: Collection = durable(database, IDEMPOTENCY)
        self._inside: Collection = database[IDEMPOTENCY]
        self._transaction: OpenTransaction | None = None
        self._seconds = settings.store_timeout_seconds
        self._clock = clock
        self._metrics = metrics
        self._policies = policies
        self._commits: GroupCommit[_Kept, None] = GroupCommit(
            self._keep,
            same=lambda one: one.id,
            size=lambda one: _size(one.document),
            settings=settings,
        )
        self._asked: Gathering[str, Document | None] = Gathering(self._standing_under, most=TOGETHER_MAX)

    async def drain(self) -> None:
        """Wait for answers that are being written."""
        await self._commits.drain()

    def within(self, transaction: OpenTransaction) -> Answers:
        """The same port in a transaction: an answer is kept with its write, or not at all."""
        within = copy.copy(self)
        within._transaction = transaction  # noqa: SLF001 -- of our own kind
        return within

    @override
    async def recall(self, tenant: Tenant, slot: Slot) -> Remembered | None:
        """The remembered answer; None: there is none, or its time is over, swept by MongoDB or not."""
        name = id_of(tenant, slot)
        if self._transaction is None:
            document = await self._asked.ask(name)
        else:
            wanted = self._standing([name])
            found = await self._transaction.run(
                lambda session: self._inside.find(wanted, session=session).to_list(None)
            )
            document = found[0] if found else None
        return None if document is None else remembered(document)

    def _standing(self, names: Sequence[str]) -> dict[str, Any]:
        """Filter for the answers that count, of these `_id`."""
        return {
            "_id": {"$in": list(names)},
            "status": {"$exists": True},
            "expires_at": {"$gt": self._clock()},
        }

    async def _standing_under(self, names: Sequence[str]) -> list[Document | None]:
        """The answers that count, each in the place of its `_id`."""
        command = {"find": IDEMPOTENCY, "filter": self._standing(names)}
        with guarded(self._metrics, "recall", seconds=self._seconds):
            found = await self._look_ups.find({**command, "readConcern": {"level": "majority"}})
        by_name = {one["_id"]: one for one in found}
        return [by_name.get(name) for name in names]

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
        if _size(document) <= DOCUMENT_BYTES_MAX:  # Else it would fail the whole group.
            await self._commits.submit([_Kept(place["_id"], document, anew)])

    async def _keep(self, answers: Sequence[_Kept]) -> list[None]:
        """Write answers together; one in whose place another stands is left out."""
        now = self._clock()
        writes = [
            ReplaceOne(
                {"_id": one.id, **({} if one.anew else {"expires_at": {"$lte": now}})},
                one.document,
                upsert=True,
            )
            for one in answers
        ]
        with guarded(self._metrics, "remember", seconds=self._seconds):
            try:
                await self._outside.bulk_write(writes, ordered=False)
            except BulkWriteError as error:
                errors = error.details["writeErrors"]
                if error.details.get("writeConcernErrors") or any(e["code"] != DUPLICATE_KEY for e in errors):
                    raise
        return [None] * len(answers)

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


def _size(document: Mapping[str, Any]) -> int:
    """Bytes of an answer's document, about."""
    return len(document["body"]) + OVERHEAD_BYTES * (1 + len(document["shown"]))


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
