"""`HoldStore` on MongoDB: the collection `holds`, and which of some documents a tenant's holds name.

holds  _id (UUID), tenant, kind, subject, reason, placed_at, by, expires_at | null, released_at | null, base,
       ended {by, reason}, patients ["Patient/id" …] that carried the identifier when it was placed
leases "trims" is written by who places a hold, and by who deletes in between two sweeps, or erases
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from pymongo import ReturnDocument
from typing_extensions import override

from store.errors import Category, ServiceError
from store.fhir.instants import from_datetime
from store.fhir.issues import Issue
from store.mongo.driver.client import durable
from store.mongo.driver.guard import guarded
from store.mongo.driver.transaction import run
from store.mongo.indexes import HOLDS, LEASES, RESOURCES
from store.mongo.rules.carriers import carriers_of, kin_of
from store.mongo.search.chains import resolve
from store.mongo.search.snapshot import View
from store.near import unknown_type
from store.retention.holds import HOLDS_MAX, Hold, HoldKind, HoldStore, checked
from store.retention.runs import SWEEP_LEASE
from store.retention.subjects import read_subject
from store.search.index import key
from store.search.parameters import TYPES
from store.search.parsing.context import SearchContext, SearchLimits
from store.search.parsing.parse import parse
from store.search.planning.plan import document_id, plan
from store.tenancy import parse_tenant

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from store.metrics import StoreMetrics
    from store.mongo.driver.client import Collection, Database, Session
    from store.search.criteria import SearchQuery
    from store.settings import StoreSettings
    from store.tenancy import Tenant

_TRIMS: Final = {"_id": "trims"}
_ALWAYS: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""Moment of a search before which nothing has expired, so that what has expired by now is found as well."""
_MATCHES_MAX: Final = 100_000
"""Resources a step of a held query's chain may lead through; with more, all of its type counts as held."""


class MongoHolds(HoldStore):
    """The port's verbs on one database."""

    def __init__(self, database: Database, *, settings: StoreSettings, metrics: StoreMetrics) -> None:
        self._seconds = settings.store_timeout_seconds
        self._metrics = metrics
        self._plain = database.delegate
        self._holds: Collection = durable(database, HOLDS)
        self._resources: Collection = durable(database, RESOURCES)
        self._leases: Collection = durable(database, LEASES)
        self._client = database.client
        self._asked: Collection = database[HOLDS]
        self._guards: Collection = database[LEASES]

    # --- placing and ending

    @override
    async def add(self, hold: Hold) -> None:
        checked(hold)
        if hold.kind is HoldKind.QUERY:
            _query(hold)
        document: dict[str, Any] = {
            "_id": hold.id,
            "tenant": str(hold.tenant),
            "kind": hold.kind.value,
            "subject": hold.subject,
            "reason": hold.reason,
            "placed_at": hold.placed_at,
            "by": hold.by,
            "expires_at": hold.expires_at,
            "released_at": None,
            "base": hold.base,
        }
        with guarded(self._metrics, "add_hold", seconds=self._seconds):
            active = await self._holds.count_documents(_active(hold.tenant, hold.placed_at))
            if active >= HOLDS_MAX:
                text = f"the tenant has {HOLDS_MAX} holds: a query holds many resources at once"
                raise ServiceError(Category.INCORRECT, Issue("too-costly", text))
            if hold.kind is HoldKind.PATIENT:
                # A Patient that is deleted, or changes its identifier, stays held.
                document["patients"] = sorted(await self._carriers(hold))
            await self._holds.insert_one(document)
            # A sweep's batch that was looked at before has ended by now, or is looked at again.
            await self._leases.update_one({"_id": SWEEP_LEASE}, {"$inc": {"holds": 1}})
            await self._leases.update_one(_TRIMS, {"$inc": {"holds": 1}}, upsert=True)

    @override
    async def names_something(self, hold: Hold) -> bool:
        checked(hold)
        if hold.kind not in (HoldKind.PATIENT, HoldKind.RESOURCE):
            return True
        with guarded(self._metrics, "hold_subject", seconds=self._seconds):
            named = [hold.subject] if hold.kind is HoldKind.RESOURCE else sorted(await self._carriers(hold))
            ids = [f"{hold.tenant}/{name}" for name in named]
            if await self._resources.find_one({"_id": {"$in": ids}}, {"_id": 1}) is not None:
                return True
            if hold.kind is HoldKind.RESOURCE:
                return False
            wanted = {"tenant": str(hold.tenant), "type": {"$in": sorted(TYPES)}}
            entries = {"keys": {"$in": sorted(_entries(hold, named))}}
            return await self._resources.find_one({**wanted, **entries}, {"_id": 1}, hint="keyed") is not None

    @override
    async def listed(self, tenant: Tenant | None) -> tuple[Hold, ...]:
        wanted = {} if tenant is None else {"tenant": str(tenant)}
        with guarded(self._metrics, "holds", seconds=self._seconds):
            found = await self._holds.find(wanted, sort=[("placed_at", -1), ("_id", 1)]).to_list(None)
        return tuple(map(_hold, found))

    @override
    async def release(self, hold_id: str, *, now: datetime, by: str, reason: str) -> Hold:
        with guarded(self._metrics, "release_hold", seconds=self._seconds):
            ended: Mapping[str, Any] | None = await self._holds.find_one_and_update(
                {"_id": hold_id, "released_at": None},
                {"$set": {"released_at": now, "ended": {"by": by, "reason": reason}}},
                return_document=ReturnDocument.AFTER,
            )
            if ended is not None:
                return _hold(ended)
            if await self._holds.find_one({"_id": hold_id}, {"_id": 1}) is None:
                raise ServiceError(Category.NOT_FOUND, Issue("not-found", "there is no such hold"))
        raise ServiceError(Category.CONFLICT, Issue("conflict", "the hold was released already"))

    # --- asking

    @override
    async def placed(self, session: Session | None = None) -> int:
        if session is None:
            with guarded(self._metrics, "holds", seconds=self._seconds):
                found = await self._leases.find_one(_TRIMS, {"holds": 1})
        else:  # Written to, so that a hold that is placed meanwhile waits for the end.
            found = await self._guards.find_one_and_update(
                _TRIMS,
                {"$inc": {"trims": 1}},
                {"holds": 1},
                upsert=True,
                return_document=ReturnDocument.AFTER,
                session=session,
            )
        return 0 if found is None else int(found.get("holds", 0))

    @override
    async def whole_tenant(self, tenant: Tenant, now: datetime) -> bool:
        wanted = {**_active(tenant, now), "kind": HoldKind.TENANT.value}
        with guarded(self._metrics, "whole_tenant", seconds=self._seconds):
            return await self._holds.find_one(wanted, {"_id": 1}) is not None

    async def unless_held(
        self, tenant: Tenant, now: datetime, delete: Callable[[Session], Awaitable[None]]
    ) -> bool:
        """Delete something of a tenant, in one transaction, unless all of it is held. Whether it was done.

        A hold that is placed meanwhile waits for the end of this, or makes it look again.
        """
        wanted = {**_active(tenant, now), "kind": HoldKind.TENANT.value}

        async def within(session: Session) -> bool:
            await self._guards.update_one(_TRIMS, {"$inc": {"trims": 1}}, upsert=True, session=session)
            if await self._asked.find_one(wanted, {"_id": 1}, session=session) is not None:
                return False
            await delete(session)
            return True

        return await run(
            self._client,
            lambda transaction: transaction.run(within),
            metrics=self._metrics,
            seconds=self._seconds,
        )

    @override
    async def held(
        self, tenant: Tenant, documents: Sequence[Mapping[str, Any]], now: datetime
    ) -> frozenset[str]:
        if not documents:
            return frozenset()
        with guarded(self._metrics, "held", seconds=self._seconds):
            found = await self._holds.find(_active(tenant, now)).to_list(None)
            held: set[str] = set()
            for document in found:
                left = [one for one in documents if one["_id"] not in held]
                held |= await self._named(_hold(document), document.get("patients", ()), left)
        return frozenset(held)

    async def _named(
        self, hold: Hold, patients: Iterable[str], documents: Sequence[Mapping[str, Any]]
    ) -> set[str]:
        """`_id` of the documents that a hold names."""
        match hold.kind:
            case HoldKind.TENANT:
                return {one["_id"] for one in documents}
            case HoldKind.RESOURCE:
                return {one["_id"] for one in documents if _name(one) == hold.subject}
            case HoldKind.PATIENT:
                return await self._of_patient(hold, patients, documents)
            case HoldKind.QUERY:
                return await self._matching(hold, documents)

    async def _of_patient(
        self, hold: Hold, patients: Iterable[str], documents: Sequence[Mapping[str, Any]]
    ) -> set[str]:
        known = {*patients, *await self._carriers(hold)}
        entries = _entries(hold, known)
        return {
            one["_id"]
            for one in documents
            if _name(one) in known or not entries.isdisjoint(one.get("keys") or one.get("of") or ())
        }

    async def _carriers(self, hold: Hold) -> set[str]:
        """`Patient/id` of the Patients that the hold is about: all records of one person."""
        subject = read_subject(hold.subject)
        named = {subject.reference}
        if not subject.reference:
            named = await carriers_of(self._resources, hold.tenant, subject.identifier)
        return named | await kin_of(self._resources, hold.tenant, named)

    async def _matching(self, hold: Hold, documents: Sequence[Mapping[str, Any]]) -> set[str]:
        """`_id` of documents whose current version matches the query: past versions are held with it."""
        query = _query(hold)
        names = {
            one["_id"]: document_id(str(hold.tenant), query.type, one["id"])
            for one in documents
            if _type(one) == query.type
        }
        if not names:
            return set()
        try:
            matching = await asyncio.to_thread(self._filter, hold.tenant, query)
        except ServiceError as error:
            if error.category is not Category.INCORRECT:
                raise
            return set(names)  # Too costly to tell: what may be held is not deleted.
        del matching["expires_at"]
        wanted = {"$and": [{"_id": {"$in": sorted(set(names.values()))}}, matching]}
        found = await self._resources.find(wanted, {"_id": 1}, hint="_id_").to_list(None)
        current = {one["_id"] for one in found}
        return {name for name, of in names.items() if of in current}

    def _filter(self, tenant: Tenant, query: SearchQuery) -> dict[str, Any]:
        """The filter of a search that sees expired resources too; in a thread."""
        view = View(self._plain, None, latest=True)
        resolved = resolve(view, tenant, query.type, query.clauses, matches_max=_MATCHES_MAX, now=_ALWAYS)
        return dict(plan(str(tenant), query, resolved=resolved, now=_ALWAYS).matching)


def _entries(hold: Hold, patients: Iterable[str]) -> set[str]:
    """Entries of the `keyed` index of what is about the patient of a hold."""
    entries = {key("patient", one) for one in patients}
    subject = read_subject(hold.subject)
    return entries | ({key("patient.identifier", subject.identifier)} if subject.identifier else set())


def _query(hold: Hold) -> SearchQuery:
    """The query of a hold, understood. Raises ServiceError with every issue."""
    resource_type, _, text = hold.subject.partition("?")
    if resource_type not in TYPES:
        issue = replace(unknown_type(resource_type, TYPES), expression=("--query",))
        raise ServiceError(Category.INCORRECT, issue)
    pairs = [(name, value) for name, _, value in (part.partition("=") for part in text.split("&")) if name]
    context = SearchContext(SearchLimits(), hold.base, from_datetime(hold.placed_at).start, strict=True)
    query = parse(resource_type, pairs, context).query
    if not query.clauses:
        text = "the query says nothing of what it holds; to hold everything, hold the tenant"
        raise ServiceError(Category.INCORRECT, Issue("value", text, ("--query",)))
    return query


def _active(tenant: Tenant, now: datetime) -> dict[str, Any]:
    return {
        "tenant": str(tenant),
        "released_at": None,
        "$or": [{"expires_at": None}, {"expires_at": {"$gt": now}}],
    }


def _type(document: Mapping[str, Any]) -> str | None:
    return document.get("type") or document.get("was")


def _name(document: Mapping[str, Any]) -> str:
    return f"{_type(document)}/{document.get('id')}"


def _hold(document: Mapping[str, Any]) -> Hold:
    return Hold(
        id=document["_id"],
        tenant=parse_tenant(document["tenant"]),
        kind=HoldKind(document["kind"]),
        subject=document["subject"],
        reason=document["reason"],
        placed_at=document["placed_at"],
        by=document["by"],
        expires_at=document["expires_at"],
        released_at=document["released_at"],
        base=document["base"],
    )
