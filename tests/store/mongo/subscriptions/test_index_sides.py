"""Index sides of resources: of what is there, and with the fields that are asked for alone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from store.resources.resource_keys import ResourceKey
from tests.support.fhir import report
from tests.support.store import OTHER, put
from tests.support.subscriptions import LAB, bench

if TYPE_CHECKING:
    from store.mongo.driver.client import Database


async def test_a_side_has_the_fields_that_are_asked_for(database: Database) -> None:
    async with bench(database) as on:
        await put(on.resources, report("r1", "p1", status="final"), tenant=LAB)
        keys = [ResourceKey("DiagnosticReport", "r1"), ResourceKey("DiagnosticReport", "gone")]
        for fields in (set(), {"id"}, {"index.patient"}, {"index.patient", "index.status", "type"}):
            sides = await on.ports.sources.sides.sides(LAB, keys, fields)
            [(name, side)] = sides.items()
            assert (name, side.type, side.id) == ("DiagnosticReport/r1", "DiagnosticReport", "r1")
            assert {f"index.{field}" for field in side.fields} == fields - {"id", "type"}
            assert ("Patient/p1" in side.values("index.patient")) == ("index.patient" in fields)


async def test_who_asks_at_the_same_moment_is_answered_what_was_asked(database: Database) -> None:
    async with bench(database) as on:
        asked = (("r1", LAB, "index.patient"), ("r2", LAB, "index.status"), ("r1", OTHER, "index.status"))
        for id, tenant, _ in asked:
            await put(on.resources, report(id, f"{id}-{tenant.environment}"), tenant=tenant)
        sides = on.ports.sources.sides.sides
        keys = [ResourceKey("DiagnosticReport", id) for id, _, _ in asked]
        some = (sides(tenant, [key], {field}) for key, (_, tenant, field) in zip(keys, asked, strict=True))
        for found, (id, _, field) in zip(await asyncio.gather(*some), asked, strict=True):
            assert list(found) == [f"DiagnosticReport/{id}"]
            assert found[f"DiagnosticReport/{id}"].values(field)
        assert await sides(LAB, [], {"index.status"}) == {}
