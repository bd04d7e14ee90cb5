"""The dashboard: made of its source, and each query answered by a Prometheus that scrapes a service."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import shutil
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from api.health import create_admin_app
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import ModuleType

    from tests.support.service import Service

pytest.importorskip("yaml")
ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "k8s" / "monitoring"
SECONDS = 90.0
QUIET = {
    "Answers that are our fault",
    "Store operations that failed",
    "Since the last complete sweep",
    "Part of the month's budget burnt, an hour's pace",
}
"""Panels that have nothing to show of a service that is new and well."""


def source() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_monitoring", FOLDER / "make.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_what_stands_there_is_what_make_monitoring_would_write() -> None:
    for path, text in source().files().items():
        assert path.read_text(encoding="utf-8") == text, path.name


def test_panels_have_numbers_of_their_own_and_ask_the_chosen_source() -> None:
    panels = source().dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    asking = [panel for panel in panels if panel["type"] != "row"]
    assert {target["datasource"]["uid"] for panel in asking for target in panel["targets"]} == {
        "${datasource}"
    }


@asynccontextmanager
async def prometheus(target: str, folder: Path) -> AsyncIterator[str]:
    """A Prometheus that scrapes the target each second, with our rules; its URL."""
    config = folder / "prometheus.yml"
    scrape = {"job_name": "data-on-demand", "static_configs": [{"targets": [target]}]}
    rules = [str(FOLDER / "rules.yaml")]
    every = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    config.write_text(json.dumps({"global": every, "rule_files": rules, "scrape_configs": [scrape]}))
    address = f"127.0.0.1:{free_port()}"
    process = await asyncio.create_subprocess_exec(
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
        "--log.level=error",
    )
    try:
        yield f"http://{address}"
    finally:
        process.terminate()
        await process.wait()


async def asked(client: aiohttp.ClientSession, url: str, path: str, **parameters: str) -> Any:
    """An answer of Prometheus, once it is up."""
    async with asyncio.timeout(SECONDS):
        while True:
            try:
                async with client.get(f"{url}/api/v1/{path}", params=parameters) as response:
                    if response.status != 503:
                        answer = await response.json()
                        assert answer["status"] == "success", answer
                        return answer["data"]
            except aiohttp.ClientConnectorError:
                pass
            await asyncio.sleep(0.1)


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed")
@pytest.mark.slow
async def test_each_query_is_answered_by_a_prometheus_that_scrapes_a_service(
    service: Service, tmp_path: Path
) -> None:
    app = service.client.app
    assert app is not None
    queries = {
        (panel.title, query): query.replace("$__rate_interval", "1m")
        for row in source().ROWS.values()
        for panel in row
        for query in panel.queries.values()
    }
    async with (
        TestServer(create_admin_app(app)) as admin,
        prometheus(f"127.0.0.1:{admin.port}", tmp_path) as url,
        aiohttp.ClientSession() as client,
    ):
        async with asyncio.timeout(SECONDS):
            empty = set(queries)
            while {title for title, _ in empty} - QUIET:
                await service.put({"resourceType": "Patient", "id": "p"})
                await service.get("DiagnosticReport?patient=Patient/p")
                empty = {
                    key
                    for key in empty
                    if not (await asked(client, url, "query", query=queries[key]))["result"]
                }
        rules = await asked(client, url, "rules")
        health = {rule["name"]: rule["health"] for group in rules["groups"] for rule in group["rules"]}
        assert set(health.values()) == {"ok"}, health
