"""Retention, tenants and clients over HTTP: what an admin of a tenant is told, and of whom never."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry

from api.auth.scopes import ADMIN
from api.auth.tokens import digest, new_grant, new_token
from api.http.app_keys import POLICIES, STORES
from store.retention.declared import declared
from store.retention.metrics import RetentionMetrics
from tests.support.fhir import patient, report
from tests.support.oauth import key
from tests.support.service import opened_service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import web

    from store.mongo.driver.client import Database
    from tests.support.service import Service

SENTINEL = "sentinel-5528"
"""A patient's value."""
PATHS = ("$retention", "$retention-plan", "$tenants", "$clients")


@pytest.fixture
async def service(mongodb: str, database: Database) -> AsyncIterator[Service]:
    """A service on a database of its own: its receipts and tenants are all there are."""
    async with opened_service(mongodb, mongodb_database=database.name) as opened:
        yield opened


def app_of(service: Service) -> web.Application:
    assert service.client.app is not None
    return service.client.app


async def swept(service: Service) -> None:
    """A run of the sweep, over all tenants."""
    sweeping = app_of(service)[STORES].sweeping
    assert await sweeping.run(pace=sweeping.pace(budget=False), metrics=RetentionMetrics(CollectorRegistry()))


async def test_retention_of_the_own_tenant(service: Service, few_places: None) -> None:
    other = await service.new_tenant()
    kept = declared({"keep_days": 30, "rules": [{"type": "Patient", "without_end": True}]})
    for tenant in (service.tenant, other.tenant):
        await app_of(service)[POLICIES].put(tenant, kept, instead_of=0)
    admin = await service.with_token(scopes=[ADMIN])
    told = (await admin.get("$retention")).body
    assert told["tenant"] == str(service.tenant)
    assert (told["policy"]["version"], told["policy"]["keepDays"]) == (1, 30)
    assert told["policy"]["rules"][0]["type"] == "Patient"
    assert told["policy"]["rules"][0]["keepDays"] is None
    for one in (service, other):
        await one.load(patient("p1"), report("r1", conclusion=SENTINEL))
    await other.load(report("r2"))
    service.clock.move(days=31)
    admin = await service.with_token(scopes=[ADMIN])
    plan = (await admin.get("$retention-plan")).body
    assert [(one["type"], one["reason"], one["count"]) for one in plan["deleted"]] == [
        ("DiagnosticReport", "retention", 1)
    ]
    assert "tenant" not in plan["deleted"][0]
    await swept(service)
    answer = await admin.get("$retention")
    (receipt,) = answer.body["receipts"]
    # The run deleted of both; of the other tenant nothing is told, so the hash cannot be checked here.
    assert [(one["tenant"], one["count"]) for one in receipt["deleted"]] == [(str(service.tenant), 1)]
    assert receipt["whole"] is False
    assert str(other.tenant) not in answer.text
    assert SENTINEL not in answer.text
    assert (await admin.get("$retention-plan")).body["deleted"] == []
    (newest,) = (await admin.get("$retention?count=1")).body["receipts"]
    assert newest["number"] == receipt["number"]
    assert (await admin.get("$retention?count=0")).status == 400


async def test_tenants_and_clients_of_the_token_alone(service: Service) -> None:
    other, third = await service.new_tenant(), await service.new_tenant()
    mine = await service.register(key("one"), tenants=(service.tenant, other.tenant), name="Mine")
    await service.register(key("two"), tenants=(other.tenant,), name="Not mine")
    token = new_token()
    both = new_grant(
        token=token,
        client="of both",
        tenants=[service.tenant, third.tenant],
        scopes=[ADMIN],
        now=service.clock(),
        days=1,
    )
    await service.access.put_grant(both)
    admin = await service.with_token(scopes=[ADMIN])
    told = (await admin.get("$tenants")).body["tenants"]
    assert [one["tenant"] for one in told] == [str(service.tenant)]
    assert told[0]["searchScope"] in ("patient", "any")
    answer = await admin.get("$clients")
    (client,) = answer.body["clients"]
    assert (client["id"], client["name"], client["state"]) == (mine.id, "Mine", "enabled")
    assert client["tenants"] == [str(service.tenant)]
    assert (client["keys"][0]["kid"], client["proof"]) == (mine.keys[0].kid, "registered keys")
    shown = {one["client"]: one for one in answer.body["tokens"]}
    assert shown["of both"]["digest"] == digest(token)[:12]
    assert shown["of both"]["expired"] is False
    for hidden in (str(other.tenant), str(third.tenant), "Not mine", token, digest(token), '"x"', '"n"'):
        assert hidden not in answer.text, hidden
    # A token for two tenants is told of both, at the base of either.
    wide = type(service)(service.client, service.clock, third.tenant, {"Authorization": f"Bearer {token}"})
    told = (await wide.get("$tenants")).body["tenants"]
    assert {one["tenant"] for one in told} == {str(service.tenant), str(third.tenant)}
    assert {one["client"] for one in (await wide.get("$clients")).body["tokens"]} >= {"of both"}


@pytest.mark.parametrize("path", PATHS)
async def test_who_may_not_operate_is_told_nothing(service: Service, path: str) -> None:
    for scopes in (["system/*.cruds"], ["dod/audit"], ["dod/push"]):
        answer = await (await service.with_token(scopes=scopes)).get(path)
        assert answer.status == 403
        assert "resourceType" in answer.body
    admin = await service.with_token(scopes=[ADMIN])
    answer = await admin.get(path)
    assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store")
    described = (await service.get("openapi.json")).body["paths"][f"/{path}"]["get"]
    assert [one["name"] for one in described.get("parameters", [])] == (
        ["count"] if path == "$retention" else []
    )
