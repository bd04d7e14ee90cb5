"""Command `dod collect-files`, without the command line around it: all tenants or one, told as it goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.background.file_collection import collect_tenant
from api.commands.access.tenants import tenants_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from store.stores import Stores
    from store.tenancy import Tenant


async def collect_files(
    stores: Stores, *, tenant: Tenant | None, now: datetime, say: Callable[[str], None]
) -> None:
    """Delete the files that nothing refers to any more, of one tenant or of all. Safe to repeat."""
    for owner in await tenants_of(stores.access, tenant):
        examined, deleted, freed = await collect_tenant(stores, owner, now=now)
        say(f"{owner}: {examined:,} examined, {deleted:,} deleted, {freed:,} bytes freed")
