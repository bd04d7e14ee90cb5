"""While MongoDB is away or pushes are too many: 503 at once, nothing half-done, back without a restart."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp.test_utils import TestClient

from api.health import create_admin_app
from api.http.app_keys import REGISTRY
from ingest.http.admission import ADMISSION, Admission, Room, Shares
from tests.support.fhir import message, report
from tests.support.lines import logged
from tests.support.mongod import frozen, line, step_down
from tests.support.server import Server
from tests.support.service import FHIR, FORM, answered, opened_service

if TYPE_CHECKING:
    from store.mongo.embedded import Embedded
    from tests.support.service import Answer, Service

SHORT: dict[str, Any] = {"access_cache_seconds": 60, "store_timeout_seconds": 0.5}
"""The absence of the database shows soon, and the token is remembered."""


@pytest.fixture
def service(own_service: Service) -> Service:
    """A service of its own: its room is changed."""
    return own_service


def is_busy(answer: Answer) -> None:
    assert (answer.status, answer.issues) == (503, [("error", "transient")]), answer.text
    assert int(answer.headers["Retry-After"]) >= 1


async def back(service: Service, resource: dict[str, Any], *, within: float = 60) -> Answer:
    """The first answer that is no refusal; it must come in time."""
    until = monotonic() + within
    while (answer := await service.put(resource)).status in (503, 504):
        assert monotonic() < until, "still refused"
    return answer


def rejected(service: Service, reason: str) -> float:
    assert service.client.app is not None
    registry = service.client.app[REGISTRY]
    return registry.get_sample_value("dod_store_pushes_rejected_total", {"reason": reason}) or 0


def admission_of(service: Service) -> Admission:
    assert service.client.app is not None
    return service.client.app[ADMISSION]


async def versions(service: Service, path: str) -> int:
    """Number of versions that were made of it."""
    return int((await answered(service.get, path)).headers["ETag"].strip('W/"'))


async def test_a_frozen_database_refuses_pushes_at_once_and_is_back_by_itself(frail_mongod: Embedded) -> None:
    async with opened_service(frail_mongod.uri, **SHORT) as service:
        await back(service, report("r1"))
        assert service.client.app is not None
        async with TestClient(Server(create_admin_app(service.client.app))) as admin:
            with frozen(frail_mongod.pid), logged() as lines:
                assert (await service.put(report("r2"))).status in (503, 504)
                before = len(lines.raw)
                # From the first failure on nobody waits, whatever is pushed: no deadline of the store passes.
                for answer in await asyncio.gather(
                    *(service.put(report(f"n{n}")) for n in range(50)),
                    service.create(report()),
                    service.delete("DiagnosticReport/r1"),
                    service.request("POST", "$process-message", message(report())),
                    service.request("POST", "", {"resourceType": "Bundle", "type": "batch"}),
                ):
                    is_busy(answer)
                assert rejected(service, "away") == 54
                assert not [one for one in lines.parsed[before:] if one.get("exception")], "no tracebacks"
                readyz = await admin.get("/readyz")
                assert (readyz.status, (await readyz.json())["database"]) == (503, False)
        assert (await back(service, report("r2"))).status in (200, 201)
        assert await versions(service, "DiagnosticReport/r2") == 1
        assert [(await service.get(f"DiagnosticReport/{one}")).status for one in ("n0", "r1")] == [404, 200]


async def test_connections_that_are_cut_lose_and_double_nothing(
    frail_mongod: Embedded, tmp_path: Path
) -> None:
    async with (
        line(frail_mongod.uri, tmp_path) as connection,
        opened_service(connection.uri, **SHORT) as service,
    ):
        seen = set[int]()
        for number in range(3):
            pushes = [asyncio.ensure_future(service.put(report(f"r{number}-{n}"))) for n in range(20)]
            await asyncio.wait(pushes, return_when=asyncio.FIRST_COMPLETED)
            await connection.cut()
            answers = [await push for push in pushes]
            seen |= {answer.status for answer in answers}
            assert seen <= {201, 503, 504}
            assert (await service.put(report("while-away"))).status in (503, 504)
            await connection.mend()
            for n, answer in enumerate(answers):
                again = await back(service, report(f"r{number}-{n}"))
                assert again.status == 200 if answer.status == 201 else again.status in (200, 201)
                assert await versions(service, f"DiagnosticReport/r{number}-{n}") == 1
        assert 201 in seen  # On a busy machine all of one round may be late.


async def test_a_primary_that_steps_down_costs_a_while_and_nothing_else(frail_mongod: Embedded) -> None:
    async with opened_service(frail_mongod.uri, **SHORT) as service:
        await back(service, report("r1"))
        pushes = [asyncio.ensure_future(service.put(report(f"s{n}"))) for n in range(20)]
        await step_down(frail_mongod.uri, 1)
        answers = [await push for push in pushes]
        assert {answer.status for answer in answers} <= {201, 503, 504}
        await back(service, report("after"), within=15)  # The election is mongod's to hold.
        for n, answer in enumerate(answers):
            again = await back(service, report(f"s{n}"))  # A busy machine may be late once more.
            assert again.status == 200 if answer.status == 201 else again.status in (200, 201)
            assert await versions(service, f"DiagnosticReport/s{n}") == 1


async def test_bodies_under_way_are_bounded_by_their_bytes(frail_mongod: Embedded) -> None:
    """Pushes held up by a frozen database: more of them find no room, before they are read."""
    large: dict[str, Any] = {"conclusion": "x" * 400_000}
    whole = {"push_bytes_max": 1_000_000, "push_tenant_share": 1, "push_client_share": 1}
    wanted = {**SHORT, "store_timeout_seconds": 3.0, **whole}
    async with opened_service(frail_mongod.uri, **wanted) as service:
        assert service.client.app is not None
        admission = service.client.app[ADMISSION]
        await service.load(report("r1"))
        with frozen(frail_mongod.pid):
            held = [asyncio.ensure_future(service.put(report(f"h{n}", **large))) for n in range(2)]
            while admission.bytes < 800_000:  # noqa: ASYNC110 (until they arrived; the service says so to nobody)
                await asyncio.sleep(0.005)
            for answer in [
                await service.put(report("h3", **large)),
                await service.request(
                    "PUT",
                    "DiagnosticReport/h4",
                    data=gzip.compress(json.dumps(report("h4", **large)).encode()),
                    headers={"Content-Encoding": "gzip"},
                ),
            ]:
                is_busy(answer)
            assert rejected(service, "bodies") == 2
            assert admission.bytes <= 1_000_000
            assert {answer.status for answer in await asyncio.gather(*held)} <= {503, 504}
        await back(service, report("r2"))
        assert admission.bytes == 0


@pytest.mark.parametrize(
    ("path", "content_type"),
    [("Binary/b1", "application/pdf"), ("Binary/b1", FHIR), ("DiagnosticReport/r1", FHIR)],
)
async def test_a_document_takes_room_as_any_body_does(service: Service, path: str, content_type: str) -> None:
    admission = admission_of(service)
    admission._shares = {False: Shares(10**6, 10**6, 10**6), True: Shares(1_000, 1_000, 1_000)}
    with Room(admission, "others/Production", "others") as others:  # Under way.
        others.take(900)
        data = b"x" * 500
        answer = await service.request("PUT", path, data=data, content_type=content_type)
        is_busy(answer)
        assert (rejected(service, "bodies"), admission.bytes) == (1, 900)


@pytest.mark.parametrize("encoded", [False, True])
async def test_one_body_alone_is_let_in_however_large(service: Service, encoded: bool) -> None:
    admission = admission_of(service)
    admission._shares = dict.fromkeys((False, True), Shares(1_000, 1_000, 1_000))
    body = json.dumps(report("large", conclusion="x" * 5_000)).encode()
    headers = {"Content-Encoding": "gzip"} if encoded else {}
    data = gzip.compress(body) if encoded else body
    answer = await service.request("PUT", "DiagnosticReport/large", data=data, headers=headers)
    assert (answer.status, admission.bytes) == (201, 0)


async def test_a_compressed_body_past_the_limit_is_413_and_leaves_no_room_taken(mongodb: str) -> None:
    async with opened_service(mongodb, body_bytes_max=10_000) as service:
        bomb = gzip.compress(json.dumps(report("bomb", conclusion="x" * 50_000)).encode())
        answer = await service.request(
            "PUT", "DiagnosticReport/bomb", data=bomb, headers={"Content-Encoding": "gzip"}
        )
        assert service.client.app is not None
        assert (answer.status, service.client.app[ADMISSION].bytes) == (413, 0)


@pytest.mark.parametrize(
    ("method", "path", "content_type"),
    [
        ("PUT", "DiagnosticReport/r1", FHIR),
        ("PUT", "Binary/b1", "application/pdf"),
        ("POST", "$process-message", FHIR),
        ("POST", "DiagnosticReport/_search", FORM),
    ],
)
async def test_a_body_that_does_not_come_is_not_waited_for(
    mongodb: str, method: str, path: str, content_type: str
) -> None:
    async with opened_service(mongodb, body_seconds=0.05) as service:
        assert service.client.app is not None
        reader, writer = await asyncio.open_connection(service.client.host, service.client.port)
        head = [
            f"{method} {service.root}/{path} HTTP/1.1",
            "Host: 127.0.0.1",
            f"Content-Type: {content_type}",
        ]
        head += [f"{name}: {value}" for name, value in service.headers.items()]
        writer.write("\r\n".join([*head, "Content-Length: 100", "", "half of it"]).encode())
        answer = await reader.readuntil(b"\r\n\r\n")
        writer.close()
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert service.client.app[ADMISSION].bytes == 0
