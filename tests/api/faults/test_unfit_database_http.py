"""A database that is away or not to be relied on, as clients, probes and operators see it."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import aiohttp
import pytest
from aiohttp.test_utils import TestClient
from pydantic import SecretStr

from api import serve
from api.health import create_admin_app
from api.http.app_keys import READINESS, REGISTRY
from api.interactions.token import PATH as TOKEN
from api.settings.service import Settings
from store.errors import StartupError
from store.mongo.requirements import STANDALONE
from tests.support.fhir import report
from tests.support.mongod import line
from tests.support.mongods import standalone
from tests.support.oauth import assertion, claims, form
from tests.support.ports import free_port
from tests.support.server import Server
from tests.support.service import FORM, opened_service

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from store.mongo.embedded import Embedded
    from tests.support.service import Service

DAY = timedelta(days=1)
WAITING = "dod_store_operation_duration_seconds_count"


async def until(holds: Callable[[], Any]) -> Any:
    """The first answer that is true; the test's own time-out ends it."""
    async with asyncio.timeout(60):
        while True:
            found = await holds()
            if found:
                return found
            await asyncio.sleep(0.02)


def asked(service: Service) -> float:
    """Number of times that the database was asked for what a search or a read needs."""
    assert service.client.app is not None
    registry = service.client.app[REGISTRY]
    return sum(
        sample.value
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name == WAITING and sample.labels["operation"] not in {"ping", "rights"}
    )


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log of `serve` would stay for the tests that follow."""
    monkeypatch.setattr(serve, "configure_logging", lambda _: None)


async def test_nobody_waits_for_a_database_that_is_away(frail_mongod: Embedded, tmp_path: Path) -> None:
    """Not even for the look-up of a token."""
    async with (
        line(frail_mongod.uri, tmp_path) as connection,
        opened_service(connection.uri, store_timeout_seconds=60, search_timeout_seconds=50) as service,
    ):
        await service.load(report("r1"))
        await connection.cut()

        async def away() -> bool:
            assert service.client.app is not None
            return service.client.app[REGISTRY].get_sample_value("dod_store_available") == 0

        await until(away)
        before = asked(service)
        where = str(service.client.make_url(TOKEN))
        shown = urlencode(form(assertion(claims(service.clock.now.timestamp(), where))))
        token = await service.request("POST", where, data=shown, content_type=FORM)
        assert (token.status, token.body["error"]) == (503, "temporarily_unavailable")
        for answer in [
            await service.search("patient=p1"),
            await service.post_search("patient.identifier=urn:x|y"),
            await service.get("Patient/p1/DiagnosticReport"),
            await service.get("DiagnosticReport/r1"),
            await service.get("DiagnosticReport/r1/_history"),
            await service.get("DiagnosticReport/_history"),
            await service.get("$retention"),
            await service.get("$dead-letters"),
            await service.request("POST", "Patient/p1/$purge", {"reason": "asked"}),
        ]:
            assert (answer.status, answer.issues) == (503, [("error", "transient")])
            assert int(answer.headers["Retry-After"]) >= 1
        assert asked(service) == before
        assert (await service.get("metadata")).status == 200


async def test_clocks_that_drift_apart_close_the_service_until_they_are_set(mongodb: str) -> None:
    apart = timedelta()
    async with opened_service(mongodb, wall_clock=lambda: datetime.now(UTC) + apart) as service:
        assert service.client.app is not None
        async with TestClient(Server(create_admin_app(service.client.app))) as admin:
            service.client.app[READINESS].started = True

            async def said(*, ready: bool) -> Any:
                answer = await admin.get("/readyz")
                return (await answer.json()) if (answer.status == 200) is ready else None

            assert "reasons" not in await until(lambda: said(ready=True))
            apart = DAY
            state = await until(lambda: said(ready=False))
            assert state["database"] is False
            [reason] = state["reasons"]
            assert "clocks" in reason
            assert (await service.put(report("r1"))).status == 503
            assert (await service.search("patient=p1")).status == 503
            apart = timedelta()
            await until(lambda: said(ready=True))
            assert (await service.put(report("r1"))).status == 201


async def test_probes_tell_what_a_start_waits_for(tmp_path: Path) -> None:
    nobody, admin = free_port(), free_port()
    settings = Settings(
        mongodb_uri=SecretStr(f"mongodb://u:hush@127.0.0.1:{nobody}/"),
        port=0,
        admin_port=admin,
        startup_seconds=600,
    )

    async def told() -> Any:
        url = f"http://127.0.0.1:{admin}/readyz"
        with suppress(aiohttp.ClientError):
            async with aiohttp.ClientSession() as client, client.get(url) as found:
                assert found.status == 503
                return (await found.json()).get("reasons")
        return None

    starting = asyncio.ensure_future(serve.serve(settings))
    try:
        [reason] = await until(told)
        assert f"No MongoDB answers at 127.0.0.1:{nobody}" in reason
        assert "hush" not in reason
    finally:
        starting.cancel()
        with suppress(asyncio.CancelledError):
            await starting


async def test_a_start_ends_when_there_is_no_database(tmp_path: Path) -> None:
    uri = SecretStr(f"mongodb://127.0.0.1:{free_port()}/")
    with pytest.raises(StartupError, match="No MongoDB answers"):
        await serve.serve(Settings(mongodb_uri=uri, port=0, admin_port=0, startup_seconds=0))


async def test_dod_serve_on_a_standalone_ends_with_one_sentence(tmp_path: Path) -> None:
    async with standalone(tmp_path) as alone:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("DOD_")}
        process = await asyncio.create_subprocess_exec(
            *(
                sys.executable,
                "-c",
                "from api.cli.main import main; main()",
                "serve",
                "--port",
                "0",
                "--admin-port",
                "0",
            ),
            env={**environment, "DOD_MONGODB_URI": alone.uri, "DOD_STARTUP_SECONDS": "0"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        _, errors = await process.communicate()
    assert process.returncode == 1
    assert errors.decode().splitlines()[-1] == STANDALONE
