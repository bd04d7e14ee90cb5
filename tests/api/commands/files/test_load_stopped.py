"""`dod load` stopped, killed and started again, with several workers, and of HL7 v2."""

from __future__ import annotations

import asyncio
import gzip
import os
import signal
from pathlib import Path
from tempfile import TemporaryFile
from time import sleep
from typing import TYPE_CHECKING

import pytest

from api.commands.files import load_pool
from api.commands.files.load_frames import LoadOrder
from api.commands.files.load_pool import LoadWorkers
from store.mongo.indexes import RESOURCES
from tests.api.commands.files.loading import Result, bundle, lines, put_down, raw, stored
from tests.support import preloaded
from tests.support.fhir import report
from tests.support.mllp import oru
from tests.support.store import LAB
from tests.support.strange_folder import strange_folder

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from store.mongo.driver.client import Database
    from tests.support.preloaded import Forked

    Dod = Callable[..., Awaitable["Result"]]

POLL_SECONDS = 0.002
"""Without a pause, the test would take a processor from what it watches."""


def ended(words: tuple[str, ...], watch: Callable[[Forked], None], folder: Path = preloaded.ROOT) -> Result:
    """Result of `dod` in a process of its own, started in a folder and watched while it runs."""
    with TemporaryFile() as output, TemporaryFile() as errors:
        process = preloaded.dod(*words, environment=os.environ, folder=folder, stdout=output, stderr=errors)
        watch(process)
        code = process.join()
        for said in (output, errors):
            said.seek(0)
        return Result(code, output.read().decode(), errors.read().decode())


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_with_a_sentence_and_a_summary(
    dod: Dod, database: Database, tmp_path: Path, sent: signal.Signals
) -> None:
    count = 2_000
    body = lines(*(report(f"a{n}") for n in range(count)))
    folder, journal = put_down(tmp_path / "in", a__ndjson=body), tmp_path / "journal"
    words = ("load", str(folder), "--tenant", str(LAB), "--journal", str(journal), "--concurrency", "2")

    def stop(process: Forked) -> None:
        while not (journal.exists() and journal.stat().st_size > 5_000) and process.poll() is None:
            sleep(POLL_SECONDS)
        process.send_signal(sent)

    result = await asyncio.to_thread(ended, words, stop)
    assert result.code == 128 + sent
    first, last = result.err.splitlines()
    assert first.startswith(f"{sent.name}: stopping")
    assert last == f"Stopped by {sent.name} before the end; the same command goes on from here."
    some = int(result.table["all"][0].replace(",", ""))
    assert 0 < some < count
    assert len(await stored(database)) == some, "what was under way is finished, and counted"
    result = await dod(folder, "--journal", journal)
    assert (result.code, result.table["all"]) == (0, [f"{count:,}", "0", "0"])


async def test_killed_and_started_again_it_goes_on_where_it_was(
    dod: Dod, database: Database, tmp_path: Path
) -> None:
    """Nothing is lost or doubled: every resource is there in its one version."""
    count = 2_000
    folder = put_down(
        tmp_path / "in",
        a__ndjson=lines(*(report(f"a{n}", conclusion="x" * 500) for n in range(count // 2))),
        b__ndjson__gz=gzip.compress(lines(*(report(f"b{n}") for n in range(count // 2)))),
    )
    journal = tmp_path / "journal"
    words = ("load", str(folder), "--tenant", str(LAB), "--journal", str(journal))

    def kill(process: Forked) -> None:
        before = len(journal.read_bytes().splitlines()) if journal.exists() else 0
        while process.poll() is None:
            if journal.exists() and len(journal.read_bytes().splitlines()) >= before + 300:
                process.kill()
            sleep(POLL_SECONDS)

    for _ in range(2):
        assert (await asyncio.to_thread(ended, words, kill)).code == -signal.SIGKILL
    there = await stored(database)
    assert 600 <= len(there) < count
    result = await dod(folder, "--journal", journal)
    assert result.code == 0
    assert int(result.out.split("; ")[1].split()[0].replace(",", "")) >= 600
    stored_now, unchanged, refused = (int(n.replace(",", "")) for n in result.table["all"])
    # What was under way at a kill, at most 64 bodies each time, is found to be there already.
    assert (refused, stored_now + unchanged) == (0, count)
    assert unchanged <= 2 * 64
    there = await stored(database)
    assert (len(there), set(there.values())) == (count, {1})


@pytest.mark.parametrize("killed", [False, True])
async def test_workers_store_the_same_whichever_of_them_goes(
    dod: Dod, database: Database, tmp_path: Path, killed: bool
) -> None:
    """The last line of a resource wins, refusals have their places, and each body is stored once."""
    count = 300
    body = lines(
        *(report(f"a{n % 100}", conclusion=str(n)) for n in range(count)),
        {"resourceType": "Nonsense", "id": "b"},
        bundle(
            "transaction",
            {"resource": report("t1"), "request": {"method": "PUT", "url": "DiagnosticReport/t1"}},
        ),
    )
    folder, journal = put_down(tmp_path / "in", a__ndjson=body), tmp_path / "journal"
    words = ("load", str(folder), "--tenant", str(LAB), "--journal", str(journal), "--workers", "2")

    def children(pid: int) -> list[int]:
        listed = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
        return [int(one) for one in listed.split()]

    def kill(process: Forked) -> None:
        while killed and process.poll() is None:
            if journal.exists() and journal.stat().st_size > 1_000:
                os.kill(children(process.pid)[0], signal.SIGKILL)
                break
            sleep(POLL_SECONDS)

    result = await asyncio.to_thread(ended, words, kill, strange_folder(tmp_path / "there"))
    assert (result.code, result.table["all"][-1]) == (1, "1")
    assert "a.ndjson: line 301" in result.err
    there = await stored(database)
    assert len(there) == 101
    for n in range(100):
        assert (await raw(database, f"DiagnosticReport/a{n}"))["conclusion"] == str(200 + n)
    assert killed or set(there.values()) == {1, 3}


async def test_messages_of_hl7_v2_are_loaded_in_files_and_archives(
    dod: Dod, database: Database, tmp_path: Path
) -> None:
    faulty = oru("M-9", patient="P-9", filler="F-9", status="Z")
    feed = b"".join(oru(f"M-{n}", patient=f"P-{n % 2}", filler=f"F-{n}") for n in range(4))
    place = put_down(tmp_path / "files", feed__hl7=b"FHS|^~\\&\r" + feed + b"FTS|4\r", one__hl7=faulty)
    done = await dod(place)
    assert done.code == 1
    assert done.files["hl7"] == "2"
    assert "one.hl7" in done.err
    assert "OBR[1]-25" in done.err
    stored = await database[RESOURCES].count_documents({"type": "DiagnosticReport"})
    assert stored == 4
    assert await database[RESOURCES].count_documents({"type": "Provenance"}) == 4
    again = await dod(place, "--fresh")
    assert again.code == 1
    assert await database[RESOURCES].count_documents({"type": "DiagnosticReport"}) == 4
    dry = await dod(place, "--dry-run", "--fresh")
    assert "OBR[1]-25" in dry.err


async def test_files_of_hl7_v2_are_mapped_as_what_comes_in_by_the_tenant_s_port(
    dod: Dod, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = tmp_path / "lab.toml"
    profile.write_text('[authorities]\nHOSP = "urn:hospital"\n[report_statuses]\nZ = "final"\n')
    place = put_down(tmp_path / "files", one__hl7=oru(status="Z"))
    assert (await dod(place, "--dry-run")).code == 1
    monkeypatch.setenv("DOD_MLLP_TENANT", str(LAB))
    monkeypatch.setenv("DOD_MLLP_PROFILE", str(profile))
    monkeypatch.setenv("DOD_MLLP_PORT", "2575")  # A load listens nowhere.
    assert (await dod(place, "--dry-run")).code == 0
    assert (await dod(place)).code == 0
    found = await database[RESOURCES].find_one({"type": "Patient"})
    assert found is not None
    assert b"urn:hospital" in found["raw"]


@pytest.mark.usefixtures("dod")
async def test_a_worker_that_stands_still_is_not_waited_for(
    mongodb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load_pool, "STOP_SECONDS", 0.1)
    async with LoadWorkers(LoadOrder({}, mongodb, str(LAB), None), workers=1) as workers:
        [worker] = workers._workers
        os.kill(worker._process.pid, signal.SIGSTOP)
    assert worker._process.returncode == -signal.SIGKILL
