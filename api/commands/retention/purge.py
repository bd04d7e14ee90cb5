"""Command `dod purge`, without the command line around it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.commands.access.tenants import existing_tenant
from api.commands.terminal import user
from store.retention.erasure import Demand
from store.retention.subjects import read_subject

if TYPE_CHECKING:
    from collections.abc import Callable

    from store.retention.receipts import Counted, Receipt
    from store.stores import Stores
    from store.tenancy import Tenant


async def erase(  # noqa: PLR0913 (all keyword-only, one per option)
    stores: Stores,
    tenant: Tenant,
    patient: str,
    *,
    reason: str,
    every: bool,
    absent: bool,
    say: Callable[[str], None],
) -> bool:
    """Erase a patient, telling what went; False when something is held. Raises ServiceError."""
    await existing_tenant(stores.access, tenant)
    demand = Demand(tenant, read_subject(patient), reason, user(), every=every, absent=absent)
    erased = await stores.privacy.erasing.erase(demand)
    if erased.again:
        say("erased before; nothing has come since")
    for line in lines_of(erased.receipt):
        say(line)
    if erased.shared:
        say(f"{erased.shared:,} kept: about another patient too")
    return not erased.receipt.skipped


def lines_of(receipt: Receipt) -> list[str]:
    """Account of a run, for people."""
    deleted = [f"{_said(one)} deleted" for one in receipt.rows]
    kept = [f"{_said(one)} kept" for one in receipt.skipped]
    return [*deleted, *kept, f"receipt {receipt.number}: {receipt.deleted:,} deleted, hash {receipt.hash}"]


def _said(one: Counted) -> str:
    reason = one.row.reason
    return f"{one.count:,} {one.row.type} ({reason})" if one.row.type else f"{one.count:,} ({reason})"


async def lift(stores: Stores, tenant: Tenant, patient: str, *, reason: str) -> str:
    """Let an erased patient come again; says so. Raises ServiceError when nothing was erased."""
    await existing_tenant(stores.access, tenant)
    subject = read_subject(patient)
    lifted = await stores.privacy.erasing.lift(tenant, subject, reason=reason, by=user())
    return f"lifted: {lifted:,} erased names; what was erased may come again within a moment"


async def close_tenant(
    stores: Stores, tenant: Tenant, *, reason: str, wait_seconds: float, say: Callable[[str], None]
) -> None:
    """Close a tenant and empty it, telling what went. Raises ServiceError."""
    receipt = await stores.privacy.offboarding.close(
        tenant, reason=reason, by=user(), wait_seconds=wait_seconds
    )
    for line in lines_of(receipt):
        say(line)
