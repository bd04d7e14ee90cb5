"""Commands `dod retention plan|run|receipts|verify|compact`, without the command line around them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import orjson
from prometheus_client import CollectorRegistry

from api.commands.access.tenants import columns, existing_tenant, tenants_of
from store.errors import Category, ServiceError, StartupError
from store.fhir.issues import Issue
from store.retention.metrics import RetentionMetrics
from store.retention.receipts import as_json
from store.retention.runs import LeaseLost

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Mapping, Sequence

    from api.settings.service import Settings
    from store.retention.receipts import Counted, Receipt
    from store.retention.sweep import Found, SweepPlan
    from store.stores import Stores
    from store.tenancy import Tenant

    Say = Callable[[str], None]

WAIT_SECONDS: Final = 1.0
_HEAD: Final = ("TENANT", "POLICY", "TYPE", "REASON", "MONTH", "COUNT")


async def plan(stores: Stores, *, tenant: Tenant | None, json: bool, say: Say) -> None:
    """Say what a run would delete now."""
    only = None if tenant is None else await tenants_of(stores.access, tenant)
    made = await stores.sweeping.plan(only)
    if json:
        say(orjson.dumps(_plan_json(made), option=orjson.OPT_INDENT_2).decode())
        return
    deleted = _plan_rows(made.deleted)
    say(columns([_HEAD, *deleted]) if deleted else "nothing has expired")
    kept = sum(made.skipped.values())
    say(f"{sum(made.deleted.values()):,} to be deleted, {kept:,} expired but kept (held, or needed)")


def _plan_rows(found: Counter[Found]) -> list[tuple[str, ...]]:
    return [
        (row.tenant, str(row.policy), row.type or "-", row.reason, month, f"{count:,}")
        for (row, month), count in sorted(found.items())
    ]


def _plan_json(made: SweepPlan) -> dict[str, Any]:
    def lines(found: Counter[Found]) -> list[dict[str, Any]]:
        return [
            {**row._asdict(), "month": month, "count": count} for (row, month), count in sorted(found.items())
        ]

    return {
        "asOf": made.as_of.isoformat(timespec="milliseconds"),
        "deleted": lines(made.deleted),
        "skipped": lines(made.skipped),
    }


async def run(  # noqa: PLR0913 -- as the command has options
    stores: Stores, settings: Settings, *, tenant: Tenant | None, wait: bool, json: bool, say: Say
) -> None:
    """Sweep once, and show the receipts. Raises StartupError when somebody else is sweeping."""
    if tenant is not None:
        await existing_tenant(stores.access, tenant)
    metrics = RetentionMetrics(CollectorRegistry())
    while True:
        try:
            done = await stores.sweeping.run(
                tenant=tenant, pace=stores.sweeping.pace(budget=False), metrics=metrics
            )
        except LeaseLost:
            text = "another replica took over the sweep and goes on with it"
            raise ServiceError(Category.CONFLICT, Issue("conflict", text)) from None
        if done is not None:
            break
        if not wait:
            raise StartupError(await _who(stores, settings))
        await asyncio.sleep(WAIT_SECONDS)
    for receipt in done:
        _show(receipt, json=json, say=say)


async def _who(stores: Stores, settings: Settings) -> str:
    holding = await stores.sweeping.holding()
    if holding is None:
        return "Another sweep has just ended; try again."
    return (
        f"{holding.holder} is sweeping (its lease ends at {holding.until:%H:%M:%S} UTC unless it is renewed, "
        f"{settings.lease_seconds} s at a time). `--wait` waits for it."
    )


async def show_receipts(
    stores: Stores, *, tenant: Tenant | None, newest: int | None, json: bool, say: Say
) -> None:
    """Show the receipts, oldest first; of one tenant the lines about it."""
    name = "" if tenant is None else str(tenant)
    for receipt in await stores.sweeping.receipts(tenant=name, newest=newest):
        _show(receipt, json=json, say=say, only=name)


def _show(receipt: Receipt, *, json: bool, say: Say, only: str = "") -> None:
    if json:  # Whole, so that its hash can be checked.
        say(orjson.dumps(as_json(receipt)).decode())
        return
    end = "complete" if receipt.complete else "its time was up"
    about = " ".join(part for part in (receipt.kind.value, receipt.tenant, receipt.subject[:16]) if part)
    say(
        f"{receipt.number}: {about}, as of {receipt.as_of:%Y-%m-%d %H:%M:%S} UTC, {receipt.seconds:.1f} s,"
        f" {end}, {receipt.deleted:,} deleted, hash {receipt.hash[:16]}"
    )
    rows = [*_lines(receipt.rows, "deleted", only), *_lines(receipt.skipped, "kept", only)]
    if rows:
        say(columns([("", "TENANT", "POLICY", "TYPE", "REASON", "COUNT"), *rows]))


def _lines(counted: Sequence[Counted], word: str, only: str) -> list[tuple[str, ...]]:
    return [
        (word, one.row.tenant, str(one.row.policy), one.row.type or "-", one.row.reason, f"{one.count:,}")
        for one in counted
        if only in ("", one.row.tenant)
    ]


async def verify(stores: Stores, *, say: Say) -> bool:
    """Whether the chain of receipts holds, and where it ends."""
    link, wrong = await stores.sweeping.verify()
    if wrong is not None:
        say(f"NOT VERIFIED: {wrong}")
    say(f"{link.number} receipts hold; the newest hash of these is {link.hash}")
    return wrong is None


async def compact(stores: Stores, *, say: Say) -> None:
    """Compact each collection, and say what came back."""
    sizes: dict[str, tuple[int, int]] = {}
    async for one in stores.sweeping.compact():
        sizes[one.collection] = (one.before, one.after)
        say(_freed(one.collection, one.before, one.after))
    say(_freed("in all", *_sums(sizes)))


def _sums(sizes: Mapping[str, tuple[int, int]]) -> tuple[int, int]:
    return sum(before for before, _ in sizes.values()), sum(after for _, after in sizes.values())


def _freed(name: str, before: int, after: int) -> str:
    return f"{name}: {before / 1e6:,.1f} MB, now {after / 1e6:,.1f} MB"
