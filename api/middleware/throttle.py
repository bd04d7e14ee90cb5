"""Limits of who asks: by address before it is known who that is, by client after."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, Final

from aiohttp import web

from api.auth.principal import holder_of
from api.http.app_keys import LIMITER, SETTINGS
from api.http.routing import ROWS, Group
from api.limits.limiter import Class, ThrottledError
from api.server.connection import Connection
from ingest.http.admission import NoRoomError
from ingest.http.app_keys import PRINCIPAL, address_of
from store.errors import Category, ServiceError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp.typedefs import Handler

    from api.http.routing import Route

_CLASSES: Final[Mapping[Group, Class]] = {
    Group.SEARCH: Class.SEARCH,
    Group.READ: Class.SEARCH,
    Group.ADMIN: Class.SEARCH,
    Group.WRITE: Class.PUSH,
}
_OF_ROWS: Final[Mapping[str, Class]] = {
    "batch": Class.BACKFILL,
    "token": Class.LOGIN,
    "verify": Class.LOGIN,
}
"""Rows whose class is not that of their group."""
REFUSALS_A_PAUSE: Final = 50
"""Refusals of one client that go out in a pause; more of them wait for longer."""
PAUSE_SECONDS_MAX: Final = 10.0
"""Longest pause, unless the setting asks for a longer one."""
_SPREAD: Final = 0.618
"""Part of the golden ratio: its multiples lie evenly, however many there are."""
_HOUSEHOLD: Final = 64
"""Bits of an IPv6 address that are one subscriber's network."""


def class_of(row: Route) -> Class | None:
    """The class of a route's requests; None: it is open, and counts by address alone."""
    return _OF_ROWS.get(row.name) or _CLASSES.get(row.group)


@web.middleware
async def throttle_addresses(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse an address that asks too often; strangers count by it for want of a name."""
    row = request.app[ROWS].get(request.match_info.route)
    limiter, address = request.app[LIMITER], _counted(address_of(request))
    try:
        limiter.hit(Class.ADDRESS, address)  # What leads nowhere, and `OPTIONS`, cost something as well.
        if row is not None and class_of(row) is Class.LOGIN:
            limiter.hit(Class.LOGIN, address)
    except ThrottledError:
        await _pause(request, address)
        raise
    return await handler(request)


async def count_guess(request: web.Request) -> None:
    """Count a wrong verification token as a login of its address. Raises ThrottledError past the limit."""
    address = _counted(address_of(request))
    try:
        request.app[LIMITER].hit(Class.LOGIN, address)
    except ThrottledError:
        await _pause(request, address)
        raise


@web.middleware
async def throttle_clients(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse a client that asks too often, or too much at a time."""
    row, caller = request.app[ROWS].get(request.match_info.route), request.get(PRINCIPAL)
    kind = None if row is None else class_of(row)
    if kind is None or caller is None:
        return await handler(request)
    limiter, holder = request.app[LIMITER], holder_of(caller)
    try:
        told = limiter.hit(kind, holder)
        limiter.enter(holder)
    except ThrottledError:
        await _pause(request, holder)
        raise
    refused: ServiceError | None = None
    try:
        response = await handler(request)
    except ServiceError as error:
        waits = kind is Class.SEARCH and error.category is Category.THROTTLED  # Its searches do already.
        if not waits and not isinstance(error, NoRoomError):
            raise
        refused = error.with_traceback(None)  # Its frames hold what has come of the body.
    finally:
        limiter.leave(holder)
    if refused is not None:
        await _pause(request, holder)
        raise refused
    if told and not response.prepared:
        response.headers.update(told)
    return response


async def _pause(request: web.Request, who: str) -> None:
    """Hold a refusal back; its client waits, and nobody else does."""
    held, connection = request.app[LIMITER].held_back, request.protocol
    assert isinstance(connection, Connection)  # noqa: S101 -- all clients' are
    held[who] += 1
    try:
        seconds = pause_of(held[who], request.app[SETTINGS].throttle_pause_seconds)
        await connection.hold_back(seconds)
    finally:
        held[who] -= 1
        if not held[who]:
            del held[who]


def pause_of(held: int, seconds: float) -> float:
    """Seconds for which a refusal is held back when so many of its client are.

    Two thousand connections that ask anew each second would take the event loop by refusals alone. Those that
    came together and have to wait for longest do not go out together.
    """
    longest = max(seconds, PAUSE_SECONDS_MAX)
    wanted = seconds * max(1.0, held / REFUSALS_A_PAUSE)
    if wanted <= longest:
        return wanted
    shortest = max(seconds, longest / 2)
    return shortest + (longest - shortest) * (held * _SPREAD % 1)


@lru_cache(maxsize=4_096)
def _counted(address: str) -> str:
    """Name under which an address counts: itself, or the network of its household."""
    try:
        known = ip_address(address)
    except ValueError:
        return address
    if isinstance(known, IPv6Address) and known.ipv4_mapped is None:
        return str(ip_network((known, _HOUSEHOLD), strict=False))
    return str(known)
