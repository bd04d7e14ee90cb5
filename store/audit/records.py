"""The audit record: who did what with whose data, when, and what came of it; never the content of an answer.

Pure. There is one kind of record, for accesses over HTTP and at the terminal, and for what officers and
operators decide.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from datetime import datetime

    from store.retention.subjects import Subject
    from store.tenancy import Tenant

QUERY_BYTES_MAX: Final = 8_192
"""Bytes of a query that a record keeps; the rest is cut off."""
PATIENTS_MAX: Final = 1_000
"""Patients that one record names: as many as a page has matches."""
STRANGER_DAYS: Final = 90
"""Longest time that a refused request without a valid credential stays on record."""


class Deed(StrEnum):
    """Acts of officers and operators; accesses are named by their route."""

    POLICY_SET = "policy set"
    HOLD_PLACED = "hold placed"
    HOLD_RELEASED = "hold released"
    PATIENT_ERASED = "patient erased"
    ERASURE_LIFTED = "erasure lifted"
    TENANT_CREATED = "tenant created"
    TENANT_CHANGED = "tenant changed"
    TENANT_CLOSED = "tenant closed"
    REPORT_MOVED = "report moved"
    TOKEN_ISSUED = "token issued"  # noqa: S105 -- names of deeds
    TOKEN_REVOKED = "token revoked"  # noqa: S105
    TOKEN_GRANTED = "access token granted"  # noqa: S105
    VERIFICATION_SET = "verification set"
    VERIFICATION_REMOVED = "verification removed"
    CLIENT_CREATED = "client created"
    CLIENT_CHANGED = "client changed"
    CLIENT_DISABLED = "client disabled"
    SUBSCRIPTION_CHANGED = "subscription changed"
    NOTIFICATIONS_SET = "notifications set up"
    SEARCHED = "searched at the terminal"
    EXPORTED = "exported"
    LETTER_SHOWN = "letter shown"
    AUDIT_SHOWN = "audit shown"


class AuditRecord(NamedTuple):
    """Record of an access or deed."""

    tenant: Tenant
    at: datetime
    by: str
    """Client of the credential, or the user at the terminal; empty: a request without a valid credential."""
    did: str
    """Name of the route (`search`, `read` …), or a `Deed`."""
    reason: str = ""
    """Reason that the officer gave."""
    of: str = ""
    """Id of a hold or a run, version of a policy, keyed digest of an erased patient."""
    status: int = 0
    """HTTP status of the answer; 0: no HTTP request."""
    patients: tuple[str, ...] = ()
    """Names of the patients concerned: `Patient/id`, or `system|value` when only that was told."""
    resource: str = ""
    """Path under the base: `DiagnosticReport`, `DiagnosticReport/r1`, `DiagnosticReport/r1/_history/2`."""
    query: bytes = b""
    """Search parameters as they were sent; form and query string are joined by `&`."""
    request_id: str = ""
    token: str = ""
    """Start of the credential's digest."""
    address: str = ""
    """Address of the client."""
    id: str = ""
    """Id of the record; the store gives it."""

    @property
    def succeeded(self) -> bool:
        """Whether the request was answered with what it asked for."""
        return self.status < 400  # noqa: PLR2004 -- the first status of a refusal


class AuditPlace(NamedTuple):
    """Place of a record among the others: its own, so that it holds when the record has gone."""

    at: int
    """Moment of the record, in milliseconds since 1970."""
    id: str


class AuditQuery(NamedTuple):
    """Conditions that records have to meet; None and empty: any."""

    tenant: Tenant
    patients: frozenset[str] | None = None
    """Names of one patient; a record with any of them is hers."""
    by: str = ""
    dids: frozenset[str] | None = None
    """Names of what was done, one of which counts; None: any."""
    beside: frozenset[str] | None = None
    """Names but which any other counts, too; None: those of `dids` alone."""
    since: datetime | None = None
    until: datetime | None = None
    """Records before this moment."""
    most: int = 50
    after: AuditPlace | None = None
    """Place of the last record of the page before."""


class AuditPage(NamedTuple):
    """Records, the newest first."""

    records: tuple[AuditRecord, ...]
    next: AuditPlace | None = None
    """`after` of the following page; None: there is none."""


class Pending(Protocol):
    """A record on its way into the store."""

    async def kept(self) -> None:
        """Return when the record is durable. Raises ServiceError when it could not be kept."""


class AuditTrail(Protocol):
    """Records are added, and go when their time is over; nothing but an erasure changes one."""

    def begin(self, record: AuditRecord) -> Pending:
        """Start to keep a record, together with others of the moment.

        Raises ServiceError `unavailable` when too many wait.
        """

    def correct(self, pending: Pending, record: AuditRecord) -> Pending:
        """Put a record in place of one that was begun: the outcome turned out to be another."""

    async def note(self, *records: AuditRecord) -> None:
        """Keep records durably. Raises ServiceError."""

    async def find(self, wanted: AuditQuery) -> AuditPage:
        """Records that meet the conditions, the newest first."""

    async def get(self, tenant: Tenant, record_id: str) -> AuditRecord | None:
        """Record of this id; None: there is none."""


class PatientNames(Protocol):
    """Knows a patient by all names."""

    async def known_as(self, tenant: Tenant, subject: Subject) -> frozenset[str]:
        """The names under which records may tell of a patient, and the digests of these."""
