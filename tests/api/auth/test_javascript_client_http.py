"""A JavaScript client with `jose` and `fetch` follows SMART's recipe. Without Node.js the test is skipped."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from tests.support.fhir import patient, report
from tests.support.oauth import key
from tests.support.service import RunningClock, opened_service

ROOT = Path(__file__).parents[3]
CLIENT = ROOT / "tests" / "js" / "backend_services.mjs"
JOSE = ROOT / ".venv" / "js" / "node_modules" / "jose" / "dist" / "webapi" / "index.js"
NODE = shutil.which("node")


@pytest.mark.skipif(NODE is None or not JOSE.exists(), reason="needs Node.js, and jose from `make`")
@pytest.mark.parametrize(("kind", "algorithm"), [("rsa", "RS384"), ("ec", "ES384")])
async def test_jose_gets_a_token_and_searches(mongodb: str, kind: str, algorithm: str) -> None:
    signer = key(kind)
    async with opened_service(mongodb, clock=RunningClock()) as service:
        await service.load(patient("p1"), report("r1", "p1"))
        client = await service.register(signer, scopes=("system/*.rs",))
        ran = await asyncio.create_subprocess_exec(
            str(NODE),
            *(str(CLIENT), str(JOSE), service.base, client.id, str(signer.kid), algorithm),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, error = await ran.communicate(signer.as_pem(private=True))
        assert ran.returncode == 0, error.decode()
        assert json.loads(out) == {
            "token": 200,
            "scope": "system/DiagnosticReport.rs",
            "status": 200,
            "ids": ["r1"],
        }
