"""`dod reindex` killed, stopped, and twice at once, in processes of its own: nothing is left out or lost."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

import pytest

from store.mongo.access import MongoAccess
from store.mongo.indexes import RESOURCES
from store.settings import StoreSettings
from store.tenancy import TenantSettings
from tests.support import preloaded
from tests.support.commands import Result
from tests.support.fhir import report
from tests.support.store import LAB, OTHER, metrics, mongo_store, put

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from store.mongo.driver.client import Database
    from tests.support.commands import Dod
    from tests.support.preloaded import Forked

COUNT = 200
POLL_SECONDS = 0.002
STEPS = ("reindex", "--batch", "1")
"""Small steps, so that there is time to end it between two."""
OLD = {"index_version": 0, "index": {}, "keys": []}


@pytest.fixture
def dod(commands: Callable[..., Dod]) -> Dod:
    return commands("reindex")


@pytest.fixture(autouse=True)
async def pushed(database: Database) -> list[dict[str, object]]:
    """Documents of two tenants as they were pushed; what they are found by has gone since."""
    access = MongoAccess(database, settings=StoreSettings(), metrics=metrics())
    store = mongo_store(database)
    for tenant in (LAB, OTHER):
        await access.put_tenant(TenantSettings(tenant))
        await put(store, *(report(f"r{n}") for n in range(COUNT)), tenant=tenant)
    found = await documents(database)
    await database[RESOURCES].update_many({}, {"$set": OLD})
    return found


async def documents(database: Database) -> list[dict[str, object]]:
    return [dict(one) for one in await database[RESOURCES].find(sort=[("_id", 1)]).to_list(None)]


async def left(database: Database) -> int:
    return await database[RESOURCES].count_documents({"index_version": 0})


async def ended(words: tuple[str, ...], watch: Callable[[Forked], bool], sent: int) -> Result:
    """Result of `dod` in a process of its own, which gets a signal once `watch` says so."""
    with TemporaryFile() as output, TemporaryFile() as errors:
        process = preloaded.dod(*words, environment=os.environ, stdout=output, stderr=errors)
        while process.poll() is None and not watch(process):  # noqa: ASYNC110 -- another process
            await asyncio.sleep(POLL_SECONDS)
        process.send_signal(sent)
        code = await process.wait()
        for said in (output, errors):
            said.seek(0)
        return Result(code, output.read().decode(), errors.read().decode())


def reached(progress: Path) -> int:
    """Number of resources that were examined, by the file."""
    told = json.loads(progress.read_text())["tenants"].values() if progress.exists() else ()
    return sum(int(one["examined"]) for one in told)


async def test_a_signal_ends_it_behind_its_step_and_the_same_command_goes_on(
    dod: Dod, database: Database, pushed: list[dict[str, object]], tmp_path: Path
) -> None:
    progress = tmp_path / "progress"
    words = (*STEPS, "--progress", str(progress))
    examined = 0
    for sent in (signal.SIGTERM, signal.SIGINT):
        before = examined
        result = await ended(words, lambda _: reached(progress) > before + 20, sent)  # noqa: B023
        assert result.code == 128 + sent
        assert result.err.splitlines() == [
            f"{sent.name}: stopping when what is under way is done; again stops at once.",
            f"Stopped by {sent.name} before the end; the same command goes on from here.",
        ]
        examined = reached(progress)
        assert result.out == f"{LAB}: {examined} examined, {examined} reindexed so far\n"
        assert await left(database) == 2 * COUNT - examined
    result = await dod("--progress", str(progress))
    whole = f"{COUNT} examined, {COUNT} reindexed"
    assert result == (0, f"{LAB}: {whole}\n{OTHER}: {whole}\n", "")
    assert not progress.exists()
    assert await documents(database) == pushed


async def test_killed_again_and_again_it_ends(
    dod: Dod, database: Database, pushed: list[dict[str, object]], tmp_path: Path
) -> None:
    progress = tmp_path / "progress"
    words = (*STEPS, "--progress", str(progress))
    # Also across the end of the first tenant, and without the file: what is done is passed over then.
    for least in (20, COUNT - 20, COUNT + 20):
        result = await ended(words, lambda _: reached(progress) >= least, signal.SIGKILL)  # noqa: B023
        assert result.code == -signal.SIGKILL
        assert reached(progress) >= least
    done = 2 * COUNT - await left(database)
    assert reached(progress) <= done <= reached(progress) + 1
    progress.unlink()
    result = await dod()
    others = COUNT - (done - COUNT)
    assert (
        result.out == f"{LAB}: {COUNT} examined, 0 reindexed\n{OTHER}: {COUNT} examined, {others} reindexed\n"
    )
    assert await documents(database) == pushed


@pytest.mark.usefixtures("dod")
async def test_two_at_once_do_it_once(
    database: Database, pushed: list[dict[str, object]], tmp_path: Path
) -> None:
    first, second = await asyncio.gather(
        *(ended((*STEPS, "--progress", str(tmp_path / f"{n}")), lambda _: False, 0) for n in range(2))
    )
    assert (first.code, second.code) == (0, 0), (first, second)
    done = [
        int(line.split(", ")[1].split()[0]) for result in (first, second) for line in result.out.splitlines()
    ]
    assert sum(done) == 2 * COUNT
    assert await documents(database) == pushed


async def test_a_file_of_another_index_or_command_is_refused(
    dod: Dod, database: Database, tmp_path: Path
) -> None:
    progress = tmp_path / "progress"
    for other in ("dod reindex 1", "dod verify-data"):
        progress.write_text(json.dumps({"of": other, "tenants": {}}))
        result = await dod("--progress", str(progress))
        assert (result.code, result.out) == (1, "")
        assert "of another command or release" in result.err
    assert await left(database) == 2 * COUNT
    progress.unlink()
    assert (await dod("--dry-run", "--progress", str(progress))).code == 0
    assert not progress.exists()
