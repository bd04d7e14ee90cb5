"""`dod reindex`: what goes to stdout, what to stderr, and the exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from api.commands import reindex as reindex_command
from store.mongo.access import MongoAccess
from store.mongo.indexes import RESOURCES
from store.settings import StoreSettings
from store.tenancy import TenantSettings
from tests.support.fhir import refers, report
from tests.support.service import START
from tests.support.store import LAB, OTHER, metrics, mongo_store, put

if TYPE_CHECKING:
    from collections.abc import Callable

    from store.mongo.driver.client import Database
    from tests.support.commands import Dod

ABSOLUTE = "https://dod.example/fhir/R4/lab/Production/Patient/p1"


@pytest.fixture
def dod(commands: Callable[..., Dod]) -> Dod:
    return commands("reindex")


@pytest.fixture(autouse=True)
async def old(database: Database) -> None:
    """Two tenants whose resources an older release indexed."""
    access = MongoAccess(database, settings=StoreSettings(), metrics=metrics())
    store = mongo_store(database, clock=lambda: START)
    for tenant in (LAB, OTHER):
        await access.put_tenant(TenantSettings(tenant))
        await put(store, *(report(f"r{n}") for n in range(5)), tenant=tenant)
    await database[RESOURCES].update_many({}, {"$set": {"index_version": 0, "index": {}, "keys": []}})


async def left(database: Database) -> int:
    return await database[RESOURCES].count_documents({"index_version": 0})


async def test_all_tenants(dod: Dod, database: Database) -> None:
    assert await dod() == (
        0,
        "lab/Production: 5 examined, 5 reindexed\nother/Production: 5 examined, 5 reindexed\n",
        "",
    )
    assert await left(database) == 0
    assert (await dod()).out.splitlines()[0] == "lab/Production: 5 examined, 0 reindexed"


async def test_one_tenant(dod: Dod, database: Database) -> None:
    assert (await dod("--tenant", "lab/Production")).out == "lab/Production: 5 examined, 5 reindexed\n"
    assert await left(database) == 5


async def test_a_dry_run(dod: Dod, database: Database) -> None:
    result = await dod("--dry-run", "--tenant", "lab/Production")
    assert result == (0, "lab/Production: 5 examined, 5 to reindex\n", "")
    assert await left(database) == 10


async def test_progress_goes_to_stderr(dod: Dod, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reindex_command, "TELL_EVERY", 2)
    result = await dod("--batch", "1", "--tenant", "lab/Production")
    assert result.err.splitlines() == [
        "lab/Production: 2 examined, 2 reindexed so far",
        "lab/Production: 4 examined, 4 reindexed so far",
    ]
    assert result.out == "lab/Production: 5 examined, 5 reindexed\n"


async def test_what_is_left_is_named_and_ends_with_1(dod: Dod, database: Database) -> None:
    store = mongo_store(database, clock=lambda: START)
    await put(store, report("r9", subject=refers(ABSOLUTE)))
    await database[RESOURCES].update_one({"id": "r9"}, {"$set": {"index_version": 0}})
    result = await dod("--tenant", "lab/Production")
    assert (result.code, result.out) == (
        1,
        "lab/Production: 6 examined, 5 reindexed, 1 left as they were\n",
    )
    [line] = result.err.splitlines()
    assert line.startswith("lab/Production DiagnosticReport/r9 is left as it was: ")
    assert "Patient" not in line
    again = await dod("--tenant", "lab/Production", "--base-url", "https://dod.example")
    assert (again.code, again.out) == (0, "lab/Production: 6 examined, 1 reindexed\n")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--tenant", "nobody/Staging"), 1, "There is no tenant nobody/Staging"),
        (("--tenant", "nobody"), 2, "ORG/ENV"),
        (("--batch", "0"), 2, "--batch"),
        (("--base-url", "dod.example"), 1, "base_url"),
    ],
)
async def test_refusals(
    dod: Dod, database: Database, arguments: tuple[str, ...], code: int, said: str
) -> None:
    result = await dod(*arguments)
    assert (result.code, result.out) == (code, "")
    assert said.lower() in result.err.lower()
    assert await left(database) == 10
