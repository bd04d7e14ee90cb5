"""The record of what was done with whose data: by privacy officers, and by a push that moved a report.

Nothing of a patient is in it.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, Protocol

from store.tenancy import Tenant


class Did(StrEnum):
    """Kind of an act."""

    POLICY_SET = "policy set"
    HOLD_PLACED = "hold placed"
    HOLD_RELEASED = "hold released"
    PATIENT_ERASED = "patient erased"
    ERASURE_LIFTED = "erasure lifted"
    TENANT_CLOSED = "tenant closed"
    REPORT_MOVED = "report moved"


class Act(NamedTuple):
    """Entry of the audit."""

    tenant: Tenant
    at: datetime
    by: str
    did: Did
    reason: str = ""
    of: str = ""
    """The id of a hold or a run, the version of a policy, the keyed digest of a patient."""


class Audit(Protocol):
    """Entries are added, and go when the policy says so; nothing changes one."""

    async def note(self, act: Act) -> None:
        """Keep one durably."""

    async def acts(self, tenant: Tenant) -> tuple[Act, ...]:
        """A tenant's, the newest first."""
