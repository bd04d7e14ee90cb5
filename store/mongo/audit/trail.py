"""`AuditTrail` on MongoDB: the collection `audit`, a document for each record.

audit   _id, tenant, at, by, did, reason, of, status, patients, resource, query, request, token, address,
        expires_at; unnamed, where a query may name a patient and the record does not; nowhere, where the
        tenant is not there: MongoDB itself deletes these. Fields that say nothing are left out
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Final

from bson import ObjectId
from bson.errors import InvalidId
from pymongo.errors import AutoReconnect, OperationFailure, WriteConcernError
from pymongo.read_concern import ReadConcern
from typing_extensions import override

from store.audit.records import STRANGER_DAYS, AuditPage, AuditPlace, AuditRecord, AuditTrail
from store.errors import ServiceError
from store.fhir.instants import MILLISECOND, from_datetime, to_datetime
from store.mongo.audit.group_writer import GroupWriter, Submission, in_thread
from store.mongo.driver.client import majority
from store.mongo.driver.guard import guarded
from store.mongo.driver.pinned_connection import Lane
from store.mongo.indexes import AUDIT, RESOURCES
from store.mongo.rules.carriers import never_here
from store.retention.bodies.mentions import names_asked
from store.retention.erased_names import KEY, NUMBER, PATIENT, Name
from store.retention.policy import NEVER
from store.tenancy import parse_tenant

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from store.audit.records import AuditQuery, Pending
    from store.metrics import StoreMetrics
    from store.mongo.driver.circuit_breaker import Pulse
    from store.mongo.driver.client import Collection, Database
    from store.mongo.rules.erased_names import ErasedNames
    from store.mongo.rules.policies import Policies
    from store.retention.policy import Policy
    from store.settings import StoreSettings
    from store.tenancy import Tenant

GROUP_MAX: Final = 256
"""Records of one write."""
_PAUSE_SECONDS: Final = 0.1
"""Pause between two attempts at a write."""
_THERE: Final = 11_000
"""Error code of a document that is there: an attempt before this one wrote it."""
_CONCERN: Final = {"w": "majority", "j": True}
_INSERT: Final = {"insert": AUDIT, "ordered": False, "writeConcern": _CONCERN}
_UPDATE: Final = {"update": AUDIT, "writeConcern": _CONCERN}
"""Plain commands on a connection taken for them: a third cheaper than the driver's own calls."""
_OPTIONAL: Final = ("reason", "of", "status", "patients", "resource", "query", "token", "address")
"""Fields that are left out when they say nothing."""


@dataclass(frozen=True, slots=True)
class _Write:
    """A record to insert, or to put in place of one."""

    document: dict[str, Any]
    tenant: Tenant
    replaces: bool = False


class MongoAuditTrail(AuditTrail):
    """The port's verbs on one database."""

    def __init__(  # noqa: PLR0913 -- all but the first keyword-only
        self,
        database: Database,
        *,
        settings: StoreSettings,
        metrics: StoreMetrics,
        policies: Policies,
        erasures: ErasedNames,
        pulse: Pulse | None = None,
    ) -> None:
        self._policies = policies
        self._erasures = erasures
        self._pulse = pulse
        self._settings = settings
        self._metrics = metrics
        self._seconds = settings.store_timeout_seconds
        self._audit: Collection = database[AUDIT].with_options(read_concern=ReadConcern("majority"))
        self._resources: Collection = majority(database, RESOURCES)
        self._database = database.delegate
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="audit")
        self._writer: GroupWriter[_Write] = GroupWriter(
            self._write, group_max=GROUP_MAX, waiting_max=settings.audit_queue_max, metrics=metrics.audit
        )

    # --- keeping

    @override
    def begin(self, record: AuditRecord) -> Submission[_Write]:
        if self._pulse is not None:
            self._pulse.check_read()
        return self._writer.submit(_Write(to_document(record), record.tenant))

    @override
    def correct(self, pending: Pending, record: AuditRecord) -> Submission[_Write]:
        assert isinstance(pending, Submission)  # noqa: S101 -- of `begin`
        document = {**to_document(record), "_id": pending.item.document["_id"]}
        return self._writer.submit(_Write(document, record.tenant, replaces=True))

    @override
    async def note(self, *records: AuditRecord) -> None:
        for pending in [self.begin(record) for record in records]:
            await pending.kept()

    async def drain(self) -> None:
        """Wait for what is under way; nothing is begun afterwards."""
        await self._writer.drain()
        self._pool.shutdown(wait=False)

    async def _write(self, writes: Sequence[_Write]) -> None:
        """Write a group. Raises ServiceError."""
        try:
            await self._write_group(writes)
        except ServiceError as error:
            if self._pulse is not None:
                self._pulse.failed(error)
            raise

    async def _write_group(self, writes: Sequence[_Write]) -> None:
        if self._pulse is not None:  # Those that wait would only wait to hear so.
            self._pulse.check_read()
        tenants = {str(write.tenant) for write in writes}
        # Of a tenant that was made a moment ago a client may have been let in since this was remembered.
        let_in = {write.document["tenant"] for write in writes if write.document["by"]}
        with guarded(self._metrics, "audit", seconds=self._seconds):
            keeping = await self._policies.of(tenants)
            doubted = [one for one in let_in if not keeping[one].made]
            if doubted:
                keeping |= await self._policies.anew(doubted)
        lives = {tenant: self._lives(kept.policy) for tenant, kept in keeping.items()}
        for write in writes:
            document = write.document
            known, stranger = lives[document["tenant"]]
            of = keeping[document["tenant"]]
            if of.closed or not of.made:
                _strip(document)
            if not of.made:
                document["nowhere"] = True
            life = known if document["by"] and of.made else stranger
            document["expires_at"] = NEVER if life is None else document["at"] + life
        for tenant in {write.tenant for write in writes if keeping[str(write.tenant)].forgets}:
            await self._withhold(tenant, [write.document for write in writes if write.tenant == tenant])
        await in_thread(self._pool, lambda: self._write_now(writes))

    def _lives(self, policy: Policy) -> tuple[timedelta | None, timedelta]:
        """Days for which records of a tenant stay, and those of strangers; None: without end."""
        days = self._settings.audit_days if policy.audit_days is None else policy.audit_days
        # A stranger must not fill the disk for years.
        strangers = timedelta(days=STRANGER_DAYS if days is None else min(days, STRANGER_DAYS))
        return None if days is None else timedelta(days=days), strangers

    async def _withhold(self, tenant: Tenant, documents: Sequence[dict[str, Any]]) -> None:
        """Take out of records the names of patients who were erased: their digests stand there."""
        named = {document["_id"]: _names_in(document) for document in documents}
        asked = frozenset().union(*named.values())
        if not asked:
            return
        numbers = {Name(NUMBER, id_): f"Patient/{id_}" for one in asked if (id_ := _id_of(one))}
        with guarded(self._metrics, "audit_erased", seconds=self._seconds):
            known = await self._erasures.known(tenant, asked | numbers.keys())
            mistaken = {numbers[one]: one for one in known & numbers.keys()}
            taken = await never_here(self._resources, tenant, mistaken) if mistaken else set()
        digests = {name.text: await self._erasures.digest_of(tenant, name) for name in known}
        digests |= {one: digests[mistaken[one].text] for one in taken}
        known |= {Name(KEY, one) for one in taken}
        for document in documents:
            if named[document["_id"]].isdisjoint(known):
                continue
            patients = [digests.get(one, one) for one in document.get("patients", ())]
            told = patients or sorted(digests[one.text] for one in named[document["_id"]] & known)
            _strip(document)
            document["patients"] = told

    def _write_now(self, writes: Sequence[_Write]) -> None:
        """Write the plain commands, tried again for as long as the deadline leaves. In the thread."""
        until = monotonic() + self._seconds
        while True:
            with guarded(self._metrics, "audit_write", seconds=max(until - monotonic(), 0)):
                try:
                    self._command(writes)
                except AutoReconnect:
                    if monotonic() + _PAUSE_SECONDS >= until:
                        raise
                else:
                    return
            sleep(_PAUSE_SECONDS)

    def _command(self, writes: Sequence[_Write]) -> None:
        lane = Lane(self._database)
        try:
            new = [write.document for write in writes if not write.replaces]
            if new:
                _check(lane.command({**_INSERT, "documents": new}))
            again = [write.document for write in writes if write.replaces]
            if again:
                updates = [
                    {
                        "q": {"_id": one["_id"], "tenant": one["tenant"]},
                        "u": one,
                        "upsert": True,
                        "hint": "_id_",
                    }
                    for one in again
                ]
                _check(lane.command({**_UPDATE, "updates": updates}))
        finally:
            lane.give_back()

    # --- finding

    @override
    async def find(self, wanted: AuditQuery) -> AuditPage:
        asked, hint = _filter(wanted)
        with guarded(self._metrics, "audit_find", seconds=self._settings.search_timeout_seconds):
            if wanted.after is not None:
                asked = {"$and": [asked, _behind(wanted.after)]}
            cursor = self._audit.find(asked, sort=[("at", -1), ("_id", -1)], limit=wanted.most + 1)
            found = await cursor.hint(hint).to_list(None)
        records = tuple(map(of_document, found[: wanted.most]))
        return AuditPage(records, _place(records[-1]) if len(found) > wanted.most else None)

    @override
    async def get(self, tenant: Tenant, record_id: str) -> AuditRecord | None:
        with guarded(self._metrics, "audit_get", seconds=self._seconds):
            found = await self._audit.find_one({"_id": _object_id(record_id), "tenant": str(tenant)})
        return None if found is None else of_document(found)


def _strip(document: dict[str, Any]) -> None:
    """Take out of a record all that may tell of a patient."""
    if "resource" in document:
        document["resource"] = document["resource"].partition("/")[0]
    for name in ("patients", "query", "unnamed"):
        document.pop(name, None)


def _names_in(document: Mapping[str, Any]) -> set[Name]:
    """The names of patients that a record holds, in its query too."""
    names = {_name(one) for one in (*document.get("patients", ()), document.get("resource", ""))}
    return names | names_asked(document.get("query", b"").decode(errors="replace"))


def _id_of(name: Name) -> str:
    """The id of a Patient that a name is; clients ask for a number as if it were one. Empty: it is none."""
    return name.text.partition("/")[2] if name.text.startswith("Patient/") else ""


def _name(text: str) -> Name:
    return Name(KEY if text.startswith("Patient/") else PATIENT, text)


def _check(reply: Mapping[str, Any]) -> None:
    """Raise the driver's error when a write was not made, or not on a majority."""
    concern = reply.get("writeConcernError")
    if concern is not None:
        raise WriteConcernError("the audit was not written on a majority", concern.get("code"))
    errors = [one for one in reply.get("writeErrors", ()) if one["code"] != _THERE]
    if errors:
        raise OperationFailure("an audit record was refused", errors[0]["code"])


def _filter(wanted: AuditQuery) -> tuple[dict[str, Any], str]:
    """The conditions, and the index that serves them."""
    asked: dict[str, Any] = {"tenant": str(wanted.tenant)}
    hint = "moments"
    if wanted.by:
        asked["by"], hint = wanted.by, "by"
    if wanted.patients is not None:
        asked["patients"], hint = {"$in": sorted(wanted.patients)}, "patients"
    if wanted.dids is not None:
        others = [] if wanted.beside is None else [{"did": {"$nin": sorted(wanted.beside)}}]
        asked["$or"] = [{"did": {"$in": sorted(wanted.dids)}}, *others]
    bounds = {"$gte": wanted.since, "$lt": wanted.until}
    if moments := {name: moment for name, moment in bounds.items() if moment is not None}:
        asked["at"] = moments
    return asked, hint


def _asks_by_number(query: bytes) -> bool:
    """Whether a search may name a patient by a number without its system, which no record names."""
    asked = names_asked(query.decode(errors="replace")) if b"identifier" in query else ()
    return any(one.kind == NUMBER for one in asked)


def _place(record: AuditRecord) -> AuditPlace:
    return AuditPlace(from_datetime(record.at).start // MILLISECOND, record.id)


def _behind(place: AuditPlace) -> dict[str, Any]:
    """Filter for the records behind a place."""
    at, there = to_datetime(place.at * MILLISECOND), _object_id(place.id)
    return {"at": {"$lte": at}, "$or": [{"at": {"$lt": at}}, {"at": at, "_id": {"$lt": there}}]}


def _object_id(text: str) -> ObjectId | None:
    """The `_id` of a record's id; None, which nothing has, for what is none."""
    try:
        return ObjectId(text)
    except (InvalidId, TypeError):
        return None


def to_document(record: AuditRecord) -> dict[str, Any]:
    """A record as it is stored, but for its end."""
    told = {name: value for name in _OPTIONAL if (value := getattr(record, name))}
    document: dict[str, Any] = {
        "_id": ObjectId(),
        "tenant": str(record.tenant),
        "at": record.at,
        "by": record.by,
        "did": record.did,
        **told,
    }
    if record.patients:
        document["patients"] = list(record.patients)
    if record.query and (not record.patients or _asks_by_number(record.query)):
        document["unnamed"] = True
    if record.request_id:
        document["request"] = record.request_id
    return document


def of_document(document: Mapping[str, Any]) -> AuditRecord:
    """Record that a document holds."""
    told = {name: document[name] for name in _OPTIONAL if name in document}
    told["patients"] = tuple(told.get("patients", ()))
    tenant = parse_tenant(document["tenant"])
    return AuditRecord(
        tenant,
        document["at"],
        document["by"],
        document["did"],
        request_id=document.get("request", ""),
        id=str(document["_id"]),
        **told,
    )
