"""The work of `dod audit`: who looked at whom, as a table, as records or as AuditEvents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import orjson

from api.app import utc_now
from api.commands.access.tenants import existing_tenant
from api.commands.search import origin_of
from api.commands.terminal import user
from api.interactions.audit import bounded
from api.interactions.audit_event import Where, audit_event
from ingest.http.app_keys import base_under
from store.audit.records import AuditQuery, AuditRecord, Deed
from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.retention.subjects import read_subject

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from api.settings.service import Settings
    from store.stores import Stores
    from store.tenancy import Tenant

PAGE: Final = 500
"""Records read at once."""


class AuditRequest(NamedTuple):
    """Options of the command line."""

    tenant: Tenant
    patient: str | None = None
    """`system|value` or `Patient/id`."""
    client: str | None = None
    since: str | None = None
    until: str | None = None
    did: str | None = None
    """Name of an interaction or a deed."""
    most: int | None = None
    """Records at most; None: all."""


async def records(stores: Stores, request: AuditRequest) -> AsyncIterator[AuditRecord]:
    """The records that meet the conditions, the newest first; the look is on record itself.

    Raises ServiceError or StartupError when it is refused.
    """
    await existing_tenant(stores.access, request.tenant)
    dids = frozenset({request.did}) if request.did else None
    wanted = AuditQuery(request.tenant, by=request.client or "", dids=dids, most=PAGE)
    try:
        wanted = bounded(wanted, f"ge{request.since}") if request.since else wanted
        wanted = bounded(wanted, f"lt{request.until}") if request.until else wanted
    except ValueError as error:
        raise ServiceError(Category.INCORRECT, Issue("value", f"`--since`, `--until`: {error}")) from None
    named: tuple[str, ...] = ()
    if request.patient is not None:
        subject = read_subject(request.patient)
        named = (subject.name,)
        wanted = wanted._replace(patients=await stores.privacy.names.known_as(request.tenant, subject))
    shown = AuditRecord(request.tenant, utc_now(), user(), Deed.AUDIT_SHOWN.value, patients=named)
    await stores.privacy.audit.note(shown)
    left = request.most
    while True:
        page = await stores.privacy.audit.find(wanted)
        for record in page.records[:left]:
            yield record
        left = None if left is None else left - len(page.records)
        if not page.next or (left is not None and left <= 0):
            return
        wanted = wanted._replace(after=page.next)


def rows(found: Sequence[AuditRecord]) -> list[tuple[str, ...]]:
    """The table, with its head."""
    table: list[tuple[str, ...]] = [("AT", "BY", "DID", "STATUS", "RESOURCE", "PATIENTS", "REQUEST")]
    for one in found:
        status = str(one.status) if one.status else "ok"
        patients = ", ".join(one.patients[:3]) + (" …" if len(one.patients) > 3 else "")  # noqa: PLR2004
        who, what = one.by or "(unknown)", one.resource or one.of or "–"
        cells = (
            f"{one.at:%Y-%m-%d %H:%M:%S}Z",
            who,
            one.did,
            status,
            what,
            patients or "–",
            one.request_id or "–",
        )
        table.append(cells)
    return table


def as_line(record: AuditRecord) -> str:
    """A record as a line of JSON."""
    told = record._asdict() | {
        "tenant": str(record.tenant),
        "query": record.query.decode(errors="replace"),
    }
    return orjson.dumps(
        {name: value for name, value in told.items() if value}, option=orjson.OPT_UTC_Z
    ).decode()


def as_event(record: AuditRecord, settings: Settings) -> str:
    """A record as a line of NDJSON: an AuditEvent."""
    origin = origin_of(settings)
    where = Where(base_under(origin, str(record.tenant)), origin)
    return orjson.dumps(audit_event(record, where)).decode()
