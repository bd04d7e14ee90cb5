"""Every access is on record before its answer leaves: who, whose, what; never what was found.

Outside of the errors, so that refusals are on record too. Where reads must be on record and cannot be, they
are refused.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import TYPE_CHECKING, Final

from aiohttp import web

from api.http.app_keys import REQUEST_ID, SETTINGS
from api.http.routing import ROWS, Group
from api.middleware.errors import answer_of
from ingest.access import Access, Visit
from ingest.http.app_keys import AUDIT, AUDITED, CLOCK, PRINCIPAL, address_of
from store.errors import ServiceError
from store.tenancy import parse_tenant

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler

    from api.http.routing import Route
    from store.tenancy import Tenant

RESOURCE_MAX: Final = 200
"""Characters of a path that a record keeps."""


@web.middleware
async def audit(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer, with the access on record."""
    row = request.app[ROWS].get(request.match_info.route)
    tenant = None if row is None or row.open else _tenant_of(request)
    access = None if row is None or tenant is None else access_of(request, row, tenant)
    if access is None:
        return await handler(request)
    response = await handler(request)
    try:
        await access.finish(response.status)
    except ServiceError as error:
        return answer_of(request, error)
    return response


def access_of(request: web.Request, row: Route, tenant: Tenant) -> Access | None:
    """Begin the record of an access to a tenant; None: none is kept."""
    trail, mode = request.app.get(AUDIT), request.app[SETTINGS].audit
    if trail is None or mode == "off":
        return None
    resource = _resource(request, tenant)
    sent = request.raw_path.partition("?")[2].encode("utf-8", "surrogateescape")
    access = request[AUDITED] = Access(
        trail,
        Visit(tenant, request.app[CLOCK](), row.name, request[REQUEST_ID], address_of(request)),
        partial(request.get, PRINCIPAL),
        required=mode == "required" and row.group is not Group.WRITE,
        query=sent,
        resource=resource,
    )
    if resource.startswith("Patient/"):
        access.about(["/".join(resource.split("/", 2)[:2])])
    return access


def _tenant_of(request: web.Request) -> Tenant | None:
    """The tenant in the URL; None: there can be no such tenant."""
    match = request.match_info
    return _known_shape(match.get("organization", ""), match.get("environment", ""))


@lru_cache(maxsize=4_096)
def _known_shape(organization: str, environment: str) -> Tenant | None:
    try:
        return parse_tenant(f"{organization}/{environment}")
    except ValueError:
        return None


def _resource(request: web.Request, tenant: Tenant) -> str:
    """The path under the base."""
    path = request.path.partition(f"/{tenant}")[2].strip("/")
    return path.removesuffix("/_search")[:RESOURCE_MAX]
