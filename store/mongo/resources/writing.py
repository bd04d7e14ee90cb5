"""Writes to resources: in group commits, each durable by itself, or within one transaction."""

from __future__ import annotations

import asyncio
import contextvars
import copy
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.mongo.driver.group_commit import GroupCommit
from store.mongo.driver.guard import guarded
from store.mongo.driver.transaction import CommitInTransaction, Interfered, OpenTransaction
from store.mongo.resources.commit_attempt import CommitAttempt, WrittenCollections
from store.mongo.resources.write_decision import RACED, Write, WriteContext, write_of
from store.resources.versions import Deletion, Gone, PutResult
from store.retrying import pause_behind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from store.metrics import StoreMetrics
    from store.mongo.driver.circuit_breaker import Pulse
    from store.mongo.driver.client import Database, Session
    from store.mongo.rules.erased_names import ErasedNames
    from store.mongo.rules.policies import Policies
    from store.resources.versions import Prepared
    from store.settings import StoreSettings
    from store.tenancy import Tenant

ATTEMPTS_MAX: Final = 20
"""Attempts at one write while others change the same resource."""
T = TypeVar("T")


class Writing:
    """The queue of writes, the threads that commit them, and the bounds of a resource."""

    def __init__(  # noqa: PLR0913 (all but the first keyword-only)
        self,
        database: Database,
        *,
        settings: StoreSettings,
        clock: Callable[[], datetime],
        metrics: StoreMetrics,
        policies: Policies,
        erased_names: ErasedNames,
        pulse: Pulse | None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._metrics = metrics
        self._policies = policies
        self._erased_names = erased_names
        self._collections = WrittenCollections(database)
        # As many threads as may be under way at once, each from its look-up to its last write.
        self._committing = ThreadPoolExecutor(settings.commit_parallel, thread_name_prefix="commit")
        self._transacting = ThreadPoolExecutor(settings.pool_size, thread_name_prefix="transaction")
        self._commits: (
            GroupCommit[Write, PutResult | Gone | None] | CommitInTransaction[Write, PutResult | Gone | None]
        ) = GroupCommit(
            self._commit,
            same=lambda write: write.id,
            size=lambda write: len(write.prepared.body.tail) if write.prepared else 0,
            settings=settings,
            metrics=metrics,
            pulse=pulse,
        )

    def within(self, transaction: OpenTransaction) -> Writing:
        """The same port, with its writes in a transaction."""
        within = copy.copy(self)
        within._commits = CommitInTransaction(transaction, within._commit_within)  # noqa: SLF001 -- our own kind
        return within

    async def drain(self) -> None:
        """Wait for the group commits under way."""
        await self._commits.drain()
        self._committing.shutdown(wait=False)
        self._transacting.shutdown(wait=False)

    async def put_each(self, tenant: Tenant, resources: Sequence[Prepared]) -> list[PutResult | ServiceError]:
        """Result of each resource by itself: what `put_many` would raise for it stands in its place."""
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

    async def write_many(
        self, tenant: Tenant, writes: Sequence[Prepared | Deletion]
    ) -> list[PutResult | Gone | None]:
        """Result of each write, in order. Raises ServiceError when one of them is refused."""
        self.check_sizes([one for one in writes if not isinstance(one, Deletion)])
        return await self.submit([write_of(tenant, one) for one in writes])

    async def submit(self, writes: Sequence[Write]) -> list[PutResult | Gone | None]:
        """Result of each write, in order, whatever its size."""
        return await self._commits.submit(writes)

    def check_sizes(self, resources: Sequence[Prepared]) -> None:
        """Raise ServiceError `too-large` when a resource is longer than one may be."""
        if any(map(self._is_too_large, resources)):
            raise self._too_large()

    def _is_too_large(self, one: Prepared) -> bool:
        return len(one.body.head) + len(one.body.tail) > self._settings.resource_bytes_max

    def _too_large(self) -> ServiceError:
        text = f"a resource may have at most {self._settings.resource_bytes_max} bytes"
        return ServiceError(Category.TOO_LARGE, Issue("too-long", text))

    async def _commit(self, writes: Sequence[Write]) -> Sequence[PutResult | Gone | ServiceError | None]:
        """Answers to a group of writes; those that lost a race are tried again."""
        results: dict[str, PutResult | Gone | ServiceError | None] = {}
        with guarded(self._metrics, "commit", seconds=self._settings.store_timeout_seconds):
            pending = list(writes)
            for number in range(ATTEMPTS_MAX):
                # Each time: an erasure does not wait for one that loses race after race.
                results |= await self._erased_names.refuse(pending)
                pending = [write for write in pending if results.get(write.id, RACED) is RACED]
                if not pending:
                    break
                attempt = CommitAttempt(
                    self._collections, pending, await self._context(pending), again=number > 0
                )
                await _in_thread(self._committing, attempt.write_together)
                results |= attempt.results()
                pending = [write for write in pending if results[write.id] is RACED]
                if not pending:
                    break
                if number:  # Somebody else is busy with it: in step with them, it would lose each time.
                    await asyncio.sleep(pause_behind(number))
        return [results[write.id] for write in writes]

    async def _commit_within(
        self, session: Session, writes: Sequence[Write]
    ) -> Sequence[PutResult | Gone | ServiceError | None]:
        """Answers to writes of a transaction. Raises Interfered when others wrote the same."""
        refused = await self._erased_names.refuse(writes)
        if refused:
            return [refused.get(write.id) for write in writes]
        attempt = CommitAttempt(self._collections, writes, await self._context(writes), session=session)
        await _in_thread(self._transacting, attempt.write_in_transaction)
        results = attempt.results()
        if any(result is RACED for result in results.values()):
            raise Interfered
        return [results[write.id] for write in writes]

    async def _context(self, writes: Sequence[Write]) -> WriteContext:
        retention = await self._policies.of(str(write.tenant) for write in writes)
        return WriteContext(self._clock(), retention, quiet=not self._settings.subscription_notify)


async def _in_thread(threads: ThreadPoolExecutor, job: Callable[[], T]) -> T:
    """Result of a job of plain driver calls; the deadline of the driver is in the context."""
    work = partial(contextvars.copy_context().run, job)
    return await asyncio.get_running_loop().run_in_executor(threads, work)
