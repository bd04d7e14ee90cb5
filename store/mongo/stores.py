"""An open connection to MongoDB, with the ports on it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import pymongo

from store.mongo.access import MongoAccess
from store.mongo.audit.trail import MongoAuditTrail
from store.mongo.changes.following import MongoChangeFollower
from store.mongo.changes.place import begin
from store.mongo.changes.reading import MongoChanges
from store.mongo.clients import MongoClients
from store.mongo.database import database_of
from store.mongo.driver.circuit_breaker import WATCH_SECONDS, Pulse, refusal
from store.mongo.driver.client import connect
from store.mongo.driver.guard import guarded
from store.mongo.driver.pool import PoolWatch
from store.mongo.erasure.batches import ErasureTools
from store.mongo.erasure.erase import MongoErasing
from store.mongo.erasure.known_as import MongoPatientNames
from store.mongo.erasure.known_by import KnownBy
from store.mongo.erasure.offboarding import MongoOffboarding
from store.mongo.erasure.reads import Reads
from store.mongo.files import MongoAttachments
from store.mongo.fitness import PING_SECONDS, Fitness, has_secondary
from store.mongo.indexes import await_indexes, ensure_indexes
from store.mongo.letters.dead_letters import MongoDeadLetters
from store.mongo.resources.resources import MongoResources
from store.mongo.retention.holds import MongoHolds
from store.mongo.retention.lease import Leases, MongoJobLeases
from store.mongo.retention.policy_rollout import Settling
from store.mongo.retention.runs import Runs
from store.mongo.retention.sweeping import MongoSweeping
from store.mongo.rights import MAKES
from store.mongo.rules.erased_names import ErasedNames
from store.mongo.rules.policies import Policies
from store.mongo.subscriptions.index_sides import MongoIndexSides
from store.mongo.subscriptions.outbox import MongoOutbox
from store.mongo.subscriptions.subscriptions import MongoSubscriptions
from store.mongo.verifying import MongoVerifying
from store.stores import Privacy, Stores, Subscribing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from store.audit.records import AuditTrail
    from store.metrics import StoreMetrics
    from store.mongo.driver.client import Database
    from store.mongo.rights import Role
    from store.settings import StoreSettings
    from store.tenancy import Tenant

CLOSE_SECONDS: Final = 0.5
ERASURE_LEASE_SECONDS: Final = 60.0
"""Time for which an erasure that died keeps others from going on with it."""
INDEX_SECONDS: Final = 3600.0
"""Time that an index may take to be built: a release that brings one must start on a large database too."""
QUIET_SECONDS: Final = WATCH_SECONDS + PING_SECONDS + 1.0
"""Time without an answered ping past which the database counts as away, whatever the watch says."""


@asynccontextmanager
async def opened(  # noqa: PLR0913 -- all but the first keyword-only
    settings: StoreSettings,
    *,
    uri: str,
    clock: Callable[[], datetime],
    metrics: StoreMetrics,
    wait_seconds: float | None = None,
    told: Callable[[Sequence[str]], None] = lambda _: None,
    wall_clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    role: Role = "all",
) -> AsyncIterator[Stores]:
    """Connect, make the indexes, and wait at the end for what is being written.

    A role that may make none waits for the indexes that another role makes.

    Raises StartupError with all that is wrong when there is no database to rely on within `wait_seconds`, or
    the deadline of one operation. `told` hears from then on of each change of what is wrong.
    """
    client = connect(uri, settings, watch=PoolWatch(metrics, size=settings.pool_size))
    database = database_of(client, settings)
    fitness = Fitness(
        database, settings=settings, metrics=metrics, told=told, wall_clock=wall_clock, role=role
    )
    pulse = Pulse(fitness.ping, metrics=metrics)

    async def is_ready() -> None:
        """Answer from what the watch knows: a probe must not wait for a database that does not answer."""
        electing = pulse.lost_for < settings.election_seconds and has_secondary(client)
        if not electing if pulse.lost else pulse.quiet_for > QUIET_SECONDS:
            raise refusal()

    policies = Policies(database, settings=settings, metrics=metrics)
    resources = MongoResources(
        database, settings=settings, clock=clock, metrics=metrics, pulse=pulse, policies=policies
    )
    letters = MongoDeadLetters(database, settings=settings, clock=clock, metrics=metrics, policies=policies)
    erasures = ErasedNames(database, settings=settings, clock=clock, metrics=metrics, policies=policies)
    trail = MongoAuditTrail(
        database, settings=settings, metrics=metrics, policies=policies, erasures=erasures, pulse=pulse
    )
    changes = MongoChanges(database, settings=settings, clock=clock, metrics=metrics)
    try:
        patience = settings.store_timeout_seconds if wait_seconds is None else wait_seconds
        await fitness.wait(patience)
        with guarded(metrics, "ensure_indexes", seconds=INDEX_SECONDS):
            await _made_ready(database, role, now=clock(), seconds=patience)
        pulse.watch()
        access = MongoAccess(database, settings=settings, metrics=metrics)
        attachments = MongoAttachments(
            database, settings=settings, clock=clock, metrics=metrics, policies=policies
        )
        privacy = _privacy(database, policies, trail, settings=settings, clock=clock, metrics=metrics)

        async def tenants() -> list[Tenant]:
            return [one.tenant for one in await access.tenants()]

        settling = Settling(database, policies=policies, settings=settings, clock=clock, metrics=metrics)
        sweeping = MongoSweeping(
            database,
            settings=settings,
            clock=clock,
            metrics=metrics,
            holds=privacy.holds,
            tenants=access.every_tenant,  # The audit of those that have left ends, too.
            settle=settling.step,
            policy=policies.version,
            check=pulse.check_read,
        )
        yield Stores(
            resources=resources,
            access=access,
            attachments=attachments,
            ping=is_ready,
            dead_letters=letters,
            verifying=MongoVerifying(database, settings=settings, metrics=metrics),
            policies=policies,
            check=pulse.check,
            check_read=pulse.check_read,
            fit=fitness.ping,
            privacy=privacy,
            sweeping=sweeping,
            leases=MongoJobLeases(sweeping.leases),
            clients=MongoClients(database, settings=settings, metrics=metrics),
            changes=changes,
            follower=MongoChangeFollower(
                database,
                settings=settings,
                clock=clock,
                metrics=metrics,
                tenants=tenants,
                hear=changes.told,
            ),
            subscribing=Subscribing(
                MongoSubscriptions(database, settings=settings, metrics=metrics, erasures=erasures),
                MongoOutbox(database, settings=settings, clock=clock, metrics=metrics),
                MongoIndexSides(database, settings=settings, clock=clock, metrics=metrics),
            ),
        )
    finally:
        await resources.drain()
        await letters.drain()
        await trail.drain()
        await changes.stop()
        await pulse.stop()
        # Without a database to end the sessions with, closing would wait for it, and block the loop.
        with pymongo.timeout(CLOSE_SECONDS):
            client.close()


async def _made_ready(database: Database, role: Role, *, now: datetime, seconds: float) -> None:
    """Make the indexes and begin the change feed, or wait until another process has."""
    if role in MAKES:
        await ensure_indexes(database)
        await begin(database, now=now)
    else:
        await await_indexes(database, seconds)


def _privacy(  # noqa: PLR0913 -- all but three keyword-only
    database: Database,
    policies: Policies,
    audit: AuditTrail,
    *,
    settings: StoreSettings,
    clock: Callable[[], datetime],
    metrics: StoreMetrics,
) -> Privacy:
    """The ports of who answers for privacy, on one database."""
    holds = MongoHolds(database, settings=settings, metrics=metrics)
    leases = Leases(
        database,
        metrics=metrics,
        timeout_seconds=settings.store_timeout_seconds,
        lease_seconds=ERASURE_LEASE_SECONDS,
    )
    runs = Runs(
        database, leases, clock=clock, metrics=metrics, timeout_seconds=settings.store_timeout_seconds
    )
    tools = ErasureTools(
        database,
        ErasedNames(database, settings=settings, clock=clock, metrics=metrics, policies=policies),
        holds,
        policies,
        runs,
        clock,
        settings.policy_cache_seconds,
        settings.late_seconds,
    )
    erasing = MongoErasing(
        database, settings=settings, metrics=metrics, tools=tools, audit=audit, leases=leases
    )
    offboarding = MongoOffboarding(
        database,
        settings=settings,
        metrics=metrics,
        tools=tools,
        holds=holds,
        audit=audit,
        leases=leases,
    )
    known_by = KnownBy(Reads(database, settings=settings, metrics=metrics))
    return Privacy(holds, audit, MongoPatientNames(known_by, tools.erasures), erasing, offboarding)
