"""`ResourceStore` on MongoDB: versions, deletions and pages.

A write reads the current version, copies it to the history, then replaces it under the condition that it
still is that version: two writers never lose one another, and a crash between the two steps leaves at most
a copy of what is still current. All of a group commit is one job of a driver thread, in plain calls.
"""

from __future__ import annotations

import asyncio
import contextvars
import copy
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from pymongo.errors import BulkWriteError

from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.mongo.documents import (
    READ,
    from_document,
)
from store.mongo.driver.client import DURABLE, durable, majority
from store.mongo.driver.group_commit import GroupCommit
from store.mongo.driver.guard import guarded
from store.mongo.driver.transaction import Interfered, Open, OpenCommit, run
from store.mongo.indexes import HISTORY, RESOURCES
from store.mongo.resources.announcements import Announcements
from store.mongo.resources.answers import Memory
from store.mongo.resources.companions import Orphans
from store.mongo.resources.dependents import Ties, Touched
from store.mongo.resources.histories import Histories
from store.mongo.resources.identities import Identities
from store.mongo.resources.late_versions import Kept, Late, Superseded
from store.mongo.resources.reindexing import Reindexing
from store.mongo.resources.superseding import copy_in_server, copy_in_transaction
from store.mongo.resources.write_decision import (
    RACED,
    STANDING,
    Step,
    Turn,
    Write,
    changing_among,
    failure_of,
    held,
    operation_of,
    step_of,
    superseding_among,
    write_of,
)
from store.mongo.rules.erased_names import Erasures
from store.mongo.search.searches import Searches
from store.resource_keys import ResourceKey
from store.resources import Deletion, Gone, Page, PutResult, Stored
from store.retention.policy import NEVER
from store.retrying import pause_behind
from store.search.criteria import Moment
from store.search.plan import Explanation, document_id

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from datetime import datetime

    from pymongo.client_session import ClientSession

    from store.answers import Remembered, Slot
    from store.metrics import StoreMetrics
    from store.mongo.driver.circuit_breaker import Pulse
    from store.mongo.driver.client import Collection, Database, Session
    from store.mongo.rules.policies import Policies
    from store.resources import (
        HistoryPage,
        HistoryQuery,
        Known,
        Outdated,
        OutdatedBatch,
        Prepared,
        Reindexed,
        Released,
        SourceTime,
        Unit,
    )
    from store.search.criteria import SearchQuery
    from store.search.index import Indexed
    from store.settings import StoreSettings
    from store.tenancy import Tenant

ATTEMPTS_MAX: Final = 20
"""How often a write is tried when others change the same resource meanwhile."""
T = TypeVar("T")


class _Attempt(NamedTuple):
    """What writes meant, and which of them failed."""

    current: Mapping[str, Mapping[str, Any]]
    steps: Mapping[str, Step]
    failed: Mapping[str, ServiceError]


class MongoResources:
    """The port's verbs on one database."""

    def __init__(  # noqa: PLR0913 (all but the first keyword-only)
        self,
        database: Database,
        *,
        settings: StoreSettings,
        clock: Callable[[], datetime],
        metrics: StoreMetrics,
        policies: Policies,
        pulse: Pulse | None = None,
    ) -> None:
        self._settings = settings
        self._policies = policies
        self._ties = Ties(database)
        self._clock = clock
        self._metrics = metrics
        self._searches = Searches(database, settings=settings, clock=clock, metrics=metrics, pulse=pulse)
        # What is read is durable on a majority, and includes all that was acknowledged before.
        self._read: Collection = majority(database, RESOURCES)
        self._write: Collection = database[RESOURCES].with_options(write_concern=DURABLE)
        self._history: Collection = durable(database, HISTORY)
        self._reindexing = Reindexing(read=self._read, write=self._write, settings=settings, metrics=metrics)
        self._identities = Identities(database, settings=settings, clock=clock, metrics=metrics)
        self._superseded = Superseded(database)
        self._erasures = Erasures(
            database, settings=settings, clock=clock, metrics=metrics, policies=self._policies
        )
        self._orphans = Orphans(
            read=self._read, history=self._history, settings=settings, clock=clock, metrics=metrics
        )
        self._histories = Histories(
            database, settings=settings, clock=clock, metrics=metrics, policies=self._policies
        )
        self._client = database.client
        self._memory = Memory(database)
        self._announcements = Announcements(
            database,
            settings=settings,
            clock=clock,
            metrics=metrics,
            policies=policies,
            erasures=self._erasures,
            pulse=pulse,
        )
        self._plain: tuple[Collection, Collection] = (database[RESOURCES], database[HISTORY])
        # As many threads as may be under way at once, each from its look-up to its last write.
        self._committing = ThreadPoolExecutor(settings.commit_parallel, thread_name_prefix="commit")
        self._transacting = ThreadPoolExecutor(settings.pool_size, thread_name_prefix="transaction")
        self._open: Open | None = None
        """The transaction that all verbs of this store are in."""
        self._commits: (
            GroupCommit[Write, PutResult | Gone | None] | OpenCommit[Write, PutResult | Gone | None]
        ) = GroupCommit(
            self._commit,
            same=lambda write: write.id,
            size=lambda write: len(write.prepared.body.tail) if write.prepared else 0,
            settings=settings,
            metrics=metrics,
            pulse=pulse,
        )

    async def drain(self) -> None:
        """Wait for the group commits under way, and begin no more searches."""
        await self._announcements.drain()
        await self._commits.drain()
        await self._orphans.drain()
        self._committing.shutdown(wait=False)
        self._transacting.shutdown(wait=False)
        self._searches.close()

    # --- writing

    async def put_many(self, tenant: Tenant, resources: Sequence[Prepared]) -> list[PutResult]:
        """See the port."""
        self._check_sizes(resources)
        done = await self._commits.submit([write_of(tenant, one) for one in resources])
        return [result for result in done if isinstance(result, PutResult)]

    async def admit(self, tenant: Tenant, resources: Sequence[Prepared]) -> None:
        """See the port."""
        await self._erasures.admit(tenant, resources)

    async def put_each(self, tenant: Tenant, resources: Sequence[Prepared]) -> list[PutResult | ServiceError]:
        """See the port."""
        answers: dict[int, PutResult | ServiceError] = {}
        for number, one in enumerate(resources):
            if self._is_too_large(one):
                answers[number] = self._too_large()
        fitting = [number for number in range(len(resources)) if number not in answers]
        try:
            done = await self._commits.outcomes([write_of(tenant, resources[number]) for number in fitting])
        except ServiceError as error:  # None of them was begun.
            done = [ServiceError(error.category, *error.issues) for _ in fitting]
        for number, outcome in zip(fitting, done, strict=True):
            if isinstance(outcome, PutResult | ServiceError):
                answers[number] = outcome
            elif isinstance(outcome, BaseException):
                raise outcome
        return [answers[number] for number in range(len(resources))]

    async def delete(
        self,
        tenant: Tenant,
        key: ResourceKey,
        *,
        only_version: int | None = None,
        sourced: SourceTime = "",
    ) -> Gone | None:
        """See the port."""
        [done] = await self._commits.submit([write_of(tenant, Deletion(key, only_version, sourced))])
        return done if isinstance(done, Gone) else None

    async def retire(
        self, tenant: Tenant, versions: Mapping[ResourceKey, int], *, sourced: SourceTime
    ) -> frozenset[ResourceKey]:
        """See the port."""
        writes = [
            write_of(tenant, Deletion(key, version))._replace(retiring=sourced)
            for key, version in sorted(versions.items())
        ]
        done = await self._commits.submit(writes)
        return frozenset(one.key for one in done if isinstance(one, Gone))

    # --- several writes as one

    async def atomically(self, work: Callable[[Unit], Awaitable[T]]) -> T:
        """See the port."""

        async def attempt(open_: Open) -> T:
            return await work(self._within(open_))

        return await run(
            self._client, attempt, metrics=self._metrics, seconds=self._settings.store_timeout_seconds
        )

    def _within(self, open_: Open) -> MongoResources:
        """This store with its writes, `get`, and what a clean-up looks at, in a transaction."""
        within = copy.copy(self)
        within._open = open_  # noqa: SLF001 -- of our own kind
        within._orphans = self._orphans.within(open_)  # noqa: SLF001
        within._commits = OpenCommit(open_, self._commit_within)  # noqa: SLF001
        return within

    async def write_many(
        self, tenant: Tenant, writes: Sequence[Prepared | Deletion]
    ) -> list[PutResult | Gone | None]:
        """See the port."""
        self._check_sizes([one for one in writes if not isinstance(one, Deletion)])
        return await self._commits.submit([write_of(tenant, one) for one in writes])

    def _check_sizes(self, resources: Sequence[Prepared]) -> None:
        """Raise ServiceError `too-large` when a resource is longer than one may be."""
        if any(map(self._is_too_large, resources)):
            raise self._too_large()

    def _is_too_large(self, one: Prepared) -> bool:
        return len(one.body.head) + len(one.body.tail) > self._settings.resource_bytes_max

    def _too_large(self) -> ServiceError:
        text = f"a resource may have at most {self._settings.resource_bytes_max} bytes"
        return ServiceError(Category.TOO_LARGE, Issue("too-long", text))

    async def _commit_within(
        self, session: Session, writes: Sequence[Write]
    ) -> Sequence[PutResult | Gone | ServiceError | None]:
        refused = await self._erasures.refuse(writes)
        if refused:
            return [refused.get(write.id) for write in writes]
        turn = await self._turn(writes)
        job = partial(self._write_within, session.delegate, writes, turn)
        done, changes = await _in_thread(self._transacting, job)
        results = [done.steps[write.id].result for write in writes]
        if any(result is RACED for result in results):
            raise Interfered
        if changes:
            await self._end_past(writes, done.steps, done.current, turn, session=session)
        return results

    def _write_within(
        self, session: ClientSession, writes: Sequence[Write], turn: Turn
    ) -> tuple[_Attempt, bool]:
        """In a thread: what is to be done, and whether it was; when one of them is refused, nothing is."""
        resources, history = (one.delegate for one in self._plain)
        ids = [write.id for write in writes]
        cursor = resources.find({"_id": {"$in": ids}}, STANDING, batch_size=len(ids) + 1, session=session)
        current = {document["_id"]: document for document in cursor}
        read = {write.id: current.get(write.id) for write in writes}
        steps = {w.id: held(step_of(w, read[w.id], turn), read[w.id], turn.now) for w in writes}
        steps |= self._settle([w for w in writes if steps[w.id].late], current, turn, session=session)
        changing = changing_among(steps)
        refused = any(isinstance(step.result, ServiceError) for step in steps.values())
        if changing and not refused:
            superseded = superseding_among(changing)
            if superseded:
                copy_in_transaction(
                    resources, history, superseded, turn.now, turn.ends_of_past(), session=session
                )
            operations = [operation_of(name, step) for name, step in changing.items()]
            resources.bulk_write(operations, ordered=False, session=session)
        attempt, changes = _Attempt(current, steps, {}), bool(changing) and not refused
        if changes:
            self._tie(writes, attempt, turn, session=session)
        return attempt, changes

    def overtaken(self) -> Exception:
        """See the port."""
        return Interfered()

    async def recall(self, tenant: Tenant, slot: Slot) -> Remembered | None:
        """See the port."""
        now = self._clock()
        if self._open is not None:
            return await self._open.run(
                lambda session: self._memory.recall(tenant, slot, now, session=session)
            )
        with guarded(self._metrics, "recall", seconds=self._settings.store_timeout_seconds):
            return await self._memory.recall(tenant, slot, now)

    async def claim(self, tenant: Tenant, slot: Slot, until: datetime) -> None:
        """See the port."""
        if self._open is not None:
            end = await self._remembered_until(tenant, until)
            await self._open.run(lambda session: self._memory.claim(tenant, slot, end, session=session))

    async def remember(self, tenant: Tenant, slot: Slot, answered: Remembered, *, anew: bool = False) -> None:
        """See the port."""
        answered = replace(answered, until=await self._remembered_until(tenant, answered.until))
        if self._open is not None:
            await self._open.run(lambda session: self._memory.answer(tenant, slot, answered, session=session))
            return
        with guarded(self._metrics, "remember", seconds=self._settings.store_timeout_seconds):
            await self._memory.remember(tenant, slot, answered, self._clock(), anew=anew)

    async def announce(
        self, tenant: Tenant, slot: Slot, answered: Remembered, prepared: Prepared
    ) -> Remembered:
        """See the port."""
        self._check_sizes([prepared])
        return await self._announcements.announce(tenant, slot, answered, prepared)

    def fulfil(self, tenant: Tenant, slot: Slot) -> None:
        """See the port."""
        self._announcements.fulfil(tenant, slot)

    async def withdraw(self, tenant: Tenant, slot: Slot) -> None:
        """See the port."""
        await self._announcements.withdraw(tenant, slot)

    async def _remembered_until(self, tenant: Tenant, until: datetime) -> datetime:
        """Sooner than asked for where the tenant's policy says so."""
        return (await self._policies.remembered(tenant)).policy.answers_until(until, self._clock())

    async def _commit(self, writes: Sequence[Write]) -> Sequence[PutResult | Gone | ServiceError | None]:
        results: dict[str, PutResult | Gone | ServiceError | None] = {}
        with guarded(self._metrics, "commit", seconds=self._settings.store_timeout_seconds):
            results.update(await self._erasures.refuse(writes))
            pending = [write for write in writes if write.id not in results]
            for attempt in range(ATTEMPTS_MAX if pending else 0):
                turn = await self._turn(pending)
                job = partial(self._write_together, pending, turn, again=attempt > 0)
                current, steps, failed = await _in_thread(self._committing, job)
                written = [write for write in pending if write.id not in failed]
                await self._end_past(written, steps, current, turn)
                results |= {name: failed.get(name, step.result) for name, step in steps.items()}
                pending = [write for write in pending if results[write.id] is RACED]
                if not pending:
                    break
                if attempt:  # Somebody else is busy with it: in step with them, it would lose each time.
                    await asyncio.sleep(pause_behind(attempt))
        return [results[write.id] for write in writes]

    def _write_together(self, writes: Sequence[Write], turn: Turn, *, again: bool) -> _Attempt:
        """In a thread: one attempt, from its look-up to its last write."""
        current = self._current(writes, again=again)
        steps = {write.id: step_of(write, current.get(write.id), turn) for write in writes}
        steps |= self._settle([w for w in writes if steps[w.id].late], current, turn)
        attempt = _Attempt(current, steps, self._apply(steps, turn))
        self._tie([write for write in writes if write.id not in attempt.failed], attempt, turn)
        return attempt

    def _current(self, writes: Sequence[Write], *, again: bool) -> dict[str, Mapping[str, Any]]:
        """What is stored now of these, without the bytes."""
        ids = [w.id for w in writes if again or w.prepared is None or not w.prepared.fresh]
        if not ids:
            return {}
        # Majority, so that `unchanged` and `exists` are said of what is durable. A writer that came too
        # late meets a duplicate key, and waits in the server until what it met is durable as well.
        cursor = self._read.delegate.find({"_id": {"$in": ids}}, STANDING, batch_size=len(ids) + 1)
        return {document["_id"]: document for document in cursor}

    async def _turn(self, writes: Sequence[Write]) -> Turn:
        keeping = await self._policies.of(str(write.tenant) for write in writes)
        return Turn(self._clock(), keeping)

    def _tie(
        self,
        writes: Sequence[Write],
        attempt: _Attempt,
        turn: Turn,
        *,
        session: ClientSession | None = None,
    ) -> None:
        """Companions stay as long as what was written needs them, where data does not stay for ever."""
        touched: dict[str, Touched] = {}
        for write in writes:
            if turn.policy(write.tenant).version:
                of_tenant = touched.setdefault(str(write.tenant), Touched())
                of_tenant.write(write, attempt.current.get(write.id, {}), attempt.steps[write.id])
        for tenant, one in touched.items():
            self._ties.tie(tenant, one, session=session)

    async def _end_past(
        self,
        writes: Sequence[Write],
        steps: Mapping[str, Step],
        current: Mapping[str, Mapping[str, Any]],
        turn: Turn,
        *,
        session: Session | None = None,
    ) -> None:
        """What comes back after its end leaves its past versions behind."""
        for write in writes:
            before = current.get(write.id, {})
            expired = before.get("expires_at", NEVER) <= turn.now and not before.get("deleted")
            if expired and turn.policy(write.tenant).version and steps[write.id].document is not None:
                await self._superseded.end(write.tenant, write.key, before["expires_at"], session=session)

    def _settle(
        self,
        late: Sequence[Write],
        current: Mapping[str, Mapping[str, Any]],
        turn: Turn,
        *,
        session: ClientSession | None = None,
    ) -> dict[str, Step]:
        """The steps of what came late: into the history, or in place of what is as old."""
        if not late:
            return {}
        coming = {
            w.id: Late(w.tenant, w.prepared, current[w.id], turn.policy(w.tenant))
            for w in late
            if w.prepared is not None
        }
        kept = self._superseded.keep(coming, turn.now, session=session)
        steps = {}
        for write in late:
            match kept[write.id]:
                case Kept.NOT:
                    steps[write.id] = step_of(write, current[write.id], turn, arrival=True)
                case Kept.RACED:
                    steps[write.id] = Step(RACED)
                case PutResult() as result:
                    steps[write.id] = Step(result)
        return steps

    def _apply(self, steps: Mapping[str, Step], turn: Turn) -> dict[str, ServiceError]:
        """Write what changes; the steps that failed, `RACED` for those to try again."""
        changing = changing_among(steps)
        superseded = superseding_among(changing)
        if superseded:
            copy_in_server(self._write.delegate, superseded, turn.now, turn.ends_of_past())
        if not changing:
            return {}
        operations = [operation_of(name, step) for name, step in changing.items()]
        try:
            result = self._write.delegate.bulk_write(operations, ordered=False)
            done: Mapping[str, Any] = result.bulk_api_result
        except BulkWriteError as error:
            if error.details.get("writeConcernErrors"):
                raise
            done = error.details
        names = list(changing)
        failed = {names[e["index"]]: failure_of(e) for e in done["writeErrors"]}
        if done["nInserted"] + done["nMatched"] + done["nUpserted"] + len(failed) < len(names):
            # Some touch found another version than it was meant for; which one, the server does not say.
            failed |= {name: RACED for name, step in changing.items() if step.touch}
        return failed

    # --- reading

    async def get(self, tenant: Tenant, key: ResourceKey) -> Stored | Gone | None:
        """See the port."""
        wanted = {"_id": document_id(str(tenant), *key), "expires_at": {"$gt": self._clock()}}
        if self._open is not None:  # As the transaction sees it, its own writes among it.
            resources = self._plain[0]
            within = await self._open.run(lambda session: resources.find_one(wanted, READ, session=session))
            return None if within is None else from_document(key, within)
        with guarded(self._metrics, "get", seconds=self._settings.store_timeout_seconds):
            document = await self._read.find_one(wanted, READ)
        return None if document is None else from_document(key, document)

    async def get_version(self, tenant: Tenant, key: ResourceKey, version: int) -> Stored | Gone | None:
        """See the port."""
        current = await self.get(tenant, key)
        if current is None or current.version == version:
            return current
        wanted = {
            "_id": f"{document_id(str(tenant), *key)}/{version}",
            "expires_at": {"$gt": self._clock()},
        }
        with guarded(self._metrics, "get_version", seconds=self._settings.store_timeout_seconds):
            document = await self._history.find_one(wanted, READ)
        return None if document is None else from_document(key, document)

    async def versions(self, tenant: Tenant, keys: Sequence[ResourceKey]) -> dict[ResourceKey, int]:
        """See the port."""
        named = {document_id(str(tenant), *key): key for key in keys}
        wanted = {"_id": {"$in": list(named)}, "deleted": None, "expires_at": {"$gt": self._clock()}}
        if self._open is not None:
            plain = self._plain[0]
            found = await self._open.run(
                lambda session: plain.find(wanted, {"version": 1}, session=session).to_list(None)
            )
        else:
            with guarded(self._metrics, "versions", seconds=self._settings.store_timeout_seconds):
                found = await self._read.find(wanted, {"version": 1}).to_list(None)
        return {named[one["_id"]]: one["version"] for one in found}

    async def candidates(
        self, tenant: Tenant, wanted: Mapping[str, AbstractSet[str]], *, limit: int
    ) -> list[Known]:
        """See the port."""
        if self._open is not None:
            return await self._open.run(
                lambda session: self._identities.candidates(tenant, wanted, limit=limit, session=session)
            )
        return await self._identities.candidates(tenant, wanted, limit=limit)

    async def relate(self, tenant: Tenant, group: AbstractSet[str]) -> None:
        """See the port."""
        if self._open is not None:
            await self._open.run(lambda session: self._identities.relate(tenant, group, session=session))
            return
        await self._identities.relate(tenant, group)

    async def preceding(
        self, tenant: Tenant, versions: Mapping[ResourceKey, int]
    ) -> dict[ResourceKey, Stored]:
        """See the port."""
        return await self._orphans.preceding(tenant, versions)

    async def unreferenced(self, tenant: Tenant, keys: Sequence[ResourceKey]) -> dict[ResourceKey, int]:
        """See the port."""
        return await self._orphans.unreferenced(tenant, keys)

    async def released(
        self, tenant: Tenant, keys: Sequence[ResourceKey], *, alone: bool = False
    ) -> list[Released]:
        """See the port."""
        return await self._orphans.released(tenant, keys, alone=alone)

    async def search(self, tenant: Tenant, query: SearchQuery, *, client: str = "") -> Page:
        """See the port."""
        if query.as_of is not None:
            with guarded(self._metrics, "policy", seconds=self._settings.search_timeout_seconds):
                keeping = (await self._policies.of([str(tenant)]))[str(tenant)]
            if keeping.erased_at is not None and query.as_of.seconds <= keeping.erased_at.timestamp() + 1:
                query = replace(query, as_of=_FORGOTTEN)
        return await self._searches.search(tenant, query, client=client)

    async def explain(self, tenant: Tenant, query: SearchQuery, *, client: str = "") -> Explanation:
        """See the port."""
        return await self._searches.explain(tenant, query, client=client)

    async def history(self, tenant: Tenant, query: HistoryQuery) -> HistoryPage:
        """See the port."""
        return await self._histories.page(tenant, query)

    # --- reindexing

    async def outdated(self, tenant: Tenant, *, after: str | None, limit: int) -> OutdatedBatch:
        """See the port."""
        return await self._reindexing.outdated(tenant, after=after, limit=limit)

    async def reindex(self, tenant: Tenant, indexed: Sequence[tuple[Outdated, Indexed]]) -> Reindexed:
        """See the port."""
        return await self._reindexing.reindex(tenant, indexed)


_FORGOTTEN: Final = Moment(1, 1)
"""A moment that no database remembers: the pages go on through what is there now."""


async def _in_thread(threads: ThreadPoolExecutor, job: Callable[[], T]) -> T:
    """What a job of plain driver calls gives back; the deadline of the driver is in the context."""
    work = partial(contextvars.copy_context().run, job)
    return await asyncio.get_running_loop().run_in_executor(threads, work)
