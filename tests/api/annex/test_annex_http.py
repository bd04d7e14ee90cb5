"""The annex: large bodies are answered by a process of their own, exactly as a thread would answer them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from api.processes.ended import FOLDER_VARIABLE
from tests.api.annex.annexed import SECONDS, Push, running, until
from tests.support.collector import Collector
from tests.support.fhir import batch, message, patient, report
from tests.support.hl7v2 import PID, obr, obx
from tests.support.hl7v2 import message as v2
from tests.support.proc import is_running

if TYPE_CHECKING:
    import httpx

    from store.mongo.driver.client import Client

LARGE = 70_000
NOTE: dict[str, Any] = {"extension": [{"url": "urn:x", "valueString": "made up " * LARGE}]}
ONCE = {"Idempotency-Key": "once"}
NEW = {"date", "x-request-id", "dead-letter", "location", "last-modified", "content-length"}
"""Header fields that are others each time."""


def _transaction(*requests: tuple[str, str, Any]) -> Any:
    return {**batch(*requests), "type": "transaction"}


_REPORT = report("r1", **NOTE)
_MESSAGE = message(report("m", **NOTE), patient("p1"))
_BATCH = batch(("PUT", "Patient/p2", patient("p2", **NOTE)), ("GET", "Patient/p2", None))
_PATCH = [{"op": "add", "path": "/conclusion", "value": "x" * LARGE}]
_V2 = v2(PID, obr(), obx("718-7^Hb^LN", "made up " * LARGE, kind="TX"))
_DOCUMENT = {"resourceType": "Binary", "id": "b", "contentType": "a/b", "data": "QUJD" * LARGE}
_JSON = {"Content-Type": "application/json"}
_RESULTS = json.loads(Path("samples/results-new.txt").read_text())
_RESULTS["Meta"]["Destinations"] = []  # Its token is for one tenant.
_RESULTS["Unmapped"] = "x" * LARGE
PUSHES = {
    "update": Push(201, "PUT", "DiagnosticReport/r1", _REPORT),
    "the same again": Push(200, "PUT", "DiagnosticReport/r1", _REPORT),
    "another version": Push(412, "PUT", "DiagnosticReport/r1", _REPORT, {"If-Match": 'W/"9"'}),
    "create": Push(201, "POST", "DiagnosticReport", _REPORT),
    "create once": Push(201, "POST", "DiagnosticReport", _REPORT, ONCE),
    "create once again": Push(201, "POST", "DiagnosticReport", _REPORT, ONCE),
    "another under its key": Push(422, "POST", "DiagnosticReport", {**_REPORT, "id": "r2"}, ONCE),
    "patch": Push(200, "PATCH", "DiagnosticReport/r1", _PATCH, _JSON),
    "message": Push(200, "POST", "$process-message", _MESSAGE),
    "message again": Push(200, "POST", "$process-message", _MESSAGE),
    "batch": Push(200, "POST", "", _BATCH),
    "transaction": Push(200, "POST", "", _transaction(("PUT", "Patient/p3", patient("p3", **NOTE)))),
    "refused transaction": Push(400, "POST", "", _transaction(("PUT", "Patient/p4", patient("p5", **NOTE)))),
    "document": Push(201, "PUT", "Binary/b", _DOCUMENT),
    "HL7 v2": Push(200, "POST", "$hl7v2", _V2, {"Content-Type": "application/hl7-v2"}),
    "Data Model": Push(200, "POST", "/endpoint", _RESULTS, _JSON),
    "Data Model without Meta": Push(400, "POST", "$data-model", {"Orders": ["x" * LARGE]}, _JSON),
    "no JSON": Push(400, "POST", "DiagnosticReport", b"{" + b" " * LARGE),
    "nested": Push(400, "POST", "DiagnosticReport", b"[" * 9_000 + b" " * LARGE),
    "another type": Push(400, "PUT", "Patient/p9", _REPORT),
    "too many values": Push(413, "POST", "DiagnosticReport", {**report(), "result": [{}] * LARGE}),
    "many objects": Push(200, "POST", "", batch(*[("GET", "Patient/nobody", None)] * 2_000)),
    "strict": Push(422, "PUT", "Patient/p8", {**patient("p8", **NOTE), "birthDate": "x"}),
}


def told(answer: httpx.Response) -> object:
    """The answer, without what is new each time."""
    ids = r"org-[0-9a-f]{12}|file-[0-9a-f]{40}|[0-9a-f]{8}-[0-9a-f-]{27}|127\.0\.0\.1:\d+"
    fresh = rf"{ids}|\d{{4}}-\d\d-\d\dT[^\"]*|20\d{{12}}[^|]*"
    headers = sorted((name, value) for name, value in answer.headers.items() if name not in NEW)
    return "Dead-Letter" in answer.headers, headers, re.sub(fresh, "", answer.text)


async def test_the_annex_answers_as_a_thread_does(mongodb: str, mongo_client: Client, tmp_path: Path) -> None:
    async with (
        running(mongodb, tmp_path / "annex") as ours,
        running(mongodb, tmp_path / "thread", DOD_LARGE_BODY_BYTES="0") as other,
    ):
        small = Push(201, "PUT", "Patient/p0", patient("p0"))
        assert (await ours.push(small)).status_code == (await other.push(small)).status_code == 201
        assert ours.annexes() == []  # Begun when it is needed.
        asked = []
        for name, push in PUSHES.items():
            answer, expected = await ours.push(push), await other.push(push)
            assert (name, answer.status_code) == (name, push.status), answer.text
            assert (name, told(answer)) == (name, told(expected))
            asked.append(answer.headers["X-Request-Id"])
        assert (len(ours.annexes()), other.annexes()) == (1, [])

        # Each is on record, in the log, and counted: once.
        trail = mongo_client[ours.database]["audit"]
        assert set(await trail.distinct("request", {"request": {"$in": asked}})) == set(asked)
        alike = mongo_client[other.database]["audit"]
        assert await trail.count_documents({}) == await alike.count_documents({})
        async with asyncio.timeout(SECONDS):
            while not set(asked) <= set(logged := ours.logged()):  # noqa: ASYNC110 -- of another process
                await asyncio.sleep(0.05)
        assert set(logged.values()) == {str(ours.lab.tenant)}
        mine, theirs = await ours.counted(), await other.counted()
        assert {name: mine[name] for name in theirs if is_count(name)} == {
            name: value for name, value in theirs.items() if is_count(name)
        }
        assert mine["dod_annex_running"] == 1


def is_count(name: str) -> bool:
    """Whether a series counts pushes, and not how long they took."""
    families = "dod_http_requests_total", "dod_dead_letters_total", "dod_ingest", "dod_source_pushes"
    return name.startswith(families) and not re.search(r"_sum|_bucket|seconds", name)


async def test_a_killed_annex_costs_what_it_had_and_is_followed_by_another(
    mongodb: str, tmp_path: Path
) -> None:
    collector = Collector()
    async with (
        collector as address,
        running(mongodb, tmp_path / "annex", DOD_OTLP_ENDPOINT=address, DOD_TRACE_SHARE="1") as service,
    ):
        push = PUSHES["update"]
        assert (await service.push(push)).status_code == 201
        [first] = service.annexes()
        os.kill(first, signal.SIGSTOP)
        waiting = asyncio.ensure_future(service.push(PUSHES["create"]))
        small = Push(201, "PUT", "Patient/p0", patient("p0"))
        assert (await service.push(small)).status_code == 201  # Nobody else waits for it.
        await until(service, lambda counted: counted["dod_http_requests_in_flight"] == 1)
        os.kill(first, signal.SIGKILL)
        answer = await waiting
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        assert answer.json()["issue"][0]["code"] == "transient"
        async with asyncio.timeout(SECONDS):
            while (answer := await service.push(push)).status_code == 503:  # noqa: ASYNC110 -- another process
                await asyncio.sleep(0.1)
        assert answer.status_code == 200
        [second] = service.annexes()
        assert second != first
        counted = await service.counted()
        assert counted['dod_annex_ends_total{how="killed"}'] == 1
        assert counted["dod_annex_running"] == 1
        assert counted['dod_ingest_phase_seconds_count{phase="parse"}'] >= 3  # What it counted stays.

        # The service ends when what the annex has under way is answered, and the annex with it.
        os.kill(second, signal.SIGSTOP)
        waiting = asyncio.ensure_future(service.push(PUSHES["create"]))
        await until(service, lambda counted: counted["dod_http_requests_in_flight"] == 1)
        service.process.process.terminate()
        os.kill(second, signal.SIGCONT)
        assert (await waiting).status_code == 201
        assert await asyncio.wait_for(service.process.process.wait(), SECONDS) == 0
        assert not is_running(second)

        # The annex's part of a request is a part of its trace.
        ours, theirs = (
            [one for one in collector.spans if one.name.startswith(("PUT ", "POST ")) and one_of(one)]
            for one_of in (lambda one: not one.parent_span_id, lambda one: one.parent_span_id)
        )
        assert {one.parent_span_id for one in theirs} <= {one.span_id for one in ours}
        assert {one.trace_id for one in theirs} <= {one.trace_id for one in ours}
        assert theirs


async def test_who_tidies_up_temporary_directories_costs_one_annex(mongodb: str, tmp_path: Path) -> None:
    async with running(mongodb, tmp_path / "annex") as service:
        push = PUSHES["update"]
        assert (await service.push(push)).status_code == 201
        [first] = service.annexes()
        shutil.rmtree(folder_of(first))
        assert (await service.push(push)).status_code == 503
        async with asyncio.timeout(SECONDS):
            while (answer := await service.push(push)).status_code == 503:  # noqa: ASYNC110 -- another process
                await asyncio.sleep(0.1)
        assert answer.status_code == 200
        [second] = service.annexes()
        assert second != first


def folder_of(pid: int) -> str:
    told = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return dict(one.split("=", 1) for one in told if one)[FOLDER_VARIABLE]
