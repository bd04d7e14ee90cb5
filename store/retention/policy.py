"""Policies of tenants: how long data stays, and the moment at which one resource ends.

Pure. The first rule that fits decides; what no rule fits goes by the default. What a resource needs
(`store.retention.needs`) stays at least as long as the resource itself.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from store.fhir.instants import OPEN_START, Interval, to_datetime
from store.fhir.resource_types import NOT_ABOUT_PATIENTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from store.tenancy import Tenant

NEVER: Final = datetime(9999, 1, 1, tzinfo=UTC)
"""End of a resource that is kept without end."""
_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)
DAYS_MAX: Final = 36_500
"""A hundred years; more is a slip of the pen."""


class CountedFrom(StrEnum):
    """Beginning of the days. A date that is missing, or still to come, counts as received."""

    RECEIVED = "received"
    """Moment at which the current version was stored."""
    ISSUED = "issued"
    """`DiagnosticReport.issued`; of other types the clinical date."""
    EFFECTIVE = "effective"
    """The clinical date: `effective[x]` of a report, by its beginning."""


class Rule(NamedTuple):
    """Rule: what it fits, and how long that is kept. An empty condition fits everything."""

    keep_days: int | None
    """None: without end."""
    counted_from: CountedFrom = CountedFrom.RECEIVED
    type: str = ""
    category: tuple[str, ...] = ()
    """Any of these, as the search index spells them: `code` or `system|code`."""
    status: tuple[str, ...] = ()

    def fits(self, resource_type: str, fields: Mapping[str, Any]) -> bool:
        """Whether it is about a resource with these index fields."""
        return (
            self.type in ("", resource_type)
            and _any_of(self.category, fields.get("category", ()))
            and _any_of(self.status, fields.get("status", ()))
        )


def _any_of(wanted: tuple[str, ...], stored: object) -> bool:
    return not wanted or (isinstance(stored, list) and any(one in stored for one in wanted))


class Policy(NamedTuple):
    """Policy as a tenant's privacy officer set it; each change makes the next version."""

    version: int = 0
    made_at: datetime = _LONG_AGO
    keep_days: int | None = None
    """Days for what no rule fits, but for types that are about no patient; None: without end."""
    counted_from: CountedFrom = CountedFrom.RECEIVED
    rules: tuple[Rule, ...] = ()
    superseded_days: int | None = None
    """Days for versions that were replaced or deleted, from then on; never longer than the resource itself.
    """
    dead_letter_days: int | None = None
    """None: `DOD_DEAD_LETTER_DAYS`."""
    audit_days: int | None = None
    """Days for the record of what privacy officers did; None: without end."""
    page_token_days: int | None = None
    """None: `DOD_PAGE_TOKEN_SECONDS`, which is the most in any case."""
    idempotency_days: int | None = None
    """None: `DOD_IDEMPOTENCY_DAYS`."""
    erasure_days: int | None = None
    """Days for which what was erased may not come back; None: without end."""

    def rule_for(self, resource_type: str, fields: Mapping[str, Any]) -> Rule | None:
        """The rule that decides; None: the default does."""
        return next((rule for rule in self.rules if rule.fits(resource_type, fields)), None)

    def says(self, other: Policy) -> bool:
        """Whether both set the same, whatever their versions."""
        return self._replace(version=0, made_at=_LONG_AGO) == other._replace(version=0, made_at=_LONG_AGO)

    def superseded_until(self, since: datetime) -> datetime:
        """End of a version that was superseded at this moment."""
        return after(since, self.superseded_days)

    def answers_until(self, until: datetime, now: datetime) -> datetime:
        """End of an answer given now that was to be remembered until this moment."""
        return until if self.idempotency_days is None else min(until, after(now, self.idempotency_days))


UNLIMITED: Final = Policy()
"""Policy of a tenant for which nothing was set: everything stays."""


class TenantRetention(NamedTuple):
    """Retention of a tenant, as far as a write has to know it."""

    policy: Policy = UNLIMITED
    forgets: bool = False
    """Something was erased here, and may not come back."""
    erased_at: datetime | None = None
    """End of the last erasure, by the database's own clock."""
    closed: bool = False
    """The tenant has left: nothing is stored for it any more."""
    made: bool = True
    """There is, or was, a tenant of this name; False: nobody can have been let in."""


KEEPS_ALL: Final = TenantRetention()
"""Retention of a tenant that keeps everything."""


class PolicyStore(Protocol):
    """The policies of all tenants, each version for good."""

    async def retention(self, tenant: Tenant) -> TenantRetention:
        """Retention as it is set now."""

    async def remembered(self, tenant: Tenant) -> TenantRetention:
        """Retention as it was set a moment ago, at most `policy_cache_seconds`."""

    async def put(self, tenant: Tenant, policy: Policy, *, instead_of: int) -> Policy:
        """Make it the current one, with the next version; `instead_of` is the version it was made from.

        Raises ServiceError `conflict` when another one is current.
        """

    async def versions(self, tenant: Tenant) -> tuple[Policy, ...]:
        """All there were, newest first."""


class Ends(NamedTuple):
    """Ends of a resource: the moments that decide when it expires."""

    own: datetime
    """End by its own rule, when nothing needs it."""
    least: datetime | None = None
    """Least end: a rule names its type, whatever else needs it or does not."""
    needed: datetime | None = None
    """The end of the last resource that needs it; None: none ever did."""

    @property
    def expires_at(self) -> datetime:
        """Moment of expiry: a needed resource goes with the last that needs it, and not before its own rule
        lets it.
        """
        if self.needed is None:
            return self.own
        return self.needed if self.least is None else max(self.needed, self.least)


def ends(  # noqa: PLR0913 -- what the rule looks at, all keyword-only
    policy: Policy,
    *,
    resource_type: str,
    fields: Mapping[str, Any],
    when: Interval,
    received: datetime,
    needed: datetime | None = None,
) -> Ends:
    """Ends of a resource with this search side, stored at `received`.

    `fields` are those of `store.search.index`: `category`, `status` and `issued` are looked at.
    """
    rule = policy.rule_for(resource_type, fields)
    if rule is None:
        if resource_type in NOT_ABOUT_PATIENTS:
            return Ends(NEVER, NEVER, needed)
        return Ends(_end(policy.keep_days, policy.counted_from, fields, when, received), None, needed)
    own = _end(rule.keep_days, rule.counted_from, fields, when, received)
    return Ends(own, own if rule.type == resource_type else None, needed)


def _end(
    days: int | None, since: CountedFrom, fields: Mapping[str, Any], when: Interval, received: datetime
) -> datetime:
    return after(_since(since, fields, when, received), days)


def _since(counted: CountedFrom, fields: Mapping[str, Any], when: Interval, received: datetime) -> datetime:
    if counted is CountedFrom.RECEIVED:
        return received
    issued = fields.get("issued")
    said = issued if counted is CountedFrom.ISSUED and isinstance(issued, Interval) else when
    if said.start <= OPEN_START:  # Absent, or a period without a beginning.
        return received
    return min(to_datetime(said.start), received)


@lru_cache(maxsize=256)
def after(since: datetime, days: int | None) -> datetime:
    """Moment so many days later, in milliseconds as MongoDB keeps them; NEVER for None and too far off."""
    if days is None or since >= NEVER - timedelta(days=days):
        return NEVER
    end = since + timedelta(days=days)
    return end.replace(microsecond=end.microsecond // 1000 * 1000)
