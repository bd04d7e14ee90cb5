"""The clients of docs/clients.md and the notebook among the samples, run against a live service."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from api.demo import years
from api.demo.run import bundles

if TYPE_CHECKING:
    from tests.support.service import Service

pytestmark = [pytest.mark.slow, pytest.mark.mongo]
ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
TODAY = datetime(2026, 6, 1, 9, 20, tzinfo=UTC)


def snippet(language: str) -> str:
    """The one block of a language."""
    (text,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return str(text)


@pytest.fixture
async def demo(service: Service) -> Service:
    """A year of the demo's patient."""
    for step in bundles(years.steps(TODAY, visits=4)):
        assert (await service.request("POST", "", data=step.body)).status == 200
    return service


async def said(service: Service, *command: str) -> str:
    """Output of a program, given base, token and number."""
    told = {
        "BASE": service.base,
        "TOKEN": service.headers["Authorization"].removeprefix("Bearer "),
        "NUMBER": years.NUMBER,
        "MPLBACKEND": "Agg",
    }
    process = await asyncio.create_subprocess_exec(
        *command,
        env={**os.environ, **told},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return output.decode()


async def newest_first(service: Service) -> list[str]:
    query = [
        ("patient.identifier", years.NUMBER),
        ("date", "ge2020"),
        ("_sort", "-date"),
    ]
    answer = await service.search(query)
    return [entry["resource"]["id"] for entry in answer.body["entry"]]


JARS = os.environ.get("HAPI_JARS", "")
"""Folder with the jars of `hapi-fhir-client` and `hapi-fhir-structures-r4`, and of what they need."""


@pytest.mark.skipif(not JARS or shutil.which("javac") is None, reason="HAPI_JARS names no folder, or no JDK")
async def test_the_java_client_finds_the_same(demo: Service, tmp_path: Path) -> None:
    source = tmp_path / "Reports.java"
    source.write_text(snippet("java"))
    await said(demo, "javac", "-cp", f"{JARS}/*", "-d", str(tmp_path), str(source))
    printed = await said(demo, "java", "-cp", f"{JARS}/*{os.pathsep}{tmp_path}", "Reports")
    assert printed.split() == await newest_first(demo)


async def test_each_client_finds_the_same(demo: Service, tmp_path: Path) -> None:
    expected = await newest_first(demo)
    assert len(expected) > 4
    assert (await said(demo, sys.executable, "-c", snippet("python"))).split() == expected
    bundle = json.loads(await said(demo, "bash", "-c", snippet("sh")))
    assert [entry["resource"]["id"] for entry in bundle["entry"]] == expected
    if (node := shutil.which("node")) is not None:
        module = tmp_path / "client.mjs"
        module.write_text(snippet("javascript"))
        assert (await said(demo, node, str(module))).split() == expected


async def test_the_notebook_reads_results_and_draws_them(demo: Service) -> None:
    cells = json.loads((ROOT / "samples" / "results.ipynb").read_text(encoding="utf-8"))["cells"]
    assert not any(cell.get("outputs") for cell in cells)  # Nobody's results are kept in it.
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    shown = await said(
        demo, sys.executable, "-c", f"{code}\nprint(len(results), len(figure.axes), *set(results['unit']))"
    )
    count, axes, *units = shown.split()
    assert (int(count), int(axes)) == (88, 2)
    assert {"%", "mg/dL"} <= set(units)
