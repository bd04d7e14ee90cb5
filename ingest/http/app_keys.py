"""Keys of what ingest's handlers take out of the application and the request. `api` fills them."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from aiohttp import web

from ingest.http import forwarded
from store.fair import Asker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from ingest.access import Access
    from ingest.caller import Caller
    from ingest.http.workshop import Workshop
    from ingest.metrics import IngestMetrics
    from ingest.settings import IngestSettings
    from store.audit.records import AuditTrail
    from store.fair import Gate
    from store.files import AttachmentStore
    from store.resources.resources import ResourceStore
    from store.resources.versions import Stored
    from store.search.parsing.context import SearchLimits
    from store.tenancy import TenantSettings


_HOST: Final = re.compile(r"(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<name>[A-Za-z0-9.-]+))(?::\d{1,5})?", re.ASCII)
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
MISDIRECTED: Final = (
    "`Host` is not a name by which this server knows itself; its public URL is set with `DOD_BASE_URL`."
)


# The application's.
CLOCK: Final[web.AppKey[Callable[[], datetime]]] = web.AppKey("clock")
"""Now, in UTC; tests set their own."""
RESOURCES: Final[web.AppKey[ResourceStore]] = web.AppKey("resources")
AUDIT: Final[web.AppKey[AuditTrail]] = web.AppKey("audit")
"""Audit that notes when a report moves from one patient to another."""
ATTACHMENTS: Final[web.AppKey[AttachmentStore]] = web.AppKey("attachments")
IDENTITY_SECRET: Final[web.AppKey[bytes]] = web.AppKey("identity_secret")
"""Shared by all replicas: stable ids are derived with it."""
INGEST_SETTINGS: Final[web.AppKey[IngestSettings]] = web.AppKey("ingest_settings")
STILL_OPEN: Final[web.AppKey[Callable[[web.Request], Awaitable[None]]]] = web.AppKey("still_open")
"""Raises the refusal of a request whose tenant was closed while its body arrived."""
INGEST_METRICS: Final[web.AppKey[IngestMetrics]] = web.AppKey("ingest_metrics")
BASE_URL: Final[web.AppKey[str | None]] = web.AppKey("base_url")
"""Our public origin; None: that of the request."""
TRUSTED_PROXIES: Final[web.AppKey[forwarded.Networks]] = web.AppKey("trusted_proxies")
"""Networks of proxies that may say where a client came in."""
SEARCH: Final[web.AppKey[Callable[[web.Request, str, str, int], Awaitable[bytes]]]] = web.AppKey("search")
"""Answers a search within a batch: (the batch, resource type, query string, bytes of its page) → searchset.

`api` has them."""
CUT: Final[web.AppKey[Callable[[Stored, str], bytes]]] = web.AppKey("cut")
"""Part of a read within a batch that its query asks for: (what was read, query string) → bytes."""
LIMITS: Final[web.AppKey[SearchLimits]] = web.AppKey("limits")
"""Bounds of a search, or of a condition."""
READS: Final[web.AppKey[Gate]] = web.AppKey("reads")
"""Places for reads, versions and histories."""
WORKSHOP: Final[web.AppKey[Workshop]] = web.AppKey("workshop")
"""Workshop in which large bodies are parsed and prepared."""


class CameIn(NamedTuple):
    """Place where a request came in, as the process saw it that took it."""

    origin: str
    """Our public origin, as its client sees it."""
    address: str
    """Address of its client."""


# The request's.
CAME_IN: Final[web.RequestKey[CameIn]] = web.RequestKey("came_in")
"""Place at which the request came in, if another process took it and handed it over."""
PRINCIPAL: Final[web.RequestKey[Caller]] = web.RequestKey("principal")
"""Caller of the request. Absent on open routes."""
TENANT: Final[web.RequestKey[TenantSettings]] = web.RequestKey("tenant")
"""Tenant whose data is asked for, after the token was checked against it. Absent on open routes."""
AUDITED: Final[web.RequestKey[Access]] = web.RequestKey("audited")
"""The access that the request is, for the audit. Absent on open routes."""


def asker_of(request: web.Request) -> Asker:
    """The client that a request counts for; its tenant may be known only by its body."""
    return Asker(str(request[TENANT].tenant) if TENANT in request else "", request[PRINCIPAL].client)


def base_of(request: web.Request) -> str:
    """The tenant's base URL as this client sees it: what `fullUrl`, `Location` and links start with."""
    match = request.match_info
    return base_under(origin_of(request), f"{match['organization']}/{match['environment']}")


def origin_of(request: web.Request) -> str:
    """Our public origin: that of the settings, else the `Host` that was asked, if it is us.

    Raises 421 for the name of another server: it would end up in links, and references to us under our real
    name would be taken for somebody else's.
    """
    origin = request[CAME_IN].origin if CAME_IN in request else request.app[BASE_URL]
    if origin is not None:
        return origin
    told = _forwarded(request)
    host = told.host or request.host
    if told.host is None and not is_ours(host, _own_address(request)):
        raise web.HTTPMisdirectedRequest(text=MISDIRECTED)
    return f"{told.scheme or request.scheme}://{host}"


def address_of(request: web.Request) -> str:
    """The client's address, as far as trusted proxies say; else that of the connection."""
    if CAME_IN in request:
        return request[CAME_IN].address
    return _forwarded(request).client or request.remote or ""


def _forwarded(request: web.Request) -> forwarded.Forwarded:
    """Account that trusted proxies give of where the client came in; nothing of what others say."""
    trusted = request.app[TRUSTED_PROXIES]
    if not trusted or not forwarded.is_trusted(request.remote or "", trusted):
        return forwarded.Forwarded()
    told = request.headers.getall
    return forwarded.read(
        told("Forwarded", ()),
        told("X-Forwarded-For", ()),
        told("X-Forwarded-Proto", ()),
        told("X-Forwarded-Host", ()),
        trusted,
    )


def _own_address(request: web.Request) -> str:
    """The address at which the connection came in."""
    socket = request.transport.get_extra_info("sockname") if request.transport is not None else None
    return str(socket[0]) if isinstance(socket, tuple) else ""


@lru_cache(maxsize=256)
def is_ours(host: str, address: str) -> bool:
    """Whether a `Host` names this server: by a loopback name, or the address that the client reached."""
    match = _HOST.fullmatch(host)
    if match is None:
        return False
    name = (match["v6"] or match["name"]).lower()
    return name in _LOOPBACK or name == address.lower()


def base_under(origin: str, tenant: str) -> str:
    """The base URL of the tenant `ORG/ENV` where our public origin is this one."""
    return f"{origin}/fhir/R4/{tenant}"
