"""A person's own data: `$everything` in pages, and `dod export … .zip`."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING
from zipfile import ZipFile

from fhir.resources.R4B.bundle import Bundle

from store.tenancy import SearchScope
from tests.support.cases import fill, mr, msg, pat, rep
from tests.support.commands import command, database_of_commands
from tests.support.feed import send
from tests.support.fhir import MRN, identified, patient, refers, report, resource
from tests.support.service import DATABASE, opened_service

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.support.service import Answer, Json, Service

ANNA = identified(MRN, "ANNA-1")
PDF = b"a made-up finding, at length. " * 5_000


def hers() -> list[Json]:
    subject = {"subject": refers("Patient/anna")}
    return [
        patient("anna", ANNA),
        resource("Practitioner", "doctor"),
        report(
            "r1", "anna", effectiveDateTime="2026-01-10", performer=[refers("Practitioner/doctor")],
            presentedForm=[{"contentType": "application/pdf", "data": base64.b64encode(PDF).decode()}],
        ),
        report("r2", "anna", effectiveDateTime="2026-02-10"),
        resource("Observation", "o1", status="final", code={"text": "x"}, **subject),
        resource("ServiceRequest", "s1", status="active", intent="order", **subject),
    ]  # fmt: skip


def others() -> list[Json]:
    with_anna = {"performer": [refers("Patient/anna")]}
    return [
        patient("bert", identified(MRN, "BERT-1")),
        report("rb", "bert"),
        report("rc", "bert", **with_anna),
    ]


def found(answer: Answer) -> dict[str, str]:
    """Name → search mode of each entry."""
    assert answer.status == 200, answer.text
    Bundle.model_validate(answer.body)
    entries = answer.body.get("entry", [])
    return {
        f"{one['resource']['resourceType']}/{one['resource']['id']}": one["search"]["mode"] for one in entries
    }


ALL = {"Patient/anna", "DiagnosticReport/r1", "DiagnosticReport/r2", "Observation/o1", "ServiceRequest/s1"}


async def test_everything_of_a_patient_and_nothing_of_another(service: Service) -> None:
    await service.load(*hers(), *others())
    whole = found(await service.get("Patient/anna/$everything"))
    assert {name for name, mode in whole.items() if mode == "match"} == ALL
    assert whole.keys() - ALL == {"Practitioner/doctor"}
    pages = await service.pages(await service.get("Patient/anna/$everything?_count=2"))
    assert len(pages) == 3
    seen = [name for page in pages for name, mode in found(page).items() if mode == "match"]
    assert sorted(seen) == sorted(ALL)
    assert "ANNA-1" not in str([page.links for page in pages])
    typed = found(await service.get("Patient/anna/$everything?_type=DiagnosticReport,Observation"))
    assert {name for name, mode in typed.items() if mode == "match"} == {
        "DiagnosticReport/r1", "DiagnosticReport/r2", "Observation/o1",
    }  # fmt: skip
    for types, shown in (
        ("Practitioner", {"Practitioner/doctor"}),
        ("Patient,Practitioner", {"Patient/anna", "Practitioner/doctor"}),
        ("Observation,Organization", {"Observation/o1"}),
        ("DiagnosticReport", {"DiagnosticReport/r1", "DiagnosticReport/r2"}),
        ("Patient&_type=Observation,Practitioner", {"Patient/anna", "Observation/o1", "Practitioner/doctor"}),
    ):
        for count in (1, 50):
            first = await service.get(f"Patient/anna/$everything?_type={types}&_count={count}")
            pages = await service.pages(first)
            assert {name for page in pages for name in found(page)} == shown, (types, count)
    asked = {
        "parameter": [{"name": "_type", "valueCode": "Observation"}, {"name": "_count", "valueInteger": 1}]
    }
    asked["parameter"].append({"name": "_type", "valueCode": "Patient"})
    posted = await service.request(
        "POST", "Patient/anna/$everything", {"resourceType": "Parameters", **asked}
    )
    assert "/Patient/anna/$everything?" in posted.links["next"]
    assert {name for page in await service.pages(posted) for name in found(page)} == {
        "Patient/anna", "Observation/o1",
    }  # fmt: skip
    bare = await service.request("POST", "Patient/anna/$everything", {"resourceType": "Parameters"})
    assert found(bare) == whole
    misspelt = {"resourceType": "Parameters", "parameter": [{"name": "begin", "valueDate": "2026"}]}
    assert (await service.request("POST", "Patient/anna/$everything", misspelt)).status == 400
    spring = found(
        await service.get("Patient/anna/$everything?start=2026-02-01&end=2026-02-28&_type=DiagnosticReport")
    )
    assert set(spring) == {"DiagnosticReport/r2"}
    await service.load(
        report("over", "anna", effectivePeriod={"start": "2026-04-01", "end": "2026-04-05T10:00:00Z"}),
        report("on", "anna", effectivePeriod={"start": "2026-04-05T09:00:00Z", "end": "2026-04-09"}),
        report("before", "anna", effectivePeriod={"start": "2026-04-01", "end": "2026-04-04"}),
        report("behind", "anna", effectivePeriod={"start": "2026-04-06"}),
    )
    day = await service.get(
        "Patient/anna/$everything?start=2026-04-05&end=2026-04-05&_type=DiagnosticReport&_count=1"
    )
    care = {name for page in await service.pages(day) for name in found(page)}
    assert care == {"DiagnosticReport/over", "DiagnosticReport/on"}
    service.clock.move(hours=1)
    await service.load(report("r3", "anna"))
    since = service.clock().isoformat().replace("+00:00", "Z")
    assert set(found(await service.get(f"Patient/anna/$everything?_since={since}"))) == {
        "DiagnosticReport/r3"
    }


def merged(minute: int, name: str, *numbers: Json) -> Json:
    """A message about somebody with these numbers, and a report of theirs."""
    return msg(pat("1", *numbers), rep(name, "Patient/1", fill(name)), minute=minute)


async def test_records_that_were_merged_are_one_persons(
    mongodb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    database_of_commands(monkeypatch, mongodb, DATABASE)
    dod = command(monkeypatch, capsys)
    async with opened_service(mongodb, search_scope=SearchScope.ANY) as service:
        for sent in (
            merged(1, "F1", mr("1")),
            merged(2, "F2", mr("2"), mr("1", use="old")),
            msg(pat("1", mr("3"), name="Carl"), rep("F3", "Patient/1", fill("F3")), minute=3),
        ):
            assert (await send(service, sent)).status == 200
        records = (await service.search("identifier=urn:made-up:mr|1", type="Patient")).ids
        reports = (await service.search("patient.identifier=urn:made-up:mr|1")).ids
        assert (len(records), len(reports)) == (2, 2)
        whole = {*(f"Patient/{one}" for one in records), *(f"DiagnosticReport/{one}" for one in reports)}
        for record in records:
            assert found(await service.get(f"Patient/{record}/$everything")).keys() == whole
        told = (await dod("audit", str(service.tenant), "--json")).out.splitlines()
        asked = [json.loads(one) for one in told if "everything" in one]
        assert [set(one["patients"]) for one in asked] == [{f"Patient/{one}" for one in records}] * 2
        for number, patient in enumerate(("urn:made-up:mr|1", "urn:made-up:mr|2", f"Patient/{records[0]}")):
            target = tmp_path / f"{number}.ndjson"
            done = await dod("export", str(target), "--tenant", str(service.tenant), "--patient", patient)
            assert done.code == 0, done.err
            lines = [json.loads(line) for line in target.read_text().splitlines()]
            assert {f"{one['resourceType']}/{one['id']}" for one in lines} == whole, patient


async def test_what_is_refused(service: Service) -> None:
    await service.load(*hers())
    for query in (
        "_type=Pateint",
        "start=yesterday",
        "_since=2026-01-01",
        "_count=x",
        "name=anna",
        "end=1&end=2",
    ):
        answer = await service.get(f"Patient/anna/$everything?{query}")
        assert answer.status == 400, query
    assert (await service.get("Patient/nobody/$everything")).status == 404
    await service.delete("Patient/anna")
    assert (await service.get("Patient/anna/$everything")).status == 410
    other = await service.new_tenant()
    await other.load(patient("anna"))
    link = (await other.get("Patient/anna/$everything")).links["self"]
    assert str(other.tenant) in link


async def test_scopes_hold(service: Service) -> None:
    await service.load(*hers())
    narrow = await service.with_token(scopes=["system/Patient.rs", "system/DiagnosticReport.rs"])
    assert set(found(await narrow.get("Patient/anna/$everything"))) == {
        "Patient/anna", "DiagnosticReport/r1", "DiagnosticReport/r2",
    }  # fmt: skip
    # Types that another token of the client may not read take no place among the others.
    wide = await service.with_token(scopes=["system/*.rs"])
    first = await narrow.get("Patient/anna/$everything?_count=2")
    rest = [set(found(page)) & ALL for page in await wide.pages(await wide.get(first.links["next"]))]
    assert set().union(*rest) == {"DiagnosticReport/r1", "DiagnosticReport/r2", "Observation/o1",
                                  "ServiceRequest/s1"} - set(found(first))  # fmt: skip
    blind = await service.with_token(scopes=["system/DiagnosticReport.rs"])
    assert (await blind.get("Patient/anna/$everything")).status == 403


async def test_a_zip_has_resources_documents_and_a_manifest(
    mongodb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    database_of_commands(monkeypatch, mongodb, DATABASE)
    dod = command(monkeypatch, capsys)
    async with opened_service(mongodb) as service:
        await service.load(*hers(), *others())
        target, tenant = tmp_path / "anna.zip", str(service.tenant)
        done = await dod("export", str(target), "--tenant", tenant, "--patient", f"{MRN}|ANNA-1")
        assert done.code == 0, done.err
        assert target.stat().st_mode & 0o777 == 0o600
        with ZipFile(target) as archive:
            assert archive.testzip() is None
            manifest = json.loads(archive.read("manifest.json"))
            lines = {
                output["type"]: archive.read(output["url"]).splitlines() for output in manifest["output"]
            }
            assert {output["type"]: output["count"] for output in manifest["output"]} == {
                kind: len(some) for kind, some in lines.items()
            }
            names = {f"{kind}/{json.loads(line)['id']}" for kind, some in lines.items() for line in some}
            assert names == ALL | {"Practitioner/doctor"}
            [document] = manifest["documents"]
            assert archive.read(document["url"]) == PDF
            assert document["sha1"] == hashlib.sha1(PDF, usedforsecurity=False).hexdigest()
        told = (await dod("audit", tenant, "--did", "exported", "--json")).out
        assert json.loads(told)["patients"] == [f"{MRN}|ANNA-1"]
        refused = await dod("export", str(tmp_path / "x.zip"), "--tenant", tenant, "--patient", "ANNA-1")
        assert refused.code == 1
        assert target.exists()
