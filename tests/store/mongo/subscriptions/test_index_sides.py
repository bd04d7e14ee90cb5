"""Index sides of resources: of what is there, and with the fields that are asked for alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from store.resources.resource_keys import ResourceKey
from tests.support.fhir import report
from tests.support.store import put
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
