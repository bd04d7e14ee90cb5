"""`dod export`: what is written where, what is left out, and that it can be loaded again."""

from __future__ import annotations

import base64
import gzip
import json
import os
import zipfile
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from api.commands.files.export import ExportRequest, _sink
from api.commands.files.zipped import Zip
from store.mongo.access import MongoAccess
from store.settings import StoreSettings
from store.tenancy import Tenant, TenantSettings
from tests.support.commands import command, database_of_commands
from tests.support.fhir import MRN, identified, patient, refers, report, resource
from tests.support.store import LAB, NOW, metrics

if TYPE_CHECKING:
    from pathlib import Path

    from store.mongo.driver.client import Database
    from tests.support.commands import Dod

OTHER = Tenant("other", "Production")
ANNA = f"{MRN}|ANNA-4711"


@pytest.fixture
async def dod(
    mongodb: str,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Dod:
    database_of_commands(monkeypatch, mongodb, database.name)
    monkeypatch.setenv("DOD_DATA_DIR", str(tmp_path / "dod"))
    access = MongoAccess(database, settings=StoreSettings(), metrics=metrics())
    for tenant in (LAB, OTHER):
        await access.put_tenant(TenantSettings(tenant))
    return command(monkeypatch, capsys)


def put_down(folder: Path, *resources: dict[str, Any]) -> None:
    folder.mkdir()
    (folder / "in.ndjson").write_text("\n".join(map(json.dumps, resources)), encoding="utf-8")


def names(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


async def loaded(dod: Dod, folder: Path, *resources: dict[str, Any]) -> None:
    put_down(folder, *resources)
    done = await dod("load", str(folder), "--tenant", str(LAB))
    assert done.code == 0, done.err


def lines(content: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in content.splitlines()]


def ids(content: bytes) -> set[str]:
    return {one["id"] for one in lines(content)}


async def test_a_folder_has_a_file_for_each_type_and_can_be_loaded_again(
    dod: Dod, database: Database, tmp_path: Path
) -> None:
    reports = [report(f"r{n}", "anna", conclusion="one\ntwo") for n in range(1_203)]
    await loaded(dod, tmp_path / "in", patient("anna", identified(MRN, "ANNA-4711")), *reports)
    out = tmp_path / "out"
    done = await dod("export", str(out), "--ndjson", "--tenant", str(LAB))
    assert (done.code, done.out) == (0, "")
    assert done.err.splitlines() == ["1,203 DiagnosticReport", "1 Patient", f"1,204 resources of {LAB}"]
    assert names(out) == ["DiagnosticReport.ndjson", "Patient.ndjson", "manifest.json"]
    assert ids((out / "DiagnosticReport.ndjson").read_bytes()) == {f"r{n}" for n in range(1_203)}
    manifest = json.loads((out / "manifest.json").read_bytes())
    assert [(one["type"], one["url"], one["count"]) for one in manifest["output"]] == [
        ("DiagnosticReport", "DiagnosticReport.ndjson", 1_203),
        ("Patient", "Patient.ndjson", 1),
    ]
    assert all(one.stat().st_mode & 0o077 == 0 for one in (out, *(out / name for name in names(out))))
    again = await dod("load", str(out), "--tenant", str(OTHER))
    assert again.code == 0, again.err
    found = await dod("search", "--tenant", str(OTHER), ANNA.join(("patient.identifier=", "")))
    assert "1,203 matches" in found.out
    refused = await dod("export", str(out), "--tenant", str(LAB))
    assert (refused.code, "is not empty" in refused.err) == (1, True)


async def test_filters_and_single_files(dod: Dod, database: Database, tmp_path: Path) -> None:
    await loaded(
        dod,
        tmp_path / "in",
        patient("anna", identified(MRN, "ANNA-4711")),
        patient("bert", identified(MRN, "BERT-0815")),
        report("ra", "anna", effectiveDateTime="2026-03-02"),
        report("rb", "bert", effectiveDateTime="2026-04-02"),
        report("rx", None, subject={"identifier": identified(MRN, "ANNA-4711")}),
        resource("Observation", "oa", status="final", code={"text": "x"}, subject=refers("Patient/anna")),
        resource("Organization", "o1", name="Lab"),
    )
    cases: list[tuple[tuple[str, ...], set[str]]] = [
        ((), {"anna", "bert", "ra", "rb", "rx", "oa", "o1"}),
        (("--type", "Patient"), {"anna", "bert"}),
        (("--type", "Patient", "--type", "Organization"), {"anna", "bert", "o1"}),
        (("--patient", ANNA), {"anna", "ra", "rx", "oa"}),
        (("--patient", "Patient/bert"), {"bert", "rb"}),
        (("--patient", ANNA, "--type", "DiagnosticReport"), {"ra", "rx"}),
        (("--type", "DiagnosticReport", "date=ge2026-04"), {"rb"}),
        (("--type", "DiagnosticReport", "date=ge2026-03&date=lt2026-05", "status=final"), {"ra", "rb"}),
        (("--since", "2000"), {"anna", "bert", "ra", "rb", "rx", "oa", "o1"}),
        (("--since", "2999"), set()),
        (("result:missing=true",), {"ra", "rb", "rx"}),
    ]
    for number, (arguments, expected) in enumerate(cases):
        file = tmp_path / f"{number}.ndjson.gz"
        done = await dod("export", str(file), *arguments, "--tenant", str(LAB))
        assert done.code == 0, done.err
        assert ids(gzip.decompress(file.read_bytes())) == expected, arguments
        assert "4711" not in done.err + done.out
    folder = tmp_path / "packed"
    assert (await dod("export", str(folder), "--gzip", "--tenant", str(LAB))).code == 0
    assert ids(gzip.decompress((folder / "Patient.ndjson.gz").read_bytes())) == {"anna", "bert"}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--type", "DiagnosticRepot"), 1, "did you mean `DiagnosticReport`?"),
        (("statsu=final",), 1, "did you mean `status`?"),
        (("--type", "Patient", "status=final"), 1, "has no search parameter `status`"),
        (("--since", "yesterday"), 1, "not a FHIR date"),
        (("--patient", "4711"), 1, "`system|value`"),
        (("_count=5",), 2, "`_count` selects nothing"),
        (("patient=",), 2, "is a shell variable unset?"),
    ],
)
async def test_a_refused_export_leaves_nothing_behind(
    dod: Dod, database: Database, tmp_path: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    file = tmp_path / "out.ndjson"
    done = await dod("export", str(file), *arguments, "--tenant", str(LAB))
    assert (done.code, said in " ".join(done.err.split())) == (code, True), done.err
    assert set(names(tmp_path)) <= {"dod"}


async def test_a_persons_own_data_has_what_it_refers_to_and_nothing_of_another(
    dod: Dod, database: Database, tmp_path: Path
) -> None:
    content = b"a document of hers " * 20_000
    await loaded(
        dod,
        tmp_path / "in",
        patient("anna", identified(MRN, "ANNA-4711")),
        patient("bert"),
        resource("Practitioner", "doc"),
        resource("Specimen", "free", identifier=[identified("urn:lab", "S-1")]),
        resource(
            "Observation", "loose", status="final", code={"text": "x"}, specimen=refers("Specimen/free")
        ),
        resource("Observation", "his", status="final", code={"text": "x"}, subject=refers("Patient/bert")),
        {
            "resourceType": "Binary",
            "id": "b1",
            "contentType": "application/pdf",
            "data": base64.b64encode(content).decode(),
        },
        resource(
            "Binary", "b2", contentType="text/plain", data="QQ==", securityContext=refers("Patient/bert")
        ),
        report(
            "ra",
            "anna",
            performer=[refers("Practitioner/doc")],
            result=[refers("Observation/loose"), refers("Observation/his")],
            presentedForm=[
                {"url": "Binary/b1"},
                {"url": "Binary/b2"},
                {"url": "https://x.example/Binary/b3"},
            ],
        ),
    )
    file = tmp_path / "anna.zip"
    done = await dod("export", str(file), "--patient", ANNA, "--tenant", str(LAB))
    assert done.code == 0, done.err
    with zipfile.ZipFile(file) as archive:
        members = {one for one in archive.namelist() if one.endswith(".ndjson")}
        found = {one.removesuffix(".ndjson"): ids(archive.read(one)) for one in members}
        manifest = json.loads(archive.read("manifest.json"))
        [document] = manifest["documents"]
        assert archive.read(document["url"]) == content
    assert found == {
        "Patient": {"anna"},
        "DiagnosticReport": {"ra"},
        "Binary": {"b1"},
        "Observation": {"loose"},
        "Practitioner": {"doc"},
        "Specimen": {"free"},
    }
    assert {one["type"]: one["count"] for one in manifest["output"]} == dict.fromkeys(found, 1)


@pytest.mark.parametrize("target", ["out.ndjson", "out.ndjson.gz", "out.zip", "folder"])
def test_an_export_that_finds_no_room_leaves_nothing_of_anybody_behind(tmp_path: Path, target: str) -> None:
    sink = _sink(ExportRequest(LAB, str(tmp_path / target)))
    out = sink.of("Patient")
    file = sink._file if isinstance(sink, Zip) else out
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, file.fileno())
    os.close(full)

    def whole() -> None:
        for _ in range(20):
            out.write(os.urandom(100_000))
        sink.close(Counter(Patient=1), NOW, LAB)

    with pytest.raises(OSError, match="No space left"):
        whole()
    sink.abandon()
    assert [one for one in tmp_path.rglob("*") if one.is_file()] == []
