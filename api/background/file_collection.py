"""The collection of files that nothing refers to any more: of one tenant, step by step."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from store.files import GRACE_SECONDS

if TYPE_CHECKING:
    from datetime import datetime

    from store.stores import Stores
    from store.tenancy import Tenant

BATCH: Final = 500
"""Files looked at in one step."""


async def collect_tenant(stores: Stores, tenant: Tenant, *, now: datetime) -> tuple[int, int, int]:
    """Files examined, files deleted, bytes freed."""
    examined = deleted = freed = 0
    after: object | None = None
    while True:
        stores.check_read()  # By a clock that is ahead, files of pushes under way would be old.
        step = await stores.attachments.collect(
            tenant, now=now, grace=timedelta(seconds=GRACE_SECONDS), after=after, limit=BATCH
        )
        examined, deleted, freed = examined + step.examined, deleted + step.deleted, freed + step.freed
        if step.next is None:
            return examined, deleted, freed
        after = step.next
