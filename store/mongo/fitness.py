"""Fitness of the database: whether it may be relied on, found out by asking and by trying.

Asked at the start, with every ping, and, as to rights, every minute. A database that is not fit is treated as
one that is away: nothing is written, nothing answered, and readiness says why.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING, Final

from pymongo.errors import ConfigurationError, OperationFailure, ServerSelectionTimeoutError

from store.errors import Category, ServiceError, StartupError
from store.fhir.issues import Issue
from store.mongo.database import database_of
from store.mongo.driver.client import connect
from store.mongo.driver.guard import guarded, translate
from store.mongo.indexes import COLLECTIONS, RESOURCES
from store.mongo.requirements import (
    AWAITING,
    FIND,
    MAKING,
    NO_PRIMARY,
    RIGHTS,
    UNRESOLVED,
    WRONG_CREDENTIALS,
    Right,
    faults_of,
    missing,
    on,
)
from store.mongo.rights import MAKES, needed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from store.metrics import StoreMetrics
    from store.mongo.driver.client import Client, Database
    from store.mongo.rights import Role
    from store.settings import StoreSettings

LOG: Final = logging.getLogger("store.fitness")
PING_SECONDS: Final = 2.0
"""Longest time for a sign of life; past it MongoDB counts as away."""
RIGHTS_SECONDS: Final = 60.0
"""Pause between two trials of the rights, while they are there."""
RIGHTS_AGAIN_SECONDS: Final = 5.0
"""Pause between two trials of the rights, while one is missing."""
PAUSE_SECONDS: Final = 0.5
"""Pause between two looks at a database that is waited for at the start."""
_UNAUTHORIZED: Final = 13
_AUTHENTICATION_FAILED: Final = 18
_REASON_MAX: Final = 160
_AWAY: Final = Issue("transient", "the database cannot be used as it is; the operator is told why")


class UnfitError(ServiceError):
    """The database answers, or does not, in a way that forbids to rely on it."""

    def __init__(self, *reasons: str, category: Category = Category.UNAVAILABLE) -> None:
        super().__init__(category, _AWAY)
        self.reasons = reasons
        """Sentences for the operator, each for a thing that is wrong."""


class Fitness:
    """Asks one database whether it is fit."""

    def __init__(  # noqa: PLR0913 -- all but the first keyword-only
        self,
        database: Database,
        *,
        settings: StoreSettings,
        metrics: StoreMetrics,
        told: Callable[[Sequence[str]], None] = lambda _: None,
        wall_clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        role: Role = "all",
    ) -> None:
        self._database = database
        self._role = role
        self._settings = settings
        self._metrics = metrics
        self._told = told
        self._wall_clock = wall_clock
        self._reasons: tuple[str, ...] = ()
        self._lacking: tuple[str, ...] = ()
        self._tried_at: float | None = None

    async def ping(self) -> None:
        """Return when the primary answers and all is well. Raises UnfitError."""
        faults, away = await self._faults()
        faults = faults or await self._rights_now_and_then()
        if faults != self._reasons:
            self._reasons = faults
            for reason in faults:
                LOG.warning("the database is not fit", extra={"reason": reason})
        self._told(faults)
        if faults:
            late = away is not None and away.category is Category.TIMEOUT
            raise UnfitError(*faults, category=Category.TIMEOUT if late else Category.UNAVAILABLE) from away

    async def wait(self, seconds: float) -> None:
        """Return when the database is fit. Raises StartupError with all that is wrong, after so long."""
        until = monotonic() + seconds
        while True:
            try:
                await self.ping()
            except UnfitError as error:
                if monotonic() + PAUSE_SECONDS >= until:
                    raise StartupError("\n".join(error.reasons)) from None
                self._tried_at = None  # Whoever waits for a right would like to be told at once.
            else:
                return
            await asyncio.sleep(PAUSE_SECONDS)

    async def faults(self) -> tuple[str, ...]:
        """Sentences on all faults of the database, for `dod doctor`; waits no longer than a ping."""
        self._tried_at = None
        try:
            await self.ping()
        except UnfitError as error:
            return error.reasons
        return ()

    async def _faults(self) -> tuple[tuple[str, ...], ServiceError | None]:
        """Faults that a `hello` shows; without one, that there is none, and why."""
        before = self._wall_clock()
        try:
            with guarded(self._metrics, "ping", seconds=PING_SECONDS):
                hello = await self._database.command("hello")
        except ServiceError as error:
            return (self._away(error.__cause__),), error
        skew, after = self._settings.clock_skew_seconds, self._wall_clock()
        return faults_of(hello, before=before, after=after, skew_seconds=skew), None

    def _away(self, cause: BaseException | None) -> str:
        if isinstance(cause, OperationFailure) and cause.code == _AUTHENTICATION_FAILED:
            return WRONG_CREDENTIALS
        if isinstance(cause, ConfigurationError):
            return UNRESOLVED
        if not isinstance(cause, ServerSelectionTimeoutError):
            return f"The database does not answer within {PING_SECONDS:g} s."
        return NO_PRIMARY if _has_readable(self._database.client) else _silent(self._database.client)

    # --- rights

    async def _rights_now_and_then(self) -> tuple[str, ...]:
        pause = RIGHTS_AGAIN_SECONDS if self._lacking else RIGHTS_SECONDS
        if self._tried_at is None or monotonic() >= self._tried_at + pause:
            try:
                self._lacking = await asyncio.to_thread(self._lacking_rights)
            except ServiceError:
                return self._lacking  # Too slow, or away: the next ping tells.
            self._tried_at = monotonic()
        return self._lacking

    # --- in a thread: some ninety commands, which cost the event loop more than the server

    def _lacking_rights(self) -> tuple[str, ...]:
        sentences: list[str] = []
        unreadable: list[str] = []
        with guarded(self._metrics, "rights", seconds=self._settings.store_timeout_seconds):
            if self._is_open():
                return ()
            for right in (*RIGHTS, *(MAKING if self._role in MAKES else AWAITING)):
                # Who may not read a collection may not follow it either, and is told so once.
                wanted = [name for name in needed(self._role, right.action) if name not in unreadable]
                lacking = [name for name in wanted if not self._has(right, name)]
                if right.action == "find":
                    unreadable = lacking
                if lacking:
                    sentences.append(self._missing(right, lacking))
        return tuple(sentences)

    def _is_open(self) -> bool:
        """Whether there is no access control: nobody has signed in, and reads nevertheless.

        `DECISIONS.md#rights-without-access-control`.
        """
        status = self._database.delegate.command("connectionStatus")
        return not status["authInfo"]["authenticatedUsers"] and self._has(FIND, RESOURCES)

    def _has(self, right: Right, collection: str) -> bool:
        try:
            self._database.delegate.command(on(right, collection))
        except OperationFailure as error:
            if error.code == _UNAUTHORIZED:
                return False
            if translate(error).category is not Category.FAULT:
                raise
        return True  # Refused, if at all, for what it asks for; that is looked at behind the right.

    def _missing(self, right: Right, collections: Sequence[str]) -> str:
        everywhere = len(collections) == len(COLLECTIONS)
        return missing(right.action, collections, database=self._database.name, everywhere=everywhere)


def _has_readable(client: Client) -> bool:
    """Whether a member is known that holds data and answers."""
    servers = client.delegate.topology_description.server_descriptions().values()
    return any(server.is_readable for server in servers)


def has_secondary(client: Client) -> bool:
    """Whether a member that could be elected, or that reads could go to, is known to answer."""
    servers = client.delegate.topology_description.server_descriptions().values()
    return any(server.server_type_name == "RSSecondary" for server in servers)


def _silent(client: Client) -> str:
    """Sentence on a database none of whose members answers."""
    reasons = []
    for (host, port), server in client.delegate.topology_description.server_descriptions().items():
        name = host if port is None else f"{host}:{port}"
        why = str(server.error or "no answer").partition(" (configured")[0].removeprefix(f"{name}: ")
        reasons.append(f"{name} ({why[:_REASON_MAX]})")
    return f"No MongoDB answers at {', '.join(sorted(reasons))}."


async def faults_at(
    uri: str, settings: StoreSettings, metrics: StoreMetrics, *, role: Role
) -> tuple[str, ...]:
    """Sentences on all faults of the database at a URI, for a process of this role; changes nothing."""
    try:
        client = connect(uri, settings)
    except StartupError as error:
        return (str(error),)
    try:
        database = database_of(client, settings)
        return await Fitness(database, settings=settings, metrics=metrics, role=role).faults()
    finally:
        client.close()
