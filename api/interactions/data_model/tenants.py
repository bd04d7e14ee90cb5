"""Tenant of a Data Model message: its destination, else its source, else its token says which tenant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from api.auth.principal import Principal
from api.http.app_keys import DOORKEEPER
from ingest.data_model.models import Envelope, fault, read
from ingest.feeds.handler import FEEDS
from ingest.feeds.sources import Source
from ingest.http.app_keys import PRINCIPAL, TENANT
from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.tenancy import Tenant, parse_tenant

if TYPE_CHECKING:
    from aiohttp import web

    from ingest.data_model.models import Meta
    from ingest.feeds.sources import Feeds
    from store.fhir.datatypes import JsonObject

DESTINATIONS: Final = "$.Meta.Destinations"
UNDECLARED: Final = "data-model"
"""Name of a source that no file declares."""
PRODUCTION: Final = "Production"


def meta_of(body: JsonObject) -> Meta:
    """The `Meta` of a message. Raises ServiceError."""
    meta: Meta = read(Envelope, body).Meta
    return meta


async def enter_tenant(request: web.Request, meta: Meta) -> None:
    """Have the request be one of the tenant that its message names. Raises ServiceError."""
    feeds = request.app[FEEDS]
    if TENANT in request:
        _refuse_elsewhere(feeds, meta, request[TENANT].tenant)
        return
    principal = request[PRINCIPAL]
    allowed = principal.tenants if isinstance(principal, Principal) else frozenset()
    tenant = tenant_of(feeds, meta, allowed)
    settings = await request.app[DOORKEEPER].tenant(tenant)
    if settings is None:
        text = "This tenant was never created: `dod tenant create`."
        raise ServiceError(Category.NOT_FOUND, Issue("not-found", text, (DESTINATIONS,)))
    request[TENANT] = settings
    request.match_info["organization"] = tenant.organization
    request.match_info["environment"] = tenant.environment


def tenant_of(feeds: Feeds, meta: Meta, allowed: frozenset[Tenant]) -> Tenant:
    """The tenant that a message is for, one of those that the token is for. Raises ServiceError."""
    if any(_is_elsewhere(feeds, one.ID, allowed) for one in meta.Destinations):
        raise _unknown()
    found = {tenant for one in meta.Destinations if (tenant := _named(feeds, one.ID, one.Name, allowed))}
    if not found and not meta.Destinations:
        found = {
            one.tenant for one in feeds.sources if meta.Source.ID in one.data_model and one.tenant in allowed
        }
    if not found and len(allowed) == 1:
        found = {one for one in allowed if _is_free(feeds, meta, one)}
    if len(found) == 1:
        return found.pop()
    if found:
        raise _refusal("name several tenants: send the message to each of them", Category.INCORRECT, "value")
    raise _unknown()


def _unknown() -> ServiceError:
    """The refusal of a destination that is not the token's, be it somebody else's or nobody's."""
    rule = (
        "name no destination of this token: `Meta.Destinations[].ID` is one that the sources file"
        " (`DOD_MLLP_SOURCES`) declares as `[[destination]]`, or `ORG/ENV` itself"
    )
    return _refusal(rule, Category.FORBIDDEN, "forbidden")


def _is_elsewhere(feeds: Feeds, name: str | None, allowed: frozenset[Tenant]) -> bool:
    """Whether a destination is a tenant, by the sources file or by its name, and none of these."""
    declared = {tenant for known, tenant in feeds.destinations if known == name}
    if declared:
        return declared.isdisjoint(allowed)
    try:
        return parse_tenant(name or "") not in allowed
    except ValueError:
        return False


def _named(feeds: Feeds, name: str | None, text: str | None, allowed: frozenset[Tenant]) -> Tenant | None:
    for known, tenant in feeds.destinations:
        if known == name and tenant in allowed:
            return tenant
    for one in (name, text):
        try:
            tenant = parse_tenant(one or "")
        except ValueError:
            continue
        if tenant in allowed:
            return tenant
    return None


def _is_free(feeds: Feeds, meta: Meta, tenant: Tenant) -> bool:
    """Whether a destination that nothing declares may be the only tenant of a token."""
    declared = {name for name, _ in feeds.destinations}
    if any(one.ID in declared for one in meta.Destinations):
        return False
    return not meta.Destinations or all(there != tenant for _, there in feeds.destinations)


def _refuse_elsewhere(feeds: Feeds, meta: Meta, tenant: Tenant) -> None:
    """Refuse a message whose destination is another tenant than that of the URL."""
    if any(_is_elsewhere(feeds, one.ID, frozenset({tenant})) for one in meta.Destinations):
        raise _refusal("name another tenant than the URL does", Category.FORBIDDEN, "forbidden")


def source_of(request: web.Request, meta: Meta) -> Source:
    """The declared source of a message, else one with the default profile. Raises ServiceError."""
    tenant, name = request[TENANT].tenant, meta.Source.ID
    declared = [one for one in request.app[FEEDS].sources if name in one.data_model]
    if declared and all(one.tenant != tenant for one in declared):
        issue = fault("$.Meta.Source.ID", "is declared for another tenant", "forbidden")
        raise ServiceError(Category.FORBIDDEN, issue)
    return next((one for one in declared if one.tenant == tenant), Source(UNDECLARED, tenant))


def refuse_test(request: web.Request, meta: Meta) -> None:
    """Refuse a test message in Production. Raises ServiceError."""
    if meta.Test == "true" and request[TENANT].tenant.environment == PRODUCTION:
        rule = "is true: test messages never go into Production"
        raise ServiceError(Category.FORBIDDEN, fault("$.Meta.Test", rule, "business-rule"))


def _refusal(rule: str, category: Category, code: str) -> ServiceError:
    return ServiceError(category, fault(DESTINATIONS, rule, code))
