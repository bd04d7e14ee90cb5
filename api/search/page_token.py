"""Page links: a sealed token that holds the query and the place in it, readable and writable only here.

Nothing of the search can be read in a link, an edited or foreign one does not open, and no replica needs to
remember anything.
"""

from __future__ import annotations

import binascii
import os
import re
import zlib
from base64 import b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from store.errors import Category, ServiceError
from store.fhir.instants import SECOND
from store.fhir.issues import Issue
from store.search.criteria import Moment, Position
from store.search.parsing.context import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from store.search.reach import Reach
    from store.tenancy import Tenant

PAGE: Final = "_page"
"""The parameter of page links; stands alone."""
SILENT: Final = frozenset({"_format", "_pretty"})
"""May stand beside it: they say nothing about what is shown."""
_DECIDED: Final = frozenset({"_count", "_total"})
"""May stand beside it and change nothing: the link says how many there are."""
_NONCE_BYTES: Final = 12
_DAY_SECONDS: Final = 86_400
_STATE_BYTES_MAX: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class PageState:
    """State that a page link stands for."""

    type: str
    pairs: tuple[tuple[str, str], ...]
    """The parameters that were understood."""
    now: int
    """Microseconds since 1970 at the first page: `ap` must mean the same on each."""
    until: int
    """Seconds since 1970 when the link stops working."""
    position: Position | None = None
    total: int | None = None
    """Counted at the first page."""
    as_of: Moment | None = None
    """Moment that the first page showed; the others show it too as long as the store remembers it."""


def bound(tenant: Tenant, reach: Reach) -> str:
    """Name that a link is bound to: the tenant, and where the caller reaches parts of types, those parts.

    A link tells how many matches there are: whoever reaches fewer must not open it.
    """
    return f"{tenant} {reach.narrowness}" if reach.is_narrow else str(tenant)


def seal(state: PageState, *, tenant: str, secret: bytes) -> str:
    """The token for a link."""
    position = None if state.position is None else [state.position.values, state.position.backwards]
    as_of = None if state.as_of is None else tuple(state.as_of)
    plain = orjson.dumps([state.type, state.pairs, state.now, state.until, position, state.total, as_of])
    nonce = os.urandom(_NONCE_BYTES)
    sealed = AESGCM(secret).encrypt(nonce, zlib.compress(plain, 1), tenant.encode())
    return _encoded(nonce + sealed)


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(token: str) -> bytes:
    """The bytes of a token. Raises ValueError; Base64 spells the same bytes in several ways, ours is one."""
    data = b64decode(token + "=" * (-len(token) % 4), b"-_", validate=True)
    if _encoded(data) != token:
        raise ValueError
    return data


def unseal(token: str, *, tenant: str, secret: bytes, now_seconds: int) -> PageState:
    """State in a token of ours. Raises ServiceError `not-found` or `gone`."""
    try:
        data = _decoded(token)
        opened = AESGCM(secret).decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], tenant.encode())
    except (InvalidTag, binascii.Error, ValueError):
        issue = Issue("not-found", "this page link is not one of ours for this tenant", ("_page",))
        raise ServiceError(Category.NOT_FOUND, issue) from None
    plain = zlib.decompressobj().decompress(opened, _STATE_BYTES_MAX)
    resource_type, pairs, now, until, position, total, as_of = orjson.loads(plain)
    if until <= now_seconds:
        raise ServiceError(Category.GONE, _EXPIRED)
    return PageState(
        resource_type,
        tuple((name, value) for name, value in pairs),
        now,
        until,
        None if position is None else Position(tuple(position[0]), position[1]),
        total,
        None if as_of is None else Moment(*as_of),
    )


_EXPIRED: Final = Issue("expired", "this page link has expired: start the search again", (PAGE,))


def refuse_older(state: PageState, *, days: int | None, now_seconds: int) -> None:
    """Raise ServiceError `gone` for a link whose tenant keeps them for so many days only."""
    if days is not None and state.now // SECOND + days * _DAY_SECONDS <= now_seconds:
        raise ServiceError(Category.GONE, _EXPIRED)


def follow(  # noqa: PLR0913 -- all keyword-only but one
    pairs: Sequence[tuple[str, str]],
    *,
    of: str,
    tenant: str,
    secret: bytes,
    now_seconds: int,
    known: Callable[[str], bool] = bool,
) -> PageState | None:
    """State of a page link among the parameters; None when there is none.

    Clients add parameters to links: those that are not `known`, or say what the link says, change nothing.
    Raises ServiceError `incorrect` beside others, or when it belongs elsewhere; else as `unseal`.
    """
    told = [pair for pair in pairs if pair[0] not in SILENT]
    tokens = [value for name, value in told if name == PAGE]
    if not tokens:
        return None
    state = unseal(tokens[0], tenant=tenant, secret=secret, now_seconds=now_seconds)
    if state.type != of or len(tokens) > 1:
        issue = Issue("invalid", "`_page` stands alone: follow page links as they are", (PAGE,))
        raise ServiceError(Category.INCORRECT, issue)
    changing = [pair[0] for pair in told if _would_change(pair, state, known)]
    if changing:
        names = ", ".join(f"`{shown(name)}`" for name in dict.fromkeys(changing))
        text = f"{names} beside `_page` would be another search: follow page links as they are, or begin anew"
        raise ServiceError(Category.INCORRECT, Issue("invalid", text, (PAGE,)))
    return state


def _would_change(pair: tuple[str, str], state: PageState, known: Callable[[str], bool]) -> bool:
    """Whether a parameter beside a page link asks for something else than the link."""
    name = re.split(r"[:.]", pair[0], maxsplit=1)[0]
    return name != PAGE and name not in _DECIDED and known(name) and pair not in state.pairs
