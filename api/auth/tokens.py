"""Bearer tokens: 256 random bits behind a prefix that secret scanners can find; kept only as a digest."""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from api.auth.scopes import checked
from store.access import Grant

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from store.tenancy import Tenant

TOKEN: Final = re.compile(r"dod_[A-Za-z0-9_-]{43}")
"""Form of what `new_token` makes. Anything else is refused without asking the store."""


def new_token() -> str:
    """A fresh bearer token."""
    return "dod_" + secrets.token_urlsafe(32)


def is_bearer_of_ours(authorization: str | None) -> bool:
    """Whether an `Authorization` header holds what `new_token` makes, known or not."""
    scheme, _, token = (authorization or "").partition(" ")
    return scheme.lower() == "bearer" and TOKEN.fullmatch(token) is not None


def digest(token: str) -> str:
    """The key a token's grant is kept under. 256 bits of entropy need neither salt nor stretching.

    The store is asked for the digest, the token itself is compared with nothing: how long the look-up
    takes tells at most something about a digest, from which no token can be made.
    """
    return hashlib.sha256(token.encode()).hexdigest()


def new_grant(  # noqa: PLR0913 (all keyword-only, one per field)
    *,
    token: str,
    client: str,
    tenants: Sequence[Tenant],
    scopes: Sequence[str],
    now: datetime,
    days: int,
) -> Grant:
    """Grant to keep for a token. Raises ValueError when a scope is malformed or could not be enforced."""
    issued = checked(scopes)
    return Grant(
        digest=digest(token),
        client=client,
        tenants=tuple(dict.fromkeys(tenants)),
        scopes=issued,
        issued_at=now,
        expires_at=now + timedelta(days=days),
    )
