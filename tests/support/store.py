"""The resource store on a real MongoDB, fed with what ingest would make and asked what the API would ask."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson
from prometheus_client import CollectorRegistry

from ingest.pipeline.prepare import prepare
from store.fhir.instants import from_datetime
from store.metrics import StoreMetrics
from store.mongo.resources.resources import MongoResources
from store.mongo.retention.policy_rollout import Settling
from store.mongo.rules.policies import Policies
from store.resources.resource_keys import ResourceKey
from store.resources.versions import Outcome, Stored
from store.search.criteria import Total
from store.search.parsing.context import SearchContext, SearchLimits
from store.search.parsing.parse import parse
from store.settings import StoreSettings
from store.tenancy import Tenant
from tests.support.remembered import remember_policies

if TYPE_CHECKING:
    from collections.abc import Callable

    from store.mongo.driver.client import Database
    from store.resources.pages import Entry, Page
    from store.resources.resources import ResourceStore
    from store.resources.versions import Prepared, PutResult
    from store.retention.policy import Policy
    from store.search.criteria import Position, SearchQuery

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
LAB = Tenant("lab", "Production")
OTHER = Tenant("other", "Production")
BASE = "https://dod.example/fhir/R4/lab/Production"
REPORT = ResourceKey("DiagnosticReport", "r1")


def metrics() -> StoreMetrics:
    return StoreMetrics(CollectorRegistry())


def mongo_store(
    database: Database, *, clock: Callable[[], datetime] = lambda: NOW, **settings: Any
) -> MongoResources:
    chosen = StoreSettings(**{"mongodb_database": database.name, "policy_cache_seconds": 0, **settings})
    counted = metrics()
    policies = remember_policies(Policies(database, settings=chosen, metrics=counted))
    return MongoResources(database, settings=chosen, clock=clock, metrics=counted, policies=policies)


def mongo_policies(database: Database) -> Policies:
    """The policies of all tenants, asked for each time."""
    chosen = StoreSettings(mongodb_database=database.name, policy_cache_seconds=0)
    return Policies(database, settings=chosen, metrics=metrics())


def mongo_settling(database: Database, *, clock: Callable[[], datetime] = lambda: NOW) -> Settling:
    """Job that brings stored documents up to a changed policy."""
    chosen, policies = StoreSettings(mongodb_database=database.name), mongo_policies(database)
    return Settling(database, policies=policies, settings=chosen, clock=clock, metrics=metrics())


async def let(database: Database, policy: Policy, *, tenant: Tenant = LAB) -> Policy:
    """The policy of a tenant from now on."""
    policies = mongo_policies(database)
    now = await policies.retention(tenant)
    return await policies.put(tenant, policy, instead_of=now.policy.version)


def prepared(resource: dict[str, Any], **conditions: Any) -> Prepared:
    """The resource as ingest hands it to the store."""
    return prepare(resource, resource["id"], base=BASE).prepared._replace(**conditions)


async def put(store: ResourceStore, *resources: dict[str, Any], tenant: Tenant = LAB) -> list[PutResult]:
    return await store.put_many(tenant, [prepared(one) for one in resources])


async def put_one(store: ResourceStore, resource: dict[str, Any], **conditions: Any) -> PutResult:
    [result] = await store.put_many(LAB, [prepared(resource, **conditions)])
    return result


def asked(
    text: str,
    *,
    type: str = "DiagnosticReport",
    count: int | None = None,
    total: Total = Total.BOUNDED,
    position: Position | None = None,
    now: datetime = NOW,
) -> SearchQuery:
    """The query of `name=value&…`; no percent-encoding."""
    pairs = [(name, value) for name, _, value in (part.partition("=") for part in text.split("&")) if name]
    context = SearchContext(SearchLimits(), BASE, from_datetime(now).start, strict=True)
    query = parse(type, pairs, context).query
    return replace(query, count=query.count if count is None else count, total=total, position=position)


async def found(
    store: ResourceStore, text: str, *, type: str = "DiagnosticReport", tenant: Tenant = LAB
) -> list[str]:
    """The ids of all matches, in order."""
    page = await store.search(tenant, asked(text, type=type, count=1_000))
    assert page.total == len(page.entries)
    return ids(page.entries)


async def every_page(store: ResourceStore, text: str, *, size: int, tenant: Tenant = LAB) -> list[Page]:
    """The pages of a search, by following `next`."""
    pages = [await store.search(tenant, asked(text, count=size))]
    while pages[-1].next is not None:
        pages.append(await store.search(tenant, asked(text, count=size, position=pages[-1].next)))
    return pages


def ids(entries: tuple[Entry, ...]) -> list[str]:
    return [entry.key.id for entry in entries]


def stored(found: object) -> Stored:
    """The resource is there."""
    assert isinstance(found, Stored)
    return found


def content(found: object) -> dict[str, Any]:
    """The resource that was read."""
    body = orjson.loads(stored(found).raw)
    assert isinstance(body, dict)
    return body


def outcomes(results: list[PutResult]) -> list[Outcome]:
    return [result.outcome for result in results]
