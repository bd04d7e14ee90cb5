"""`POST {base}/$hl7v2`: messages over HTTP, answered by acknowledgments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from store.tenancy import SearchScope
from tests.support.mllp import errors, msa, oru
from tests.support.service import Answer, opened_service

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.service import Service

HL7V2 = "application/hl7-v2"


async def push(service: Service, *messages: bytes, kind: str = HL7V2, query: str = "") -> Answer:
    return await service.request("POST", f"$hl7v2{query}", data=b"".join(messages), content_type=kind)


def told(answer: Answer) -> list[str]:
    return msa(answer.text.encode())


@pytest.mark.parametrize(
    "kind",
    [
        HL7V2,
        "x-application/hl7-v2+er7",
        "text/plain",
        "application/hl7-v2; charset=UTF-8",
        "x-application/hl7-v2+er7; charset=ISO-8859-1",
    ],
)
async def test_a_message_of_any_of_its_media_types_is_taken(service: Service, kind: str) -> None:
    answer = await push(service, oru(), kind=kind)
    assert answer.status == 200, answer.text
    assert answer.headers["Content-Type"].partition(";")[0] == kind.partition(";")[0]
    assert told(answer) == ["MSA", "AA", "M-1"]
    assert len((await service.search("patient.identifier=P-1")).ids) == 1


async def test_each_verdict_has_its_status(service: Service) -> None:
    admin = await service.with_token(scopes=["system/*.cruds", "dod/admin"])
    refused = await push(service, oru(status="Z"))
    assert (refused.status, told(refused)[1]) == (422, "AE")
    assert errors(refused.text.encode())[0][2] == "OBR^1^25"
    letter = (await admin.get(f"$dead-letters/{refused.headers['Dead-Letter']}?body=true")).body
    assert letter["body"].encode() == oru(status="Z")
    assert letter["client"] == "tests"
    rejected = await push(service, oru().replace(b"ORU^R01^ORU_R01", b"ZZZ^Z01"))
    assert (rejected.status, told(rejected)[1]) == (400, "AR")
    nothing = await push(service, b"no message")
    assert (nothing.status, told(nothing)[1]) in ((422, "AE"), (400, "AR"))
    silent = await push(service, oru("M-4", msh="|||NE|NE"))
    assert (silent.status, silent.text) == (204, "")
    assert (await push(service, oru(), kind="application/xml")).status == 415
    assert (await push(service, b"")).status in (400, 422)


async def test_a_document_that_cannot_be_read_keeps_nobody_from_the_results(service: Service) -> None:
    letter = b"OBX|2|ED|11502-2^Letter^LN||LAB^AP^PDF^Base64^<no data>||||||F\r"
    answer = await push(service, oru() + letter)
    assert (answer.status, told(answer)[1]) == (200, "AA")
    [error] = errors(answer.text.encode())
    assert (error[2], error[4]) == ("OBX^2^5^1^5", "W")
    [found] = (await service.search("patient.identifier=P-1")).matches
    report = found["resource"]
    assert len(report["result"]) == 2
    [form] = report["presentedForm"]
    assert (form["title"], "data" in form) == ("Letter", False)
    assert form["_data"]["extension"][0]["valueCode"] == "error"


ANNA = "||MADEUP^ANNA||19700101|F"
NAMED = "||MADEUP^ANNA|||F"


@pytest.mark.parametrize("fillers", [("F-1", "F-2"), ("", "")], ids=["numbers", "no numbers"])
@pytest.mark.parametrize(
    ("first", "second", "patients"),
    [
        (ANNA, ANNA, 1),
        (ANNA, ANNA.replace("F", "M"), 2),
        (ANNA, ANNA.replace("0101", "0102"), 2),
        (NAMED, NAMED, 2),
        ("||||19700101|F", "||||19700101|F", 2),
        ("||UNKNOWN^UNKNOWN||19700101|F", "||UNKNOWN^UNKNOWN||19700101|F", 2),
        ("|||||", "|||||", 2),
        (f"0{NAMED}", f"0{NAMED}", 2),
        (f"^^^HOSP^MR{NAMED}", f"^^^HOSP^MR{NAMED}", 2),
    ],
)
async def test_a_patient_without_a_number_is_known_by_name_birth_date_and_sex_together_or_not_at_all(
    service: Service, first: str, second: str, patients: int, fillers: tuple[str, str]
) -> None:
    tenant = await service.new_tenant(search_scope=SearchScope.ANY)
    for number, (who, filler) in enumerate(zip((first, second), fillers, strict=True), 1):
        lines = oru(f"M-{number}", filler=filler, value=f"{number}.0").split(b"\r")
        lines[1] = f"PID|1||{who}".encode()
        if not filler:
            lines[2] = lines[2].replace(b"O-|^LAB", b"|")
        assert told(await push(tenant, b"\r".join(lines)))[1] == "AA"
    assert (await tenant.search("_total=accurate", type="Patient")).body["total"] == patients
    reports = (await tenant.search("_total=accurate")).matches
    assert len({one["resource"]["subject"]["reference"] for one in reports}) == patients


async def test_a_report_of_nobody_known_is_corrected_by_its_number(service: Service) -> None:
    tenant = await service.new_tenant(search_scope=SearchScope.ANY)
    for number, value in enumerate(("1.0", "2.0"), 1):
        body = oru(f"M-{number}", value=value, time=f"2026112210300{number}", status="PC"[number - 1])
        lines = body.split(b"\r")
        lines[1] = f"PID|1||{NAMED}".encode()
        assert told(await push(tenant, b"\r".join(lines)))[1] == "AA"
    [found] = (await tenant.search("")).matches
    assert found["resource"]["status"] == "corrected"


async def test_several_messages_are_answered_by_a_batch_and_kept_apart(service: Service) -> None:
    messages = [oru("M-1"), oru("M-2", status="Z"), oru("M-3", filler="F-3")]
    answer = await push(service, b"FHS|^~\\&\rBHS|^~\\&|||||||||B-1\r", *messages, b"BTS|3\rFTS|1\r")
    assert answer.status == 200
    lines = answer.text.split("\r")
    assert [line[:9] for line in lines if line.startswith("MSA")] == ["MSA|AA|M-", "MSA|AE|M-", "MSA|AA|M-"]
    assert lines[0].startswith("BHS")
    assert len((await service.search("patient.identifier=P-1")).ids) == 2


async def test_messages_in_frames_are_several(service: Service) -> None:
    framed = [b"\x0b" + one.rstrip(b"\r") + b"\x1c\r" for one in (oru("M-1"), oru("M-2", filler="F-2"))]
    answer = await push(service, *framed)
    assert [line for line in answer.text.split("\r") if line.startswith("MSA")] == [
        "MSA|AA|M-1",
        "MSA|AA|M-2",
    ]


async def test_a_message_twice_is_stored_once(service: Service) -> None:
    assert [told(await push(service, oru()))[1] for _ in range(2)] == ["AA", "AA"]
    keyed = {"Idempotency-Key": "one"}
    for _ in range(2):
        answer = await service.request(
            "POST", "$hl7v2", data=oru("M-2", value="6"), content_type=HL7V2, headers=keyed
        )
        assert told(answer) == ["MSA", "AA", "M-2"]
    [report] = (await service.search("patient.identifier=P-1")).ids
    history = await service.get(f"DiagnosticReport/{report}/_history")
    assert history.body["total"] == 1


async def test_who_may_not_write_is_told_so_as_by_any_push(service: Service) -> None:
    reader = await service.with_token(scopes=["system/*.rs"])
    answer = await push(reader, oru())
    assert answer.status == 403
    assert answer.issues == [("error", "forbidden")]
    assert (await service.search("patient.identifier=P-1")).ids == []


async def test_a_declared_source_is_named_or_found_by_the_header(mongodb: str, tmp_path: Path) -> None:
    file = tmp_path / "sources.toml"
    source = '[[source]]\nname = "{}"\ntenant = "{}"\n'
    file.write_text(source.format("lab", "acme/Development") + source.format("other", "acme/Staging"))
    async with opened_service(mongodb, mllp_sources=file) as service:
        answer = await push(service, oru(), query="?source=lab")
        assert answer.status == 400
        assert "names no declared source of this tenant" in answer.texts


async def test_a_message_of_too_many_segments_is_refused_before_it_is_mapped(mongodb: str) -> None:
    async with opened_service(mongodb, hl7v2_segments_max=100, bundle_entries_max=20) as service:
        answer = await push(service, oru() + b"OBR\r" * 100)
        assert (answer.status, told(answer)[1]) == (422, "AE")
        assert "HL7V2_SEGMENTS_MAX" in answer.text
        assert "Dead-Letter" in answer.headers
        for batch in (oru() + b"\r" * 1_100, oru() * 25):
            refused = await push(service, batch)
            assert (refused.status, refused.issues) == (413, [("error", "too-costly")])
            assert "Dead-Letter" not in refused.headers
        assert (await push(service, *(oru(f"M-{n}") for n in range(19)))).status == 200
