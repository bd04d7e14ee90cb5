"""Several writes as one: a MongoDB transaction, tried again when others interfere.

Everything is read in one snapshot, and what somebody else changed meanwhile is a write conflict: the work is
then done again from its beginning, on what is current by then.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from pymongo.errors import DuplicateKeyError, OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern

from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.mongo.driver.client import DURABLE
from store.mongo.driver.guard import guarded, translate
from store.retrying import pause_behind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from store.metrics import StoreMetrics
    from store.mongo.driver.client import Client, Session

T = TypeVar("T")
Work = TypeVar("Work")
Done = TypeVar("Done")

SECONDS_MAX: Final = 50.0
"""MongoDB ends a transaction after 60 s."""
COMMITS_MAX: Final = 100
"""Attempts at one commit whose outcome stays unknown: with their pauses some ten seconds, or the deadline."""
_BUSY: Final = Issue(
    "conflict", "others write the same, or the same request is under way, all the while; try again"
)


class Interfered(Exception):  # noqa: N818 -- no error: the reason to do the work again
    """Raised by work that finds what it decided upon overtaken."""


@dataclass(slots=True)
class OpenTransaction:
    """Attempt at a transaction: its session, one operation at a time, and the failure that ended it."""

    session: Session
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    failure: PyMongoError | None = None
    begun: bool = False
    """Whether an operation has fixed the moment that all of them see."""

    async def run(self, operation: Callable[[Session], Awaitable[T]]) -> T:
        """Run an operation of the transaction; after a failure there is none any more."""
        async with self.turn:
            if self.failure is not None:
                raise translate(self.failure) from self.failure
            self.begun = True
            try:
                return await operation(self.session)
            except PyMongoError as error:
                self.failure = error
                raise translate(error) from error


class CommitInTransaction(Generic[Work, Done]):
    """Stands where the group commit stands, and writes within the transaction."""

    def __init__(
        self,
        transaction: OpenTransaction,
        commit: Callable[[Session, Sequence[Work]], Awaitable[Sequence[Done | ServiceError]]],
    ) -> None:
        self._open = transaction
        self._commit = commit

    async def submit(self, works: Sequence[Work]) -> list[Done]:
        """Write these; when one of them is refused, none is written."""
        done = await self._open.run(lambda session: self._commit(session, works))
        for one in done:
            if isinstance(one, ServiceError):
                raise one
        return [one for one in done if not isinstance(one, ServiceError)]

    async def outcomes(self, works: Sequence[Work]) -> list[Done | BaseException]:
        """Each on its own, one after the other: what is refused is not written, and the others are."""
        answers: list[Done | BaseException] = []
        for work in works:
            try:
                answers += await self.submit([work])
            except ServiceError as error:
                answers.append(error)
        return answers

    async def drain(self) -> None:
        """Do nothing: all that is under way is within the transaction."""


async def run(
    client: Client,
    work: Callable[[OpenTransaction], Awaitable[T]],
    *,
    metrics: StoreMetrics,
    seconds: float,
    session: Session | None = None,
) -> T:
    """Run work in a transaction. Returns its result once all it wrote is durable; nothing is when it raises.

    `session` is one whose transactions others may have to end; otherwise each attempt has its own.
    """
    seconds = min(seconds, SECONDS_MAX)
    until, attempts = monotonic() + seconds, count()
    with guarded(metrics, "transaction", seconds=seconds):
        while True:
            try:
                return await _attempt(client, work, session, until=until)
            except Interfered:
                reason: PyMongoError | None = None
            except PyMongoError as error:
                if not _transient(error):
                    raise
                reason = error
            pause = pause_behind(next(attempts))
            if monotonic() + pause >= until:
                if reason is None or _conflict(reason):
                    raise ServiceError(Category.CONFLICT, _BUSY)
                raise reason
            await asyncio.sleep(pause)


async def _attempt(
    client: Client, work: Callable[[OpenTransaction], Awaitable[T]], given: Session | None, *, until: float
) -> T:
    if given is not None:
        return await _within(given, work, until=until)
    async with await client.start_session() as session:
        return await _within(session, work, until=until)


async def _within(session: Session, work: Callable[[OpenTransaction], Awaitable[T]], *, until: float) -> T:
    session.start_transaction(read_concern=ReadConcern("snapshot"), write_concern=DURABLE)
    transaction = OpenTransaction(session)
    failure: Exception | None = None
    try:
        done = await work(transaction)
    except Exception as error:  # noqa: BLE001 -- raised below, or its cause is
        failure = error
    # The driver's own failure goes first: what the work raised is its translation, or the work went on
    # without it, as a batch does. Raised outside of the handler, in which it would become its own context.
    failure = transaction.failure or failure
    if failure is not None:
        await _abort(session)
        raise failure
    await _commit(session, until=until)
    return done


async def _commit(session: Session, *, until: float) -> None:
    """Commit, and ask again while the answer is unknown, for a while: the server commits once."""
    attempts = count()
    while (failure := await _commit_failure(session)) is not None:
        attempt = next(attempts)
        pause = pause_behind(attempt)
        if attempt + 1 >= COMMITS_MAX or monotonic() + pause >= until:
            raise failure
        await asyncio.sleep(pause)


async def _commit_failure(session: Session) -> PyMongoError | None:
    """Failure after which nobody knows whether the commit was done; None: it was. Raises any other."""
    try:
        await session.commit_transaction()
    except PyMongoError as error:
        if error.timeout or not error.has_error_label("UnknownTransactionCommitResult"):
            raise
        return error
    return None


async def _abort(session: Session) -> None:
    try:
        await session.abort_transaction()
    except PyMongoError:
        return  # The server ends it by itself.


def _transient(error: PyMongoError) -> bool:
    return error.has_error_label("TransientTransactionError") or isinstance(error, DuplicateKeyError)


def _conflict(error: PyMongoError) -> bool:
    """Whether others wrote the same, in contrast to a database that is away."""
    return isinstance(error, OperationFailure)
