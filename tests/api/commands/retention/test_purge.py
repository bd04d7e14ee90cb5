"""`dod retention hold` and `dod purge` as they are typed, beside a running service."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import pytest
from prometheus_client import CollectorRegistry

from api import database
from api.app import utc_now
from store.audit.records import Deed
from store.metrics import StoreMetrics
from store.mongo.stores import opened
from tests.support import raw_scan
from tests.support.commands import command, database_of_commands
from tests.support.fhir import MRN, batch, identified, message, patient, report
from tests.support.service import Service, opened_service, settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from store.mongo.driver.client import Database
    from store.stores import Stores
    from tests.support.commands import Dod

ANNA = f"{MRN}|ANNA-4711"
WHY = ("--reason", "asked for by letter")


@pytest.fixture
def name(database: Database) -> str:
    return database.name


@pytest.fixture
async def here(mongodb: str, name: str) -> AsyncIterator[Service]:
    """A service by the wall clock, as the commands have it."""
    async with opened_service(mongodb, mongodb_database=name) as service:
        service.clock.now = utc_now()
        one = await service.new_tenant()
        await one.load_in_order(
            patient("anna", identified(MRN, "ANNA-4711"), name=[{"family": "Annason", "given": ["Anna"]}]),
            patient("bert", identified(MRN, "BERT-0815")),
            report("ra", "anna", conclusion="unremarkable for Anna"),
            report("rb", "bert"),
        )
        faulty = message(patient("anna", identified(MRN, "ANNA-4711")), report("x", "anna"))
        del faulty["entry"][2]["resource"]["status"]
        assert (await one.request("POST", "$process-message", faulty)).status == 422
        yield one


@pytest.fixture
def kept(database: Database) -> Database:
    return database


@pytest.fixture
def dod(mongodb: str, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Dod:
    @asynccontextmanager
    async def stores(_: object) -> AsyncIterator[Stores]:
        chosen = settings(mongodb_database=name)
        metrics = StoreMetrics(CollectorRegistry())
        async with opened(chosen, uri=mongodb, clock=utc_now, metrics=metrics) as found:
            yield found

    monkeypatch.setattr(database, "command_stores", stores)
    database_of_commands(monkeypatch, mongodb, name)
    # A tenant that leaves is left alone for so long.
    monkeypatch.setenv("DOD_ACCESS_CACHE_SECONDS", "0")
    monkeypatch.setenv("DOD_STORE_TIMEOUT_SECONDS", "2")
    return command(monkeypatch, capsys)


async def test_a_patient_is_erased(kept: Database, here: Service, dod: Dod) -> None:
    there = await raw_scan.found(kept, ["ANNA-4711", "Annason", "unremarkable for Anna"])
    assert {name for _, name in there} >= {"resources", "dead_letters"}
    done = await dod("purge", "patient", str(here.tenant), ANNA, *WHY)
    assert done.code == 0, done.err
    assert "1 DiagnosticReport (erasure) deleted" in done.out
    assert "1 (dead-letter) deleted" in done.out
    assert "receipt 1: 3 deleted, hash " in done.out
    assert await raw_scan.found(kept, ["ANNA-4711", "Annason", "unremarkable for Anna"]) == set()
    assert (await here.get("DiagnosticReport/rb")).status == 200
    assert (await here.put(report("ra", "anna"))).status == 410
    again = await dod("purge", "patient", str(here.tenant), ANNA, *WHY)
    assert again.out.startswith("erased before; nothing has come since\nreceipt 2: 0 deleted")
    lifted = await dod("purge", "lift", str(here.tenant), ANNA, *WHY)
    assert lifted.out.startswith("lifted: ")
    assert (await here.put(report("ra", "anna"))).status == 201


async def test_files_and_letters_bring_nothing_back(
    kept: Database, here: Service, dod: Dod, tmp_path: Path
) -> None:
    tenant = str(here.tenant)
    anna = patient("anna", identified(MRN, "ANNA-4711"), name=[{"family": "Annason", "given": ["Anna"]}])
    resources = [anna, report("ra", "anna", conclusion="unremarkable for Anna")]
    files = {
        "message.json": message(*resources),
        "batch.json": batch(("PUT", "Patient/anna", anna), ("POST", "DiagnosticReport", resources[1])),
        "transaction.json": {**batch(("PUT", "Patient/anna", anna)), "type": "transaction"},
        "one.json": anna,
    }
    for name, body in files.items():
        (tmp_path / name).write_text(json.dumps(body))
    (tmp_path / "lines.ndjson").write_text("\n".join(json.dumps(one) for one in resources))
    # A letter that names nobody, and is then mended to be about an erased patient.
    faulty = report("y", None)
    del faulty["status"]
    letter = (await here.create(faulty)).headers["Dead-Letter"]
    assert (await dod("purge", "patient", tenant, ANNA, *WHY)).code == 0
    journal = str(tmp_path / "journal")
    for name in (*files, "lines.ndjson"):
        loaded = await dod("load", str(tmp_path / name), "--tenant", tenant, "--journal", journal)
        assert loaded.code == 1, (name, loaded.out)
        assert "erased on purpose" in loaded.err, loaded.err
    fixed = tmp_path / "fixed.json"
    fixed.write_text(json.dumps(report("y", "anna")))
    assert "erased on purpose" in (await dod("letters", "fix", letter, str(fixed))).err
    none_exists = {"If-None-Exist": f"identifier={MRN}|ANNA-4711"}
    assert (await here.request("POST", "Patient", anna, headers=none_exists)).status == 410
    assert await raw_scan.found(kept, ["ANNA-4711", "Annason", "unremarkable for Anna"]) == set()
    assert await kept["dead_letters"].count_documents({}) == 1


MISUSE: Final[tuple[tuple[tuple[str, ...], int, str], ...]] = (
    (("patient", "TENANT", ANNA), 2, "--reason"),
    (("patient", "TENANT", ANNA, "--reason", " "), 1, "a reason is needed"),
    (("patient", "TENANT", ANNA, "--reason", "she is ANNA-4711"), 1, "must not hold"),
    (("patient", "TENANT", ANNA, "--reason", "anna annason asked"), 1, "must not hold"),
    (("patient", "TENANT", ANNA, "--reason", "letter of Mrs Annason, 3 May"), 1, "must not hold"),
    (("patient", "TENANT", "ANNA-4711", *WHY), 1, "`system|value`"),
    (("patient", "TENANT", f"{MRN}|nobody", *WHY), 1, "nothing is stored of this patient"),
    (("patient", "nobody/Production", ANNA, *WHY), 1, "There is no tenant"),
    (("patient", "nobody", ANNA, *WHY), 2, "ORG/ENV"),
    (("lift", "TENANT", ANNA, *WHY), 1, "nothing of this patient was erased"),
    (("tenant", "TENANT", *WHY), 2, "again, to be sure"),
    (("tenant", "TENANT", *WHY, "--yes", "other/Production"), 2, "--yes"),
    (("tenant", "TENANT", "--yes", "TENANT"), 2, "--reason"),
    (("tenant", "TENANT", "--yes", "TENANT", "--reason", ""), 1, "a reason is needed"),
    (("tenant", "no/Production", "--yes", "no/Production", *WHY), 1, "there is no tenant"),
)


async def test_misuse_deletes_nothing(kept: Database, here: Service, dod: Dod) -> None:
    for arguments, code, said in MISUSE:
        done = await dod("purge", *(str(here.tenant) if one == "TENANT" else one for one in arguments))
        assert (done.code, said in done.err) == (code, True), (arguments, done.err)
    assert await kept["resources"].count_documents({}) == 4
    assert await kept["dead_letters"].count_documents({}) == 1
    assert await kept["erasures"].count_documents({}) + await kept["receipts"].count_documents({}) == 0
    assert (await here.get("DiagnosticReport/ra")).status == 200


async def test_a_hold_is_placed_seen_and_released(kept: Database, here: Service, dod: Dod) -> None:
    tenant = str(here.tenant)
    placed = await dod("retention", "hold", "add", tenant, "--report", "DiagnosticReport/ra", *WHY)
    hold = placed.out.strip()
    shown = (await dod("retention", "hold", "list", "--tenant", tenant)).out
    assert hold in shown
    assert "DiagnosticReport/ra" in shown
    done = await dod("purge", "patient", tenant, ANNA, *WHY)
    assert (done.code, "1 DiagnosticReport (held) kept" in done.out) == (1, True)
    refused = await dod("purge", "tenant", tenant, *WHY, "--yes", tenant)
    assert (refused.code, "1 holds keep data" in refused.err) == (1, True)
    assert (await here.get("DiagnosticReport/ra")).status == 200
    assert (await dod("retention", "hold", "release", hold, *WHY)).out == f"{hold} released\n"
    assert (await dod("retention", "hold", "list")).out.count("\n") == 1
    listed = (await dod("retention", "hold", "list", "--all", "--json")).out
    assert json.loads(listed)["releasedAt"]
    assert (await dod("purge", "patient", tenant, ANNA, *WHY)).code == 0
    assert await raw_scan.found(kept, ["ANNA-4711", "Annason"]) == set()
    by_hand = kept["audit"].find({"did": {"$in": list(Deed)}}, sort=[("at", 1)])
    acts = [one["did"] async for one in by_hand]
    assert acts == ["hold placed", "patient erased", "hold released", "patient erased"]


NAMES_NOTHING: Final[tuple[tuple[tuple[str, ...], str], ...]] = (
    ((), "name one of"),
    (("--patient", ANNA, "--tenant"), "name one of"),
    (("--patient", "ANNA-4711"), "`system|value`"),
    (("--report", "ra"), "`Type/id`"),
    (("--report", "DiagnosticRepot/ra"), "did you mean `DiagnosticReport`?"),
    (("--report", "DiagnosticReport/nobody"), "`--absent`"),
    (("--patient", f"{MRN}|NOBODY"), "`--absent`"),
    (("--patient", "Patient/nobody"), "`--absent`"),
    (("--query", "DiagnosticRepot?status=final"), "did you mean `DiagnosticReport`?"),
    (("--query", "DiagnosticReport?nothing=1"), "nothing"),
)


async def test_a_hold_that_names_nothing_is_refused(kept: Database, here: Service, dod: Dod) -> None:
    for arguments, said in NAMES_NOTHING:
        done = await dod("retention", "hold", "add", str(here.tenant), *arguments, *WHY)
        assert (done.code, said in done.err) == (1, True), (arguments, done.err)
    assert await kept["holds"].count_documents({}) == 0


async def test_a_hold_of_somebody_who_is_to_come(kept: Database, here: Service, dod: Dod) -> None:
    tenant, referred = str(here.tenant), f"{MRN}|ONLY-REFERRED-TO"
    add = ("retention", "hold", "add", tenant)
    assert (await dod(*add, "--patient", f"{MRN}|NOBODY", "--absent", *WHY)).code == 0
    assert (await dod(*add, "--patient", referred, *WHY)).code == 1
    await here.load_in_order(report("rc", None, subject={"identifier": identified(MRN, "ONLY-REFERRED-TO")}))
    assert (await dod(*add, "--patient", referred, *WHY)).code == 0
    assert (await dod(*add, "--patient", "Patient/anna", *WHY)).code == 0


async def test_an_ended_hold_does_not_tell_on_whom_it_was(kept: Database, here: Service, dod: Dod) -> None:
    tenant = str(here.tenant)
    hold = (await dod("retention", "hold", "add", tenant, "--patient", ANNA, *WHY)).out.strip()
    held = await dod("purge", "patient", tenant, ANNA, *WHY)
    assert (held.code, "0 deleted" in held.out) == (1, True)
    await dod("retention", "hold", "release", hold, *WHY)
    assert (await dod("purge", "patient", tenant, ANNA, *WHY)).code == 0
    assert await raw_scan.found(kept, ["ANNA-4711", "Annason"]) == set()


async def test_a_tenant_leaves(kept: Database, here: Service, dod: Dod) -> None:
    tenant = str(here.tenant)
    other = await here.new_tenant()
    await other.load_in_order(patient("anna"))
    done = await dod("purge", "tenant", tenant, *WHY, "--yes", tenant)
    assert done.code == 0, done.err
    assert "2 DiagnosticReport (off-boarding) deleted" in done.out
    assert "receipt 1: " in done.out
    assert (await here.get("DiagnosticReport/ra")).status == 401
    assert (await other.get("Patient/anna")).status == 200
    for collection in await kept.list_collection_names():
        if collection not in {"receipts", "audit", "tenants", "runs", "leases"}:
            assert await kept[collection].count_documents({"tenant": tenant}) == 0, collection
    assert await raw_scan.found(kept, ["ANNA-4711", "Annason"]) == set()
    assert (await dod("purge", "patient", tenant, ANNA, *WHY)).code == 1
    assert (await dod("tenant", "create", tenant)).out == f"{tenant} created\n"
    back = await here.with_token(scopes=["system/*.cruds"])
    assert (await back.get("DiagnosticReport/ra")).status == 404
