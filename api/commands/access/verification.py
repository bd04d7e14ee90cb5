"""Command `dod tenant verification`, without the command line around it."""

from __future__ import annotations

from datetime import UTC, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from api.auth.verification import SECRET, SHAPE, keyed_digest, new_verification_token
from api.commands.access.tenants import existing_tenant
from store.access import VerificationToken
from store.errors import StartupError

if TYPE_CHECKING:
    from datetime import datetime

    from store.access import AccessStore
    from store.tenancy import Tenant

SHOWN: Final = 12
"""Characters of a digest that name a token."""


class Action(StrEnum):
    """Actions on a tenant's verification tokens."""

    SET = "set"
    """Make a token that is valid alone from now on."""
    ROTATE = "rotate"
    """Another token; the one before stays valid for the overlap."""
    SHOW_STATE = "show-state"
    REMOVE = "remove"
    """No token: bearer tokens only."""


async def put_token(
    access: AccessStore,
    tenant: Tenant,
    *,
    given: str | None,
    now: datetime,
    overlap: timedelta | None = None,
) -> str:
    """The token that is valid from now on: the one given, else a new one. With an overlap the current one
    stays valid for so long. Raises StartupError for one that could be guessed.
    """
    token = new_verification_token() if given is None else given
    if not SHAPE.fullmatch(token):
        raise StartupError("A verification token is 16 to 256 visible ASCII characters without blanks.")
    await existing_tenant(access, tenant)
    before = await access.verification(tenant)
    fresh = VerificationToken(keyed_digest(token, tenant, await access.secret(SECRET)), now)
    # Of those before only the current one goes on: never more than two are valid at once.
    current = [one for one in before if one.expires_at is None and one.digest != fresh.digest]
    kept = [] if overlap is None else [VerificationToken(c.digest, c.since, now + overlap) for c in current]
    if not await access.put_verification(tenant, (fresh, *kept), instead_of=before):
        raise StartupError("Somebody else changed the verification tokens meanwhile; nothing was changed.")
    return token


async def remove_tokens(access: AccessStore, tenant: Tenant) -> str:
    """Forget all tokens; says how many were there."""
    await existing_tenant(access, tenant)
    before = await access.verification(tenant)
    if not await access.put_verification(tenant, (), instead_of=before):
        raise StartupError("Somebody else changed the verification tokens meanwhile; nothing was changed.")
    return f"{tenant}: {len(before)} verification tokens removed"


async def state_rows(access: AccessStore, tenant: Tenant, *, now: datetime) -> list[tuple[str, ...]]:
    """The table of `show-state`, with its head; there is nothing secret in it."""
    await existing_tenant(access, tenant)
    rows: list[tuple[str, ...]] = [("DIGEST", "SINCE", "UNTIL", "STATE")]
    for one in await access.verification(tenant):
        ended = one.expires_at is not None and one.expires_at <= now
        state = "current" if one.expires_at is None else "ended" if ended else "overlap"
        rows.append((one.digest[:SHOWN], _minute(one.since), _minute(one.expires_at), state))
    return rows


def _minute(moment: datetime | None) -> str:
    return "without end" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}Z"
