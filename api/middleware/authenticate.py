"""Authentication: bearer token → PRINCIPAL, URL → TENANT, both checked against the route's row.

The order is what keeps secrets: a token learns nothing about tenants that it does not name.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from aiohttp import hdrs, web

from api.auth import verification
from api.auth.scopes import OWN
from api.http.app_keys import DOORKEEPER, METRICS
from api.http.routing import ROWS
from api.middleware.throttle import count_guess
from api.server.tls import fingerprint_of
from ingest.http.app_keys import PRINCIPAL, TENANT
from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.near import unknown_type
from store.search.parameters import TYPES
from store.search.reach import reaches
from store.tenancy import Tenant, parse_tenant

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp.typedefs import Handler

    from api.auth.principal import Principal
    from api.http.routing import Route
    from store.search.reach import Reach

INTERACTIONS: Final[Mapping[str, str]] = {
    "c": "create",
    "r": "read",
    "u": "update",
    "d": "delete",
    "s": "search",
}
_NOT_FOR_TENANT: Final = (
    "The token is not for this tenant. Organization and environment have upper and lower case;"
    " `dod token list` shows what a token is for."
)
_CLOSED: Final = "This tenant was closed."
_NOT_VERIFIED: Final = "The verification token is not one of this tenant's."


@web.middleware
async def authenticate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let the request through to its handler, or raise the first refusal that applies."""
    row = request.app[ROWS].get(request.match_info.route)
    if row is None:  # Not routed: the handler raises 404 or 405.
        return await handler(request)
    if row.by_body:  # Its handler finds the tenant, among those of the token.
        principal = request[PRINCIPAL] = await _shown(request)
        _check_scope(row.scope, principal, None)
        return await handler(request)
    if "organization" not in request.match_info:  # The token endpoint: of no tenant, and open.
        return await handler(request)
    tenant = _tenant_of(request.match_info)
    if row.open:
        return await handler(request)
    if row.destination:
        challenge = await verification.challenge_in(request)
        if challenge is not None:
            return await _answer(request, challenge, tenant)
    doorkeeper = request.app[DOORKEEPER]
    principal = await _principal(request, row, tenant)
    request[PRINCIPAL] = principal
    if tenant not in principal.tenants:
        raise _refusal(Category.FORBIDDEN, _NOT_FOR_TENANT)
    settings = await doorkeeper.tenant(tenant)
    if settings is None:
        raise _refusal(Category.NOT_FOUND, "This tenant was never created: `dod tenant create`.")
    request[TENANT] = settings
    resource_type = request.match_info.get("type")
    if resource_type is not None and resource_type not in TYPES:
        raise ServiceError(Category.NOT_FOUND, unknown_type(resource_type, TYPES))
    _check_scope(row.scope, principal, resource_type)
    return await handler(request)


def _check_scope(scope: str, principal: Principal, resource_type: str | None) -> None:
    """Raise ServiceError `forbidden` unless the row's scope is granted, for the type or a part of it."""
    if scope in OWN:
        if scope not in principal.own:
            text = f"This needs the scope `{scope}`: `dod token issue … --scope {scope}`, or `dod client`."
            raise _refusal(Category.FORBIDDEN, text)
    elif scope and resource_type is None:
        # A message: each of its resources is checked by itself; whoever may push none hears nothing of it.
        if not any(principal.may(one, scope) for one in principal.scopes):
            raise _refusal(Category.FORBIDDEN, _missing_scope(scope))
    elif scope and not reaches(principal, resource_type or "", scope):
        raise _refusal(Category.FORBIDDEN, _missing_scope(scope))


def refuse_unless(principal: Reach, resource_type: str, letters: str) -> None:
    """Raise ServiceError `forbidden` unless the letters are granted for the type or a part of it."""
    if not reaches(principal, resource_type, letters):
        raise _refusal(Category.FORBIDDEN, _missing_scope(letters))


async def _principal(request: web.Request, row: Route, tenant: Tenant) -> Principal:
    """The principal who asks. On routes that take pushes a verification token will do, and a wrong one never.

    Without an `Authorization` header the client certificate of the connection says who asks.

    Upstream sends the same token as a bearer token too, where it means nothing to us; a bearer token of our
    own says more than that somebody may push, and is looked at as well.
    """
    doorkeeper, authorization = request.app[DOORKEEPER], request.headers.get(hdrs.AUTHORIZATION)
    presented = request.headers.get(verification.HEADER)
    if presented is None or not row.takes_pushes:
        return await _shown(request)
    caller = await doorkeeper.principal(authorization) if doorkeeper.is_ours(authorization) else None
    if caller is not None and tenant not in caller.tenants:
        return caller  # Refused for that, and told nothing of the tenant.
    verified = await doorkeeper.verified(presented, tenant)
    if caller is not None and verified is None and not await doorkeeper.verifies(tenant):
        return caller
    request.app[METRICS].verification("push", accepted=verified is not None)
    if verified is None:  # Also where the tenant has none: a stranger is told the same.
        await count_guess(request)
        raise _refusal(Category.UNAUTHENTICATED, _NOT_VERIFIED, code="login")
    return caller or verified


async def _shown(request: web.Request) -> Principal:
    """The principal of a bearer token, or of the connection's client certificate."""
    doorkeeper, authorization = request.app[DOORKEEPER], request.headers.get(hdrs.AUTHORIZATION)
    certificate = None if authorization else fingerprint_of(request.transport)
    if certificate is not None:
        return await doorkeeper.certified(certificate)
    return await doorkeeper.principal(authorization)


async def admitted_again(request: web.Request) -> None:
    """Look again whether the credential of a long request still admits it. Raises ServiceError."""
    principal, tenant = await _shown(request), request[TENANT].tenant
    if tenant not in principal.tenants:
        raise _refusal(Category.FORBIDDEN, _NOT_FOR_TENANT)
    settings = await request.app[DOORKEEPER].tenant(tenant)
    if settings is None:
        raise _refusal(Category.NOT_FOUND, _CLOSED)
    request[PRINCIPAL], request[TENANT] = principal, settings


async def refuse_closed(request: web.Request) -> None:
    """Look again whether the tenant is there: it may leave while a body arrives. Raises ServiceError."""
    if TENANT in request and await request.app[DOORKEEPER].tenant(request[TENANT].tenant) is None:
        raise _refusal(Category.NOT_FOUND, _CLOSED)


async def verify(request: web.Request) -> web.StreamResponse:
    """GET of a destination: upstream's endpoint verification with token and challenge in the query."""
    query, tenant = request.rel_url.query, _tenant_of(request.match_info)
    token, challenge = query.get("verification-token"), query.get("challenge")
    if token is None or challenge is None:
        text = (
            "A GET here is an endpoint verification: `challenge` and `verification-token` are needed. A"
            " search is `{base}/{Type}?…`, a page link is followed as it stands."
        )
        raise _refusal(Category.INCORRECT, text, code="required")
    return await _answer(request, verification.Challenge(token, challenge), tenant)


async def _answer(request: web.Request, asked: verification.Challenge, tenant: Tenant) -> web.StreamResponse:
    """The challenge, to who knows the token; it is told to nobody else."""
    verified = await request.app[DOORKEEPER].verified(asked.token, tenant)
    request.app[METRICS].verification("challenge", accepted=verified is not None)
    if verified is None:
        await count_guess(request)
        raise _refusal(Category.UNAUTHENTICATED, _NOT_VERIFIED, code="login")
    if not verification.CHALLENGE.fullmatch(asked.challenge):
        text = "A `challenge` is 1 to 200 letters, digits or `._~-`."
        raise _refusal(Category.INCORRECT, text, code="value")
    return verification.answer(asked.challenge)


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
    return (
        f"The token's scopes do not allow to {needed} resources of this type (`{letters}`); `dod token issue"
        " --scope …` makes one that does."
    )


def _refusal(category: Category, text: str, *, code: str | None = None) -> ServiceError:
    return ServiceError(category, Issue(code or category.value, text))
