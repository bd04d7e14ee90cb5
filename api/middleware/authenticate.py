"""Who asks and whose data: bearer token → PRINCIPAL, URL → TENANT, both checked against the route's row.

The order is what keeps secrets: a token learns nothing about tenants that it does not name.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from aiohttp import hdrs, web

from api.keys import DOORKEEPER
from api.routing import ROWS
from ingest.keys import PRINCIPAL, TENANT
from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.tenancy import Tenant, parse_tenant

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp.typedefs import Handler

INTERACTIONS: Final[Mapping[str, str]] = {
    "c": "create",
    "r": "read",
    "u": "update",
    "d": "delete",
    "s": "search",
}


@web.middleware
async def authenticate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let the request through to its handler, or raise the first refusal that applies."""
    row = request.app[ROWS].get(request.match_info.route)
    if row is None:  # Not routed: the handler raises 404 or 405.
        return await handler(request)
    tenant = _tenant_of(request.match_info)
    if row.open:
        return await handler(request)
    doorkeeper = request.app[DOORKEEPER]
    principal = await doorkeeper.principal(request.headers.get(hdrs.AUTHORIZATION))
    request[PRINCIPAL] = principal
    if tenant not in principal.tenants:
        raise _refusal(Category.FORBIDDEN, "The token is not for this tenant.")
    settings = await doorkeeper.tenant(tenant)
    if settings is None:
        raise _refusal(Category.NOT_FOUND, "This tenant was never created: `dod tenant create`.")
    request[TENANT] = settings
    if row.scope and not principal.may(request.match_info["type"], row.scope):
        raise _refusal(Category.FORBIDDEN, _missing_scope(row.scope))
    return await handler(request)


def _tenant_of(match: Mapping[str, str]) -> Tenant:
    """The tenant in the URL. Raises ServiceError `not-found` naming the rule."""
    try:
        return _known_shape(match["organization"], match["environment"])
    except ValueError as error:
        raise _refusal(Category.NOT_FOUND, f"No such base: {error}.") from None


@lru_cache(maxsize=4_096)
def _known_shape(organization: str, environment: str) -> Tenant:
    return parse_tenant(f"{organization}/{environment}")


def _missing_scope(letters: str) -> str:
    needed = " and ".join(INTERACTIONS[letter] for letter in letters)
    return f"The token's scopes do not allow to {needed} resources of this type (`{letters}`)."


def _refusal(category: Category, text: str) -> ServiceError:
    return ServiceError(category, Issue(category.value, text))
