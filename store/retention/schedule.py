"""Work on a timer: a table of jobs, and APScheduler around it. Nothing else.

Every replica looks often and cheaply; whether it is time, and for whom, the lease in the database says. So a
restart forgets nothing, and what a crash broke off goes on within a minute.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple

from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from store.detached import ended

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

MISFIRE_SECONDS: Final = 60
"""A look that comes so late is left out: the next one is near."""


class Job(NamedTuple):
    """Job of the schedule, and its interval."""

    name: str
    seconds: float
    jitter_seconds: float
    """Replicas that were started together do not look at the same moment."""
    work: Callable[[], Awaitable[None]]


class Schedule:
    """The jobs of this process, from `start` to `stop`."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.stopping = False
        """Whether the process ends: long work asks between its steps."""
        self._jobs = jobs
        self._under_way: set[asyncio.Task[None]] = set()
        self._scheduler = AsyncIOScheduler(
            jobstores={"default": MemoryJobStore()},
            timezone="UTC",
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": MISFIRE_SECONDS},
        )

    def start(self) -> None:
        """Begin to look for sweeps that are due."""
        for job in self._jobs:
            self._scheduler.add_job(
                self._fire,
                "interval",
                args=(job,),
                id=job.name,
                name=job.name,
                seconds=job.seconds,
                jitter=job.jitter_seconds,
            )
        self._scheduler.start()

    async def _fire(self, job: Job) -> None:
        task = asyncio.ensure_future(job.work())
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        # The scheduler cancels what it runs when it stops, and logs that as a failure; a transaction must not
        # end so.
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if not self.stopping:
                raise

    async def stop(self, *, is_away: Callable[[], bool] = lambda: False) -> None:
        """Look no more, and wait for what is under way: long work ends with its step.

        Nothing is waited for while the database is away.
        """
        self.stopping = True
        self._scheduler.shutdown(wait=False)
        await ended(self._under_way, is_away=is_away)
