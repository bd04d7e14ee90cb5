"""Command `dod retention hold`, without the command line around it."""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple
from uuid import uuid4

import orjson

from api.app import utc_now
from api.commands.access.tenants import existing_tenant
from api.commands.search import origin_of
from api.commands.terminal import user
from ingest.http.app_keys import base_under
from store.audit.records import AuditRecord, Deed
from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.retention.holds import Hold, HoldKind
from store.retention.subjects import reason_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from api.settings.service import Settings
    from store.stores import Stores
    from store.tenancy import Tenant


_NOTHING: Final = Issue(
    "not-found",
    "nothing is stored that this names: is it misspelt? `--absent` holds what comes later all the same",
)


class HoldRequest(NamedTuple):
    """Order of the command line; exactly one of the four is set."""

    tenant: Tenant
    patient: str | None
    report: str | None
    query: str | None
    whole_tenant: bool
    reason: str
    days: int | None
    absent: bool = False
    """Whether to hold when nothing is stored that the hold names."""


async def place(stores: Stores, settings: Settings, request: HoldRequest) -> str:
    """Place a hold; its id. Raises ServiceError or StartupError when it is refused."""
    await existing_tenant(stores.access, request.tenant)
    kind, subject = _subject(request)
    now = utc_now()
    hold = Hold(
        id=str(uuid4()),
        tenant=request.tenant,
        kind=kind,
        subject=subject,
        reason=" ".join(request.reason.split()),
        placed_at=now,
        by=user(),
        expires_at=None if request.days is None else now + timedelta(days=request.days),
        base=base_under(origin_of(settings), str(request.tenant)),
    )
    if not request.absent and not await stores.privacy.holds.names_something(hold):
        raise ServiceError(Category.NOT_FOUND, _NOTHING)
    await stores.privacy.holds.add(hold)
    await stores.privacy.audit.note(
        AuditRecord(hold.tenant, now, hold.by, Deed.HOLD_PLACED, hold.reason, hold.id)
    )
    return hold.id


def _subject(request: HoldRequest) -> tuple[HoldKind, str]:
    asked = {
        HoldKind.PATIENT: request.patient,
        HoldKind.RESOURCE: request.report,
        HoldKind.QUERY: request.query,
        HoldKind.TENANT: "" if request.whole_tenant else None,
    }
    given = [(kind, subject) for kind, subject in asked.items() if subject is not None]
    if len(given) != 1:
        text = "name one of `--patient`, `--report`, `--query`, `--tenant`"
        raise ServiceError(Category.INCORRECT, Issue("required", text))
    return given[0]


async def listed(stores: Stores, *, tenant: Tenant | None, every: bool) -> list[Hold]:
    """The holds that hold, or all there ever were; the newest first."""
    now = utc_now()
    if tenant is not None:
        await existing_tenant(stores.access, tenant)
    return [hold for hold in await stores.privacy.holds.listed(tenant) if every or hold.is_active(now)]


async def release(stores: Stores, hold_id: str, *, reason: str) -> str:
    """End a hold; says so. Raises ServiceError when there is none, or it has ended."""
    now, why = utc_now(), reason_for(reason)
    ended = await stores.privacy.holds.release(hold_id, now=now, by=user(), reason=why)
    await stores.privacy.audit.note(AuditRecord(ended.tenant, now, user(), Deed.HOLD_RELEASED, why, hold_id))
    return f"{hold_id} released"


def rows(holds: Sequence[Hold]) -> list[tuple[str, ...]]:
    """The table of `dod retention hold list`, with its head."""
    now = utc_now()
    table: list[tuple[str, ...]] = [("ID", "TENANT", "KIND", "SUBJECT", "UNTIL", "BY", "REASON")]
    for hold in holds:
        until = "its release" if hold.expires_at is None else f"{hold.expires_at.astimezone(UTC):%Y-%m-%d}"
        if not hold.is_active(now):
            until += " (released)" if hold.released_at else " (ended)"
        table.append(
            (hold.id, str(hold.tenant), hold.kind.value, hold.subject or "–", until, hold.by, hold.reason)
        )
    return table


def as_lines(holds: Sequence[Hold]) -> list[str]:
    """Each hold as a line of JSON."""
    return [
        orjson.dumps(
            {
                "id": hold.id,
                "tenant": str(hold.tenant),
                "kind": hold.kind.value,
                "subject": hold.subject,
                "reason": hold.reason,
                "placedAt": hold.placed_at,
                "by": hold.by,
                "expiresAt": hold.expires_at,
                "releasedAt": hold.released_at,
            },
            option=orjson.OPT_UTC_Z,
        ).decode()
        for hold in holds
    ]
