"""The sweep of a running service: while policies change, and while a clock is wrong."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest

from api.background.jobs import Jobs
from api.http.app_keys import SETTINGS, STORES
from store.errors import Category, ServiceError
from store.mongo.retention.sweeping import MongoSweeping
from store.retention.policy import Policy
from store.retention.sweep import Stage, SweepStep
from tests.support.fhir import report
from tests.support.service import opened_service
from tests.support.sweeping import at_once, retention_metrics

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from store.mongo.driver.client import Database
    from store.tenancy import Tenant
    from tests.support.service import Service

REPORTS: Final = 4
WEEK: Final = Policy(keep_days=7)


class Meddled:
    """The first stage; after its second look somebody does something."""

    def __init__(self, stage: Stage, meddle: Callable[[], Awaitable[object]]) -> None:
        self.name, self.count, self.delete = stage.name, stage.count, stage.delete
        self._stage, self._meddle, self._looks = stage, meddle, 0

    async def look(self, tenant: Tenant, as_of: datetime, after: Any, limit: int) -> SweepStep:
        step = await self._stage.look(tenant, as_of, after, limit)
        self._looks += len(step.going) > 0
        if self._looks == 2:
            self._looks += 1
            await self._meddle()
        return step


def meddled(service: Service, meddle: Callable[[], Awaitable[object]]) -> MongoSweeping:
    sweeping = service._app[STORES].sweeping
    assert isinstance(sweeping, MongoSweeping)
    first, *others = sweeping.sweep.stages
    stages = (Meddled(first, meddle), *others)
    sweeping.sweep = replace(sweeping.sweep, sleep=at_once, stages=stages)
    return sweeping


async def overdue(service: Service) -> None:
    await service.keeps(WEEK)
    await service.load(*(report(f"r{number}") for number in range(REPORTS)))
    service.clock.move(days=8)


async def statuses(service: Service) -> list[int]:
    return [(await service.get(f"DiagnosticReport/r{number}")).status for number in range(REPORTS)]


async def test_a_longer_policy_saves_what_the_sweep_has_not_deleted_yet(
    mongodb: str, database: Database, few_places: None
) -> None:
    async with opened_service(mongodb, mongodb_database=database.name, retention_batch=1) as service:
        await overdue(service)
        sweeping = meddled(service, lambda: service.keeps(Policy(keep_days=3_000)))
        pace = sweeping.pace(budget=False)
        receipts = await sweeping.run(tenant=service.tenant, pace=pace, metrics=retention_metrics())
        assert receipts is not None
        assert [one.deleted for one in receipts] == [1]
        assert sorted(await statuses(service)) == [200] * (REPORTS - 1) + [404]


async def test_nothing_is_deleted_while_a_clock_is_wrong(mongodb: str, database: Database) -> None:
    """A machine that wakes up in another year would forget what is to be kept for years."""
    apart = timedelta()
    async with opened_service(
        mongodb, mongodb_database=database.name, wall_clock=lambda: datetime.now(UTC) + apart
    ) as service:
        await overdue(service)
        app = service._app
        jobs = Jobs(app[STORES], app[SETTINGS], clock=service.clock, metrics=retention_metrics())
        apart = timedelta(days=1)
        for job in (jobs.sweep, jobs.collect_files):
            with pytest.raises(ServiceError) as refused:
                await job()
            assert refused.value.category is Category.UNAVAILABLE
        assert await app[STORES].sweeping.receipts(tenant=str(service.tenant)) == []
        apart = timedelta()


async def test_a_run_ends_when_a_clock_goes_wrong_and_goes_on_when_it_is_set(
    mongodb: str, database: Database, few_places: None
) -> None:
    async with opened_service(mongodb, mongodb_database=database.name, retention_batch=1) as service:
        await overdue(service)
        wrong = False

        def check() -> None:
            if wrong:
                raise ServiceError(Category.UNAVAILABLE)

        async def go_wrong() -> None:
            nonlocal wrong
            wrong = True

        sweeping = meddled(service, go_wrong)
        sweeping._check = check
        pace = sweeping.pace(budget=False)
        with pytest.raises(ServiceError):
            await sweeping.run(tenant=service.tenant, pace=pace, metrics=retention_metrics())
        wrong = False
        receipts = await sweeping.run(tenant=service.tenant, pace=pace, metrics=retention_metrics())
        assert receipts is not None
        assert [one.deleted for one in receipts] == [REPORTS]
