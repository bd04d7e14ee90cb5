"""`dod retention`: plan, run, receipts, verify, compact; and processes that are killed or stand still."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from store.mongo.access import MongoAccess
from store.mongo.indexes import LEASES, RECEIPTS, RESOURCES, RETENTION, RUN_COUNTS
from store.mongo.retention import compaction
from store.mongo.retention.policy_rollout import PLACES
from store.retention.policy import Policy
from store.settings import StoreSettings
from store.tenancy import Tenant, TenantSettings
from tests.support import preloaded
from tests.support.fhir import patient, report
from tests.support.service import Clock
from tests.support.store import LAB, OTHER, let, metrics, mongo_policies, mongo_store, put, put_one
from tests.support.sweeping import sweeping_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from store.mongo.driver.client import Database
    from tests.support.commands import Dod

LONG_AGO = datetime(2020, 1, 31, 12, tzinfo=UTC)
REPORTS = 10


@pytest.fixture
def dod(commands: Callable[..., Dod]) -> Dod:
    return commands("retention")


@pytest.fixture(autouse=True)
async def old(database: Database) -> None:
    """Two tenants whose data expired years ago, but for one report."""
    access = MongoAccess(database, settings=StoreSettings(), metrics=metrics())
    clock = Clock(LONG_AGO)
    store = mongo_store(database, clock=clock)
    for tenant in (LAB, OTHER):
        await access.put_tenant(TenantSettings(tenant))
        await let(database, Policy(keep_days=10), tenant=tenant)
    for number in range(REPORTS):
        clock.move(days=1 if number == REPORTS // 2 else 0)
        await put_one(store, report(f"r{number}"))
    await put(store, patient(), report("other"), tenant=OTHER)
    clock.now = datetime.now(UTC) - timedelta(days=1)
    await put_one(store, report("live", None))
    # All was pushed under these policies: a run need not look for older ones in every place of each tenant.
    await database[RETENTION].update_many(
        {}, {"$set": {"settled": {"version": 1, "number": len(PLACES), "after": ""}}}
    )


PLAN = [
    ["TENANT", "POLICY", "TYPE", "REASON", "MONTH", "COUNT"],
    ["lab/Production", "1", "DiagnosticReport", "retention", "2020-01", "5"],
    ["lab/Production", "1", "DiagnosticReport", "retention", "2020-02", "5"],
    ["other/Production", "1", "DiagnosticReport", "retention", "2020-02", "1"],
    ["other/Production", "1", "Patient", "retention", "2020-02", "1"],
]


async def test_a_plan_deletes_nothing(dod: Dod, database: Database) -> None:
    done = await dod("plan")
    assert (done.code, done.words[:-1]) == (0, PLAN)
    assert done.out.splitlines()[-1] == "12 to be deleted, 0 expired but kept (held, or needed)"
    assert await database[RESOURCES].count_documents({}) == REPORTS + 3
    one = await dod("plan", "--tenant", str(OTHER))
    assert one.words[:-1] == [PLAN[0], *PLAN[3:]]


@pytest.mark.usefixtures("few_places")
async def test_a_plan_as_json_is_what_the_run_deletes(dod: Dod, database: Database) -> None:
    await database[RETENTION].update_many({}, {"$unset": {"settled": ""}})  # This once it does look.
    planned = json.loads((await dod("plan", "--json")).out)
    receipt = json.loads((await dod("run", "--json")).out)
    counts: dict[tuple[Any, ...], int] = {}
    for line in planned["deleted"]:
        key = (line["tenant"], line["policy"], line["type"], line["reason"])
        counts[key] = counts.get(key, 0) + line["count"]
    assert counts == {
        (line["tenant"], line["policy"], line["type"], line["reason"]): line["count"]
        for line in receipt["deleted"]
    }
    assert planned["skipped"] == receipt["skipped"] == []
    assert (receipt["number"], receipt["complete"]) == (1, True)
    assert [one["id"] async for one in database[RESOURCES].find({})] == ["live"]
    assert (await dod("plan")).out.splitlines()[0] == "nothing has expired"


async def test_receipts_are_shown_and_verified(dod: Dod, database: Database) -> None:
    await dod("run", "--tenant", str(OTHER))
    await dod("run")
    shown = await dod("receipts")
    heads = [line for line in shown.out.splitlines() if "hash" in line]
    assert [head.split(",")[0] for head in heads] == [f"1: sweep {OTHER}", "2: sweep"]
    assert ["deleted", "lab/Production", "1", "DiagnosticReport", "retention", "10"] in shown.words
    of_other = await dod("receipts", "--tenant", str(OTHER), "--json")
    assert [json.loads(line)["number"] for line in of_other.out.splitlines()] == [1]
    [newest] = [
        json.loads(line) for line in (await dod("receipts", "--last", "1", "--json")).out.splitlines()
    ]
    verified = await dod("verify")
    assert (verified.code, verified.out) == (
        0,
        f"2 receipts hold; the newest hash of these is {newest['hash']}\n",
    )
    await database[RECEIPTS].update_one({"_id": 2}, {"$set": {"rows": []}})
    broken = await dod("verify")
    assert broken.code == 1
    assert broken.out.startswith("NOT VERIFIED: receipt 2 was changed")


async def test_a_run_says_who_is_sweeping_already(dod: Dod, database: Database) -> None:
    other = sweeping_of(database, lambda: datetime.now(UTC))
    lease = await other.leases.take("sweep")
    assert lease is not None
    done = await dod("run")
    assert done.code == 1
    assert f"{lease.holder} is sweeping" in done.err
    assert await database[RESOURCES].count_documents({}) == REPORTS + 3
    await other.leases.release(lease, done=True)
    assert (await dod("run")).code == 0


async def test_misuse(dod: Dod, database: Database) -> None:
    for verb in ("plan", "run", "receipts"):
        assert (await dod(verb, "--tenant", "lab")).code == 2, verb
        assert (await dod(verb, "--days", "1")).code == 2, verb
    for verb in ("plan", "run"):
        assert (await dod(verb, "--tenant", "nobody/Production")).code == 1, verb
    assert await database[RESOURCES].count_documents({}) == REPORTS + 3


async def test_compact_says_what_came_back(dod: Dod, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "COLLECTIONS", (RESOURCES,))  # Each takes MongoDB seconds.
    await dod("run")
    done = await dod("compact")
    assert done.code == 0
    assert done.out.startswith("resources: ")
    assert done.out.splitlines()[-1].startswith("in all: ")


# --- processes


MANY = 400
SLOWLY: Mapping[str, str] = {
    "DOD_RETENTION_BATCH": "4",
    "DOD_RETENTION_REST": "2",
    "DOD_LEASE_SECONDS": "4",
}


@pytest.fixture
async def many(database: Database) -> None:
    store = mongo_store(database, clock=Clock(LONG_AGO))
    await put(store, *(report(f"m{number:04}") for number in range(MANY)))


class Replica:
    """Sweeps in a process of its own, and keeps what it says."""

    def __init__(self, mongodb: str, database: Database, folder: Path) -> None:
        self._output, self._errors = folder / "output", folder / "errors"
        environment = {"DOD_MONGODB_URI": mongodb, "DOD_MONGODB_DATABASE": database.name}
        with self._output.open("wb") as output, self._errors.open("wb") as errors:
            self.process = preloaded.dod(
                *("retention", "run", "--wait", "--json"),
                environment={**os.environ, **SLOWLY, **environment},
                stdout=output,
                stderr=errors,
            )

    async def end(self) -> tuple[int, bytes, bytes]:
        """Exit code and all that it said, once it has ended."""
        code = await self.process.wait()
        return code, *self._said()

    def _said(self) -> tuple[bytes, bytes]:
        return self._output.read_bytes(), self._errors.read_bytes()


async def holder(database: Database, but: int = 0) -> int:
    """Process id of who sweeps, once it has deleted something itself."""
    before: dict[int, int] = {}
    async with asyncio.timeout(60):
        while True:
            lease = await database[LEASES].find_one({"_id": "sweep"})
            pid = int(lease["holder"].split(":")[1]) if lease else 0
            deleted = sum([one["count"] async for one in database[RUN_COUNTS].find({})])
            if pid not in (0, but) and deleted > before.setdefault(pid, deleted):
                return pid
            await asyncio.sleep(0.05)  # It sweeps for seconds.


def only_receipt(outputs: list[bytes], takeovers: int) -> dict[str, Any]:
    receipts = [json.loads(line) for output in outputs for line in output.splitlines()]
    deleting = [one for one in receipts if one["deleted"]]
    [one] = deleting
    assert one["takeovers"] == takeovers
    assert isinstance(one, dict)
    return one


@pytest.mark.slow
async def test_of_three_replicas_one_sweeps_and_a_killed_or_frozen_one_is_replaced(
    mongodb: str, database: Database, many: None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    replicas = [Replica(mongodb, database, tmp_path_factory.mktemp("replica")) for _ in range(3)]
    by_pid = {one.process.pid: one for one in replicas}
    try:
        killed = await holder(database)
        os.kill(killed, signal.SIGKILL)
        frozen = await holder(database, but=killed)
        os.kill(frozen, signal.SIGSTOP)
        [last] = by_pid.keys() - {killed, frozen}
        async with asyncio.timeout(90):
            code, out, err = await by_pid[last].end()
        assert (code, err) == (0, b"")
        before = await database[RESOURCES].count_documents({})
        receipts = await database[RECEIPTS].count_documents({})
        os.kill(frozen, signal.SIGCONT)
        async with asyncio.timeout(60):
            code_frozen, out_frozen, err_frozen = await by_pid[frozen].end()
    finally:
        for one in replicas:
            one.process.kill()
    receipt = only_receipt([out], takeovers=2)
    deleted = {(line["tenant"], line["type"]): line["count"] for line in receipt["deleted"]}
    assert deleted == {
        ("lab/Production", "DiagnosticReport"): REPORTS + MANY,
        ("other/Production", "DiagnosticReport"): 1,
        ("other/Production", "Patient"): 1,
    }
    assert [one["id"] async for one in database[RESOURCES].find({})] == ["live"]
    # Who wakes up has no effect at all.
    assert (code_frozen, out_frozen) == (1, b"")
    # Where it slept within a command, the deadline of that is over.
    ends = (b"another replica took over", b"the database did not answer in time")
    assert any(one in err_frozen for one in ends), err_frozen
    assert await database[RESOURCES].count_documents({}) == before == 1
    assert await database[RECEIPTS].count_documents({}) == receipts == 1


CLINIC = Tenant("clinic", "Production")
POLICY_FILE = """
keep_days = 365
counted_from = "effective"

[[rules]]
type = "DiagnosticReport"
category = ["LAB"]
keep_days = 30
"""


@pytest.fixture
async def tenant(database: Database) -> None:
    access = MongoAccess(database, settings=StoreSettings(), metrics=metrics())
    await access.put_tenant(TenantSettings(CLINIC))


@pytest.mark.usefixtures("tenant")
async def test_a_policy_is_set_by_file_shown_and_set_again(
    database: Database, dod: Dod, tmp_path: Path
) -> None:
    file = tmp_path / "policy.toml"
    file.write_text(POLICY_FILE)
    assert (await dod("show", str(CLINIC))).out.startswith("# No policy was set")
    first = await dod("set", str(CLINIC), "--file", str(file))
    assert (first.code, first.out.split()[:4]) == (0, [f"{CLINIC}:", "policy", "1", "holds"])
    shown = await dod("show", str(CLINIC))
    file.write_text(shown.out)
    assert "policy 1 says this already" in (await dod("set", str(CLINIC), "--file", str(file))).out
    second = await dod(
        "set", str(CLINIC), "--keep-days", "10", "--rule", "type=Observation,category=LAB,keep_days=5"
    )
    assert (second.code, "policy 2 holds" in second.out) == (0, True)
    policy = (await mongo_policies(database).retention(CLINIC)).policy
    assert (policy.version, policy.keep_days, len(policy.rules)) == (2, 10, 1)
    every = await dod("show", str(CLINIC), "--all")
    assert [line.split()[2] for line in every.out.splitlines() if line.startswith("# version")] == [
        "2,",
        "1,",
    ]
    acts = await database["audit"].find({}, {"_id": 0, "did": 1, "of": 1}, sort=[("at", 1)]).to_list(None)
    assert acts == [{"did": "policy set", "of": "1"}, {"did": "policy set", "of": "2"}]


NOT_MEANT: Final[Mapping[str, tuple[tuple[str, ...], str]]] = {
    "nothing": (("--keep-days", "0"), "`keep_days`"),
    "negative": (("--keep-days", "-1"), "`keep_days`"),
    "past versions": (("--keep-days", "5", "--superseded-days", "0"), "`superseded_days`"),
    "from elsewhere": (("--keep-days", "5", "--counted-from", "birth"), "`counted_from`"),
    "an unknown category": (("--rule", "category=FOO,keep_days=3"), "`rules.0.category`"),
    "a rule of no length": (("--rule", "category=LAB"), "`rules.0.keep_days`"),
    "a rule of nothing": (("--rule", "category=LAB,keep_days=0"), "`rules.0.keep_days`"),
    "no rule": (("--rule", "LAB"), "`--rule` is"),
    "nothing said": ((), "`--file` or"),
    "no file": (("--file", "/nowhere"), "cannot be read"),
}


@pytest.mark.usefixtures("tenant")
async def test_a_policy_that_cannot_be_meant_is_refused(database: Database, dod: Dod) -> None:
    for name, (options, said) in NOT_MEANT.items():
        refused = await dod("set", str(CLINIC), *options)
        assert (refused.code, refused.out, said in refused.err) == (1, "", True), (name, refused.err)
    assert not (await mongo_policies(database).retention(CLINIC)).policy.version


async def test_a_policy_for_nobody(dod: Dod) -> None:
    refused = await dod("set", "nobody/Production", "--keep-days", "5")
    assert (refused.code, "no tenant" in refused.err) == (1, True)
