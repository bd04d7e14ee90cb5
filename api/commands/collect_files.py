"""What `dod collect-files` does, without the command line around it: all tenants or one, told as it goes."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from api.commands.access import existing_tenant
from store.files import GRACE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from store.mongo.stores import Stores
    from store.tenancy import Tenant

BATCH: Final = 500
"""Files looked at in one step."""


async def collect_files(
    stores: Stores, *, tenant: Tenant | None, now: datetime, say: Callable[[str], None]
) -> None:
    """Delete the files that nothing refers to any more, of one tenant or of all. Safe to repeat."""
    if tenant is not None:
        tenants = [(await existing_tenant(stores.access, tenant)).tenant]
    else:
        tenants = [settings.tenant for settings in await stores.access.tenants()]
    for owner in tenants:
        examined, deleted, freed = await collect_tenant(stores, owner, now=now)
        say(f"{owner}: {examined:,} examined, {deleted:,} deleted, {freed:,} bytes freed")


async def collect_tenant(stores: Stores, tenant: Tenant, *, now: datetime) -> tuple[int, int, int]:
    """Files examined, files deleted, bytes freed."""
    examined = deleted = freed = 0
    after: object | None = None
    while True:
        step = await stores.attachments.collect(
            tenant, now=now, grace=timedelta(seconds=GRACE_SECONDS), after=after, limit=BATCH
        )
        examined, deleted, freed = examined + step.examined, deleted + step.deleted, freed + step.freed
        if step.next is None:
            return examined, deleted, freed
        after = step.next
