"""Brings what an older release indexed up to date: stored bytes → JSON → index, as a push would make it.

The bytes, the version and the moment stay as they are. It can be stopped and started again at any time: what
is done carries the present `INDEX_VERSION` and is passed over, or is not walked through once more by who
kept the place.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from ingest.pipeline.decode import decode
from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.search.index import index
from store.search.parameters import TYPES

if TYPE_CHECKING:
    from collections.abc import Callable

    from store.resources.pages import Outdated
    from store.resources.resource_keys import ResourceKey
    from store.resources.resources import ResourceStore
    from store.search.index import Indexed
    from store.tenancy import Tenant


@dataclass(frozen=True, slots=True)
class ReindexCounts:
    """Counts of a run, so far or at its end."""

    examined: int = 0
    outdated: int = 0
    done: int = 0
    """Brought up; in a dry run those that could be."""
    failed: int = 0
    """Cannot be indexed any more, so left as they were; each was reported."""
    after: str | None = None
    """Place behind what was examined, from which it goes on; None: at the beginning, or at the end."""
    is_done: bool = field(default=False, compare=False)

    @property
    def moved(self) -> int:
        """Changed by somebody else meanwhile, who indexed them."""
        return self.outdated - self.done - self.failed


_NOTHING: Final = ReindexCounts()


@dataclass(frozen=True, slots=True)
class Job:
    """Order of a run, and whom to tell."""

    store: ResourceStore
    base: str | None
    """The tenant's base URL; None: not known."""
    batch: int
    dry_run: bool
    failed: Callable[[Tenant, ResourceKey, str], None]
    """Callback for each resource that is left as it was, with the reason."""
    progress: Callable[[Tenant, ReindexCounts], None]
    """Callback after each batch."""
    is_over: Callable[[], bool] = lambda: False
    """Whether to stop after the batch under way."""


async def reindex(job: Job, tenant: Tenant, begun: ReindexCounts = _NOTHING) -> ReindexCounts:
    """Reindex a tenant from its first resource to its last, or from where it was `begun`."""
    tally = begun
    while not tally.is_done and not job.is_over():
        batch = await job.store.outdated(tenant, after=tally.after, limit=job.batch)
        ready: list[tuple[Outdated, Indexed]] = []
        failures: list[tuple[ResourceKey, str]] = []
        for outdated in batch.outdated:
            try:
                ready.append((outdated, indexed(outdated, tenant, base=job.base)))
            except ServiceError as error:
                failures.append((outdated.key, "; ".join(issue.text for issue in error.issues)))
        done = len(ready)
        if not job.dry_run:
            result = await job.store.reindex(tenant, ready)
            done = result.done
            failures += [(key, "it would be larger than can be stored") for key in result.too_large]
        for key, why in failures:
            job.failed(tenant, key, why)
        tally = replace(
            tally,
            examined=tally.examined + batch.examined,
            outdated=tally.outdated + len(batch.outdated),
            done=tally.done + done,
            failed=tally.failed + len(failures),
            after=batch.next,
            is_done=batch.next is None,
        )
        job.progress(tenant, tally)
    return tally


def indexed(outdated: Outdated, tenant: Tenant, *, base: str | None) -> Indexed:
    """The present index of a stored resource. Raises ServiceError with the reasons why there is none."""
    # At its push our own absolute references were known by the URL of the request, which is gone. Without
    # the base such a resource would vanish from its patient, so it stays as it was.
    if base is None and f"/fhir/R4/{tenant}/".encode() in outdated.raw:
        text = "it may refer to this service by an absolute URL, so its base URL must be named"
        raise ServiceError(Category.UNPROCESSABLE, Issue("required", text))
    if outdated.key.type not in TYPES:
        raise ServiceError(Category.UNPROCESSABLE, Issue("not-supported", "its type is not kept here"))
    found = index(decode(outdated.raw), outdated.key.type, base=base, resource_id=outdated.key.id)
    if found.issues:
        raise ServiceError(Category.UNPROCESSABLE, *found.issues)
    return found
