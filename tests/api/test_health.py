"""Answers to probes and Prometheus."""

from __future__ import annotations

import asyncio

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer, make_mocked_request

from api.health import create_admin_app, shared
from api.http.app_keys import READINESS
from api.readiness import Readiness
from store.errors import Category, ServiceError
from tests.support.edge import LAB_BASE, bearer, memory_access, serving


class Database:
    """Answers pings, or does not; counts them."""

    def __init__(self) -> None:
        self.answers = True
        self.pings = 0

    async def ping(self) -> None:
        self.pings += 1
        if not self.answers:
            raise ServiceError(Category.UNAVAILABLE)


def readiness(database: Database) -> Readiness:
    ready = Readiness(started=True)
    ready.watch(database.ping)
    return ready


async def test_ready_when_started_serving_and_the_database_answers() -> None:
    assert await readiness(Database()).state() == {
        "ready": True,
        "started": True,
        "serving": True,
        "database": True,
    }


async def test_each_reason_alone_makes_it_unready() -> None:
    silent = Database()
    silent.answers = False
    draining, starting = readiness(Database()), readiness(Database())
    draining.draining, starting.started = True, False
    for ready, reason in ((readiness(silent), "database"), (draining, "serving"), (starting, "started")):
        state = await ready.state()
        assert (state["ready"], state[reason]) == (False, False)
        assert sum(state.values()) == 2


async def test_before_there_is_a_database_it_is_unready() -> None:
    assert (await Readiness(started=True).state())["database"] is False


async def test_a_good_ping_counts_for_a_moment_and_a_bad_one_does_not() -> None:
    database = Database()
    ready = readiness(database)
    await ready.state()
    await ready.state()
    assert database.pings == 1
    database.answers, database.pings = False, 0
    silent = readiness(database)
    await silent.state()
    database.answers = True
    assert (await silent.state())["ready"] is True
    assert database.pings == 2


async def test_the_admin_endpoint() -> None:
    access = memory_access()
    async with serving(access) as client:
        await client.get(f"{LAB_BASE}/DiagnosticReport", headers=bearer(access))
        app = client.app
        assert app is not None
        async with TestClient(TestServer(create_admin_app(app))) as admin:
            alive = await admin.get("/livez")
            assert (alive.status, await alive.json()) == (200, {"alive": True})
            unready = await admin.get("/readyz")
            assert (unready.status, (await unready.json())["started"]) == (503, False)
            app[READINESS].started = True
            ready = await admin.get("/readyz")
            assert (ready.status, await ready.json()) == (
                200,
                {"ready": True, "started": True, "serving": True, "database": True},
            )
            metrics = await (await admin.get("/metrics")).text()
            assert 'dod_http_requests_total{code="200",method="GET",route="search"} 1.0' in metrics
            for name in ("dod_build_info", "dod_store_commit_queue", "process_cpu_seconds", "python_info"):
                assert name in metrics
            for path in ("/livez", "/readyz", "/metrics"):
                for method in ("POST", "PUT", "DELETE", "OPTIONS"):
                    refused = await admin.request(method, path)
                    assert (refused.status, refused.headers["Allow"]) == (405, "GET,HEAD"), (method, path)
            nothing = await admin.post("/fhir/R4/lab/Production")
            assert (nothing.status, "`DOD_PORT`" in await nothing.text()) == (404, True)
        assert (await client.get("/metrics")).status == 404


async def test_metrics_are_written_out_once_for_all_who_ask_at_the_same_moment() -> None:
    written, number = list[str](), 50

    async def handler(request: web.Request) -> web.Response:
        written.append(request.rel_url.raw_query_string)
        return web.Response(text=f"written {len(written)}", headers={"Content-Type": "text/plain"})

    ask = shared(handler)
    requests = [make_mocked_request("GET", "/metrics") for _ in range(number)]
    answers = await asyncio.gather(*(ask(one) for one in requests))
    assert {one.body for one in answers if isinstance(one, web.Response)} == {b"written 1"}
    assert len(set(map(id, answers))) == number
    await asyncio.gather(ask(requests[0]), ask(make_mocked_request("GET", "/metrics?name=a")))
    assert written == ["", "", "name=a"]
