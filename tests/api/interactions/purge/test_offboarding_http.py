"""A tenant leaves while its clients push: what was let in before is refused, or goes with the rest."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final

import pytest

from api.http.app_keys import DEAD_LETTERS, STORES
from ingest.http.app_keys import ATTACHMENTS
from store.dead_letters import Refused
from store.errors import Category, ServiceError
from store.files import NewFile
from store.retention.policy import Policy
from tests.api.interactions.purge.purged import anna
from tests.support.fhir import MRN, report
from tests.support.pauses import pausing
from tests.support.service import FHIR
from tests.support.store import NOW, prepared
from tests.support.sweeping import retention_metrics
from tests.support.wire import head, wire

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator

    from tests.api.interactions.purge.purged import World

STAYS: Final = frozenset({"tenants", "audit", "receipts", "runs", "leases"})
"""Collections with what stays of a tenant: its name, what officers did, and the proof."""


async def close(world: World) -> None:
    await world.privacy.offboarding.close(world.service.tenant, reason="asked", by="tests", wait_seconds=0)


async def left(world: World) -> set[str]:
    """Collections in which something of the tenant is."""
    name, found = str(world.service.tenant), set()
    for collection in set(await world.database.list_collection_names()) - STAYS:
        wanted = {"$or": [{"tenant": name}, {"_id": name}, {"_id": {"$gt": f"{name}/", "$lt": f"{name}0"}}]}
        if await world.database[collection].find_one(wanted) is not None:
            found.add(collection)
    return found


@pytest.mark.parametrize("path", ["DiagnosticReport/r1", "DiagnosticReport", "$process-message", "Binary"])
async def test_a_push_whose_body_arrives_later_is_refused(world: World, path: str) -> None:
    body = json.dumps(report("r1")).encode()
    method = "PUT" if path.endswith("r1") else "POST"
    headers = {**world.service.headers, "Content-Type": FHIR, "Content-Length": str(len(body))}
    async with wire(world.service.client) as line:
        await line.send(head(method, f"{world.service.root}/{path}", headers), body[:10])
        await world.service.load(report("other"))  # By now the other one has been let in.
        await close(world)
        await line.send(body[10:])
        assert (await line.reply()).status in (401, 404)
    assert await left(world) == set()


async def test_nothing_is_stored_for_a_tenant_that_has_left(world: World) -> None:
    """A push that was let in before, and comes to the store later, among them."""
    app, tenant = world.service.client.app, world.service.tenant
    assert app is not None
    await world.service.load(report("r1"))
    await close(world)

    def pieces() -> Iterator[bytes]:
        yield b"content"

    refused = Refused(
        operation="create", method="POST", path="DiagnosticReport", headers={}, origin="http://x",
        client="tests", token_id="t", scopes={}, status=422, issues=(), body=b"{}", at=NOW,
    )  # fmt: skip
    late: list[Awaitable[Any]] = [
        world.service.resources.put_many(tenant, [prepared(report("r1"))]),
        app[ATTACHMENTS].put(tenant, [NewFile("f1", 7, b"0" * 20, None, pieces)]),
        app[DEAD_LETTERS].keep(tenant, refused),
    ]
    for one in late:
        with pytest.raises(ServiceError) as caught:
            await one
        assert caught.value.category is Category.GONE
    assert await left(world) == set()


async def test_pushes_of_all_kinds_while_a_tenant_leaves(world: World) -> None:
    turned_away = [asyncio.Event() for _ in range(4)]
    statuses: set[int] = set()

    async def push(number: int) -> None:
        for n in range(10_000):
            one = report(f"r{number}-{n % 7}", conclusion=f"{number} {n}")
            bundle = {
                "resourceType": "Bundle",
                "type": "transaction",
                "entry": [
                    {"resource": one, "request": {"method": "PUT", "url": f"DiagnosticReport/{one['id']}"}}
                ],
            }
            answers = [
                await world.service.put(one, idempotency_key=f"k{number}-{n}"),
                await world.service.request("POST", "", bundle),
                await world.service.create({**one, "status": "nonsense"}),
            ]  # fmt: skip
            statuses.update(answer.status for answer in answers)
            if all(answer.status in (401, 404, 410) for answer in answers):
                turned_away[number].set()
                return

    async def until_turned_away(_: float) -> None:
        await asyncio.gather(*(one.wait() for one in turned_away))

    pushing = [asyncio.ensure_future(push(number)) for number in range(4)]
    async with asyncio.timeout(60):
        await world.service.load(report("before"))
        with pausing("store.mongo.erasure.offboarding", until_turned_away):
            await close(world)
        await asyncio.gather(*pushing)
    assert statuses <= {200, 201, 401, 404, 410, 422}, statuses
    assert await left(world) == set()
    assert (await world.service.get("DiagnosticReport/before")).status in (401, 404, 410)


async def test_the_audit_of_a_tenant_that_has_left_names_no_patient_and_ends(
    world: World, few_places: None
) -> None:
    service = world.service
    await service.load(anna())
    await service.get("Patient/anna")
    await service.search(f"patient.identifier={MRN}|ANNA-4711")
    await service.search("family=Müßig-Überall", type="Patient")
    await service.keeps(Policy(audit_days=100))
    assert service.client.app is not None
    await service.client.app[STORES].sweeping.plan([service.tenant])  # The policy reaches what is there.
    await close(world)
    await service.get("Patient/anna")  # Somebody goes on asking.
    await service.put(anna())
    audit = world.database["audit"]
    own = {"tenant": str(service.tenant)}
    accesses = await audit.find({**own, "did": {"$in": ["read", "search", "update"]}}).to_list(None)
    assert len(accesses) >= 5
    assert all(not {"patients", "query", "unnamed"} & one.keys() for one in accesses)
    assert {one["resource"] for one in accesses} == {"Patient", "DiagnosticReport"}
    assert await world.left() == set()
    assert await audit.count_documents({**own, "did": "tenant closed"}) == 1
    service.clock.move(days=50)
    sweeping = service.client.app[STORES].sweeping
    assert await sweeping.run(pace=sweeping.pace(budget=False), metrics=retention_metrics())
    assert await audit.count_documents({**own, "did": "tenant closed"}) == 1
    service.clock.move(days=3_000)
    planned = await sweeping.plan()
    assert sum(count for found, count in planned.deleted.items() if found.row.tenant == str(service.tenant))
    assert await sweeping.run(pace=sweeping.pace(budget=False), metrics=retention_metrics())
    assert await audit.count_documents(own) == 0
