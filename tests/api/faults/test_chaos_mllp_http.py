"""Senders of HL7 v2 send again until AA while the service and its database are killed, frozen and cut off.

Nothing acknowledged is lost, nothing is stored twice, and the order of each sender is kept. `make chaos` does
it for as long as `CHAOS_SECONDS` says.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from ingest.mllp.framing import Frame, Framing, framed
from tests.support.mllp import msa, oru
from tests.support.ports import free_port
from tests.support.preloaded import Forked, dod, said_by
from tests.support.service import START

SECONDS = float(os.environ.get("CHAOS_SECONDS", "1"))
"""Pause between two blows, in which senders are left alone."""
PAUSE_SECONDS = 0.01
"""Pause of a sender behind an acknowledgment: without it, restarts wait for a processor."""
SENDERS = 8
REPORTS = 3
TENANT = "acme/Development"


@dataclass(slots=True)
class Lab:
    """A sender: its messages, one after another, each until it is acknowledged."""

    number: int
    port: int
    random: random.Random
    acknowledged: dict[str, list[int]] = field(default_factory=dict)
    """Values that were acknowledged, by filler number."""
    sent: int = 0
    stop: bool = False
    _stream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def run(self) -> None:
        turn = 0
        while not self.stop:
            turn += 1
            filler = f"F-{self.number}-{turn % REPORTS}"
            moment = START - timedelta(days=1) + timedelta(seconds=turn)
            message = oru(
                f"M-{self.number}-{turn}",
                patient=f"P-{self.number}",
                filler=filler,
                value=str(turn),
                status="F" if turn <= REPORTS else "C",
                time=f"{moment:%Y%m%d%H%M%S}",
            )
            while not await self._is_taken(message):  # noqa: ASYNC110 -- what changes is another process
                await asyncio.sleep(0.02)
            self.acknowledged.setdefault(filler, []).append(turn)
            await asyncio.sleep(PAUSE_SECONDS)
        await self._leave()

    async def _is_taken(self, message: bytes) -> bool:
        self.sent += 1
        try:
            async with asyncio.timeout(20):
                self._stream = self._stream or await asyncio.open_connection("127.0.0.1", self.port)
                reader, writer = self._stream
                writer.write(framed(message))
                await writer.drain()
                if self.random.random() < 0.05:  # Cut off before the answer.
                    await self._leave()
                    return False
                framing = Framing(100_000)
                while data := await reader.read(4_096):
                    for event in framing.receive(data):
                        assert isinstance(event, Frame)
                        answer = msa(event.body)
                        assert answer[1] == "AA", event.body
                        assert answer[2].encode() in message
                        return True
        except (OSError, TimeoutError):
            pass
        await self._leave()
        return False

    async def _leave(self) -> None:
        if self._stream is not None:
            self._stream[1].transport.abort()
        self._stream = None


@dataclass(slots=True)
class Dod:
    """`dod serve` on an embedded database, which may be killed and started again."""

    folder: Path
    port: int
    mllp: int
    process: Forked | None = None

    @property
    def environment(self) -> dict[str, str]:
        bare = {name: value for name, value in os.environ.items() if not name.startswith("DOD_")}
        # What is under way when the database has ended cannot be finished: waiting for it gains nothing.
        quick = {"DOD_DRAIN_SECONDS": "0", "DOD_SHUTDOWN_SECONDS": "1", "DOD_LOG_LEVEL": "ERROR"}
        return {**bare, "DOD_DATA_DIR": str(self.folder), **quick}

    async def start(self) -> None:
        options = ["--port", str(self.port), "--admin-port", "0", "--mllp-port", str(self.mllp)]
        with (self.folder / "log").open("ab") as log:
            self.process = dod(
                *("serve", *options, "--mllp-tenant", TENANT),
                environment=self.environment,
                stderr=log,
                stdout=log,
            )
        while True:
            assert self.process.poll() is None, (self.folder / "log").read_text()[-2_000:]
            with suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.close()
                return
            await asyncio.sleep(0.01)

    async def run(self, *words: str) -> str:
        return await asyncio.to_thread(partial(said_by, *words, environment=self.environment))

    def mongod(self) -> int | None:
        """The process of the database, if it runs."""
        assert self.process is not None
        pids = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for pid in pids:
            with suppress(OSError):
                if b"mongod" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return int(pid)
        return None

    async def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        await self.process.wait()
        await self.start()

    async def kill_database(self) -> None:
        assert self.process is not None
        killed = self.mongod()
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        while self.mongod() in (None, killed):  # The service starts it again.
            assert self.process.returncode is None, (self.folder / "log").read_text()[-2_000:]
            await asyncio.sleep(0.01)

    async def freeze_database(self) -> None:
        pid = self.mongod()
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(SECONDS)
        os.kill(pid, signal.SIGCONT)

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.join()


async def searched(session: ClientSession, base: str, path: str) -> list[dict[str, Any]]:
    """Resources of all pages."""
    found, url = [], f"{base}/{path}"
    while url:
        async with session.get(url) as response:
            body = await response.json(content_type=None)
            assert response.status == 200, body
        found += [entry["resource"] for entry in body.get("entry", ()) if "resource" in entry]
        url = next((one["url"] for one in body["link"] if one["relation"] == "next"), "")
    return found


@pytest.mark.slow
@pytest.mark.mongo
async def test_nothing_acknowledged_is_lost_nothing_is_twice_and_order_is_kept(tmp_path: Path) -> None:
    service = Dod(tmp_path, free_port(), free_port())
    try:
        await service.start()
        await service.run("tenant", "create", TENANT, "--search-scope", "any")
        token = await service.run("token", "issue", "--tenant", TENANT, "--scope", "system/*.rs")
        labs = [Lab(number, service.mllp, random.Random(number)) for number in range(SENDERS)]
        tasks = [asyncio.ensure_future(one.run()) for one in labs]
        for blow in (service.kill, service.kill_database, service.freeze_database, service.kill):
            await asyncio.sleep(SECONDS)
            assert not any(task.done() for task in tasks), [task for task in tasks if task.done()]
            await blow()
        await asyncio.sleep(SECONDS)
        for one in labs:
            one.stop = True
        await asyncio.gather(*tasks)
        headers = {"Authorization": f"Bearer {token}"}
        async with ClientSession(headers=headers) as session:
            base = f"http://127.0.0.1:{service.port}/fhir/R4/{TENANT}"
            for one in labs:
                await check(session, base, one)
            kept = await searched(session, base, "Provenance?_count=1000")
        numbers = [one["entity"][0]["what"]["identifier"]["value"] for one in kept]
        assert (
            len(numbers)
            == len(set(numbers))
            == sum(len(v) for one in labs for v in one.acknowledged.values())
        )
        assert sum(one.sent for one in labs) > len(numbers), "nobody noticed anything"
    finally:
        service.end()


async def check(session: ClientSession, base: str, lab: Lab) -> None:
    """A report for each filler number, whose result went through the acknowledged values in their order."""
    reports = await searched(session, base, f"DiagnosticReport?patient.identifier=P-{lab.number}")
    fillers = {
        number["value"]: one
        for one in reports
        for number in one["identifier"]
        if number["value"].startswith("F-")
    }
    assert fillers.keys() == lab.acknowledged.keys()
    assert len(reports) == len(fillers)
    for filler, values in lab.acknowledged.items():
        [result] = fillers[filler]["result"]
        versions = await searched(session, base, f"{result['reference']}/_history?_count=1000")
        told = [round(float(one["valueQuantity"]["value"])) for one in reversed(versions)]
        assert told == values, (filler, told, values)
