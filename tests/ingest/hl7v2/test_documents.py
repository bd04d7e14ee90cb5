"""Documents in OBX: encodings, types, several segments of one document, pointers, and MDM."""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

import pytest

from tests.support.hl7v2 import PID, obr, obx
from tests.support.translated import places, report, resources, translated

JPEG = b"\xff\xd8\xff\xe0jpeg"
PDF = b"%PDF-1.4\n" + bytes(range(256)) * 3
ENCODED = b64encode(PDF).decode()
CODE = "11502-2^Report^LN"
TXA = "TXA|1|PN^Note^L|AP|20261122100000+0000"


def ed(data: str, *, kind: str = "AP", subtype: str = "PDF", encoding: str = "Base64", **told: str) -> str:
    return obx(CODE, f"LAB^{kind}^{subtype}^{encoding}^{data}", kind="ED", **told)


def forms(*segments: str) -> list[tuple[str, bytes]]:
    found = report(obr(), *segments)["presentedForm"]
    return [(one["contentType"], b64decode(one["data"], validate=True)) for one in found]


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (ed(ENCODED), ("application/pdf", PDF)),
        (ed(ENCODED, kind="application", subtype="pdf"), ("application/pdf", PDF)),
        (ed(ENCODED, kind="", subtype="application/pdf"), ("application/pdf", PDF)),
        (ed(ENCODED, kind="", subtype="", encoding=""), ("application/pdf", PDF)),
        (ed(ENCODED.rstrip("=")), ("application/pdf", PDF)),
        (ed(ENCODED[:76] + "\\.br\\" + ENCODED[76:]), ("application/pdf", PDF)),
        (ed(f"data:application/pdf;base64,{ENCODED}"), ("application/pdf", PDF)),
        (ed(f"{ENCODED}^^"), ("application/pdf", PDF)),
        (ed(PDF.hex(), encoding="Hex"), ("application/pdf", PDF)),
        (ed(r"{\E\rtf1 a\T\b}", subtype="RTF", encoding="A"), ("application/rtf", rb"{\rtf1 a&b}")),
        (ed("<html>x</html>", kind="TEXT", subtype="HTML", encoding="A"), ("text/html", b"<html>x</html>")),
        (ed("plain words", kind="TX", subtype="", encoding="A"), ("text/plain", b"plain words")),
        (ed(b64encode(JPEG).decode(), kind="IM", subtype=""), ("image/jpeg", JPEG)),
        (ed("Pz8/Pw==", subtype="Octet-stream"), ("application/octet-stream", b"????")),
        (ed(b64encode(b"x").decode(), kind="image", subtype="x-own"), ("image/x-own", b"x")),
    ],
)  # fmt: skip
def test_a_document_by_its_encoding_and_type(sent: str, expected: tuple[str, bytes]) -> None:
    assert forms(sent) == [expected]


def test_the_document_s_result_says_what_and_in_which_state_it_is() -> None:
    found = translated(PID, obr(), ed(ENCODED, f14="20261122100000+0000", status="C"))
    [result] = resources(found, "Observation")
    assert (result["code"]["coding"][0]["code"], result["status"]) == ("11502-2", "corrected")
    assert "valueString" not in result
    [form] = resources(found, "DiagnosticReport")[0]["presentedForm"]
    assert (form["title"], form["creation"]) == ("Report", "2026-11-22T10:00:00Z")


@pytest.mark.parametrize("size", [3 * 40, 100, 2])
def test_several_segments_of_one_document_are_joined(size: int) -> None:
    whole = ENCODED
    cut = [whole[at : at + size * 4] for at in range(0, len(whole), size * 4)]
    assert forms(*map(ed, cut)) == [("application/pdf", PDF)]
    # It is one result too.
    assert len(resources(translated(PID, obr(), *map(ed, cut)), "Observation")) == 1
    encoded = [b64encode(PDF[at : at + size * 4]).decode() for at in range(0, len(PDF), size * 4)]
    assert forms(*map(ed, encoded)) == [("application/pdf", PDF)]
    assert forms(obx(CODE, "~".join(f"LAB^AP^PDF^Base64^{one}" for one in cut), kind="ED")) == [
        ("application/pdf", PDF)
    ]


def test_documents_that_begin_anew_are_documents_of_their_own() -> None:
    one, other = (b64encode(PDF + mark).decode() for mark in (b"1", b"2"))
    assert [data[-1:] for _, data in forms(ed(one), ed(other))] == [b"1", b"2"]
    image = ed(b64encode(b"\x89PNG..").decode(), subtype="PNG")
    assert [kind for kind, _ in forms(ed(one), image, ed(other))] == [
        "application/pdf", "image/png", "application/pdf",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("sent", "rule"),
    [
        (ed("<Base64 encoded>"), "Base64"),
        (ed("AAAAA"), "Base64"),
        (ed("0g", encoding="Hex"), "hexadecimal"),
    ],
)
def test_a_document_that_could_never_be_read_is_told_and_the_rest_is_stored(sent: str, rule: str) -> None:
    for alone in (
        translated(PID, obr(), sent),
        translated(PID, TXA, sent, event="MDM^T02"),
        translated(PID, obr(), obx("2823-3", "4"), sent, profile={"unreadable_documents": "refuse"}),
    ):
        assert alone.bundle is None
        assert [place.partition("]")[2] for place in places(alone, "E")] == ["-5.5"]
        assert rule in alone.faults[0].rule
    beside = translated(PID, obr(), obx("2823-3", "4"), sent)
    assert (places(beside, "E"), places(beside)) == ([], ["OBX[2]-5.5"])
    assert rule in beside.faults[0].rule
    [made] = resources(beside, "DiagnosticReport")
    assert len(made["result"]) == 2
    [document] = made["presentedForm"]
    assert "data" not in document
    assert document["_data"]["extension"][0]["valueCode"] == "error"
    two = translated(PID, obr(), sent, ed("JVBERi0xLjQ=", subtype="PNG"))
    assert (places(two, "E"), places(two)) == ([], ["OBX[1]-5.5"])


WITHDRAWN = [
    (ed(ENCODED, status="W"), ed(b64encode(PDF + b"2").decode())),
    (ed(ENCODED[:600], status="D"), ed(ENCODED[600:], status="D"), ed(b64encode(PDF + b"2").decode())),
    (ed("hers", subtype="TXT", encoding="A", status="W"), ed("x2", subtype="TXT", encoding="A")),
    (obx(CODE, "https://pacs.example/1.pdf", kind="RP", status="W"), ed(b64encode(PDF + b"2").decode())),
    (ed("no Base64", status="W"), ed(b64encode(PDF + b"2").decode())),
]


@pytest.mark.parametrize("sent", WITHDRAWN)
def test_a_document_that_was_withdrawn_is_shown_no_more(sent: tuple[str, ...]) -> None:
    assert [data[-1:] for _, data in forms(*sent)] == [b"2"]
    found = translated(PID, obr(), *sent)
    assert places(found) == []
    statuses = [one["status"] for one in resources(found, "Observation")]
    assert sorted(statuses) == ["entered-in-error", "final"]


def test_a_delta_names_the_documents_that_it_withdraws() -> None:
    sent = ed("", status="D"), obx("1^Link^L", "https://pacs.example/1.pdf", kind="RP", status="W")
    found = translated(PID, obr(f55="U"), *sent)
    assert [one.deleted for one in found.partials if one.results] == [
        {"presentedForm(Report)", "presentedForm(Link)"}
    ]
    assert places(found) == []


@pytest.mark.parametrize("code", ["D", "W", "own"])
def test_lines_that_were_withdrawn_are_no_text_of_the_report(code: str) -> None:
    lines = [obx(CODE, one, kind="TX") for one in ("FINDINGS:", "Nothing.", '""')]
    lines.append(obx(CODE, "of another patient", kind="TX", status=code))
    [form] = report(obr(), *lines, profile={"result_statuses": {"own": "entered-in-error"}})["presentedForm"]
    assert b64decode(form["data"]) == b"FINDINGS:\nNothing."


def test_pointers() -> None:
    url = "https://pacs.example/1.pdf"
    [form] = report(obr(), obx(CODE, f"{url}^PACS^AP^PDF", kind="RP"))["presentedForm"]
    assert form == {"contentType": "application/pdf", "url": url, "title": "Report"}
    [form] = report(obr(), obx(CODE, r"\E\\E\server\E\1.pdf^^AP^PDF", kind="RP"))["presentedForm"]
    assert form["title"] == r"\\server\1.pdf"


WITH_PARENT = (
    "TXA|1|PN^Note^L|TX|20261122100000+0000|||||9^Doc^Dan|||DOC-1^HOSP|DOC-0^HOSP|O-1^EHR|F-1^LAB||AU||AV"
)


def document(event: str, *segments: str, txa: str = WITH_PARENT) -> Any:
    [found] = resources(translated(PID, txa, *segments, event=event), "DocumentReference")
    return found


def test_a_document_by_itself() -> None:
    found = document("MDM^T02", obx(CODE, "all is well", kind="TX"), ed(ENCODED))
    assert found["masterIdentifier"] == {"system": "urn:dod:hl7v2:authority:HOSP", "value": "DOC-1"}
    assert found["identifier"] == [found["masterIdentifier"]]
    assert (found["status"], found["docStatus"]) == ("current", "final")
    assert found["date"] == "2026-11-22T10:00:00Z"
    assert [one["attachment"]["contentType"] for one in found["content"]] == [
        "application/pdf", "text/plain; charset=utf-8",
    ]  # fmt: skip
    assert [one["identifier"]["value"] for one in found["context"]["related"]] == ["O-1", "F-1"]
    assert len(found["author"]) == 1
    assert "relatesTo" not in found


@pytest.mark.parametrize(
    ("event", "status", "code"),
    [
        ("MDM^T10", "current", "replaces"),
        ("MDM^T06", "current", "appends"),
        ("MDM^T11", "entered-in-error", None),
        ("MDM^T01", "current", None),
    ],
)
def test_what_becomes_of_documents(event: str, status: str, code: str | None) -> None:
    found, *others = resources(translated(PID, WITH_PARENT, event=event), "DocumentReference")
    assert [one["status"] for one in others] == (["superseded"] if code == "replaces" else [])
    assert found["status"] == status
    assert [one["code"] for one in found.get("relatesTo", ())] == ([code] if code else [])
    assert "content" not in found


@pytest.mark.parametrize("event", ["ORM^O01", "OML^O21", "ORU^R01"])
def test_a_document_of_no_report_is_kept_by_itself(event: str) -> None:
    segments = (ed(ENCODED), obr()) if event == "ORU^R01" else ("ORC|NW|O-1", obr(), ed(ENCODED))
    found = translated(PID, *segments, event=event)
    [made] = resources(found, "DocumentReference")
    assert b64decode(made["content"][0]["attachment"]["data"]) == PDF
    for order in resources(found, "ServiceRequest") if event != "ORU^R01" else ():
        assert len(order["supportingInfo"]) == 1


def test_comments_of_an_order_that_no_report_answers_to_are_the_order_s() -> None:
    orders = ("ORC|RE|O-1", obr(), "NTE|1||Fasting", "TXA|1|DI|TX")
    for segments, event in (
        (orders, "MDM^T02"),
        (("ORC|SC|O-1", "NTE|1||Fasting", "ORC|RE|O-2", obr()), "ORU^R01"),
    ):
        notes = [
            one.get("note") for one in resources(translated(PID, *segments, event=event), "ServiceRequest")
        ]
        assert [{"text": "Fasting"}] in notes
