"""Reports, orders, notes, specimens and texts, each from its fields."""

from __future__ import annotations

from typing import Any

import pytest

from ingest.pipeline.validation.structure import faults
from tests.support.hl7v2 import PID, fields, obr, obx
from tests.support.translated import kinds, places, report, resources, translated

CODE = "2823-3^Potassium^LN"


def test_a_report() -> None:
    found = report(
        "ORC|RE|O-1^EHR|F-1^LAB",
        obr(
            f2="O-1^EHR",
            f8="20261122094500+0000",
            f22="202611221000+0000",
            f24="CH",
            f26="x",
            f32="9&Doc&Dan",
        ),
        obx(CODE, "4"),
    )
    assert kinds(found["identifier"]) == [("FILL", "F-1"), ("PLAC", "O-1")]
    assert found["code"]["coding"][0]["code"] == "24323-8"
    assert found["effectivePeriod"] == {"start": "2026-11-22T09:30:00Z", "end": "2026-11-22T09:45:00Z"}
    assert found["issued"] == "2026-11-22T10:00:00Z"
    assert found["category"] == [
        {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0074", "code": "CH"}]}
    ]
    assert found["status"] == "final"
    assert len(found["result"]) == len(found["basedOn"]) == len(found["resultsInterpreter"]) == 1
    assert "id" not in found


def test_numbers_of_orc_stand_in_for_those_of_obr() -> None:
    found = report("ORC|RE|O-1^EHR|F-9^LAB", obr(f3=""))
    assert kinds(found["identifier"]) == [("FILL", "F-9"), ("PLAC", "O-1")]


def test_dates_that_are_no_instants_are_kept() -> None:
    found = report(obr(f22="20261122"))
    assert "issued" not in found
    assert found["_issued"]["extension"][0]["valueDateTime"] == "2026-11-22"


def _beside(kind: str, value: str, url: str = "urn:dod:hl7v2:OBR-8") -> Any:
    return {"extension": [{"url": url, f"value{kind}": value}]}


@pytest.mark.parametrize(
    ("began", "ended", "time"),
    [
        ("20261122", "20261122", {"effectiveDateTime": "2026-11-22"}),
        (
            "202611220930",
            "20261122",
            {"effectivePeriod": {"start": "2026-11-22T09:30:00Z", "end": "2026-11-22"}},
        ),
        ("", "20261122", {"effectivePeriod": {"end": "2026-11-22"}}),
        (
            "soon",
            "20261122",
            {
                "effectivePeriod": {
                    "_start": _beside("String", "soon", "urn:dod:hl7v2:text"),
                    "end": "2026-11-22",
                }
            },
        ),
        (
            "20261122",
            "202611220930",
            {
                "effectiveDateTime": "2026-11-22",
                "_effectiveDateTime": _beside("DateTime", "2026-11-22T09:30:00Z"),
            },
        ),
        (
            "20261123",
            "20261122",
            {"effectiveDateTime": "2026-11-23", "_effectiveDateTime": _beside("DateTime", "2026-11-22")},
        ),
        (
            "20261123",
            "late",
            {"effectiveDateTime": "2026-11-23", "_effectiveDateTime": _beside("String", "late")},
        ),
    ],
)
def test_times_that_make_no_period_hold_up_no_result(began: str, ended: str, time: dict[str, Any]) -> None:
    found = report(obr(f7=began, f8=ended), obx(CODE, "4"))
    assert {name: value for name, value in found.items() if "effective" in name} == time
    assert faults(found) == ()


@pytest.mark.parametrize(
    ("sent", "status"),
    [("O", "registered"), ("I", "registered"), ("S", "registered"), ("N", "registered"), ("A", "partial"),
     ("R", "partial"), ("P", "preliminary"), ("M", "preliminary"), ("F", "final"), ("C", "corrected"),
     ("X", "cancelled"), ("f^Final^HL70123", "final")],
)  # fmt: skip
def test_the_status_of_a_report(sent: str, status: str) -> None:
    assert report(obr(status=sent))["status"] == status


@pytest.mark.parametrize("sent", ["Y", "Z", "final", "Q"])
def test_a_status_that_cannot_be_told_is_refused_unless_the_profile_tells_it(sent: str) -> None:
    found = translated(PID, obr(status=sent))
    assert found.bundle is None
    assert found.refused
    assert [(one.place, one.code) for one in found.faults] == [("OBR[1]-25", "103")]
    assert report(obr(status=sent), profile={"report_statuses": {sent: "amended"}})["status"] == "amended"


@pytest.mark.parametrize(
    ("told", "results", "status"),
    [
        ("unknown", "FF", "unknown"),
        ("final", "P", "final"),
        ("from-results", "FC", "final"),
        ("from-results", "FP", "partial"),
        ("from-results", "P", "preliminary"),
        ("from-results", "", "preliminary"),
    ],
)
def test_a_missing_status_is_that_of_the_profile(told: str, results: str, status: str) -> None:
    lines = [obx(f"{n}-0^A^LN", "1", status=code) for n, code in enumerate(results)]
    found = translated(PID, obr(status=""), *lines, profile={"missing_report_status": told})
    assert resources(found, "DiagnosticReport")[0]["status"] == status
    assert places(found) == ["OBR[1]-25"]
    assert translated(PID, obr(status=""), profile={"missing_report_status": "refuse"}).refused


def test_accession_category_and_codes_by_profile() -> None:
    profile = {
        "accession": "OBR-18",
        "category": "LAB",
        "default_order_authority": "https://lab.example",
        "systems": {"WinPath": "https://winpath.example"},
        "codes": {"WinPath": {"K": {"system": "http://loinc.org", "code": "2823-3", "display": "Potassium"}}},
    }
    found = report(obr(code="K^Kalium^WinPath", f3="F-1", f18="ACC-1"), profile=profile)
    assert kinds(found["identifier"]) == [("FILL", "F-1"), ("ACSN", "ACC-1")]
    assert {one["system"] for one in found["identifier"]} == {"https://lab.example"}
    assert found["category"][0]["coding"][0]["code"] == "LAB"
    assert found["code"]["coding"] == [
        {"system": "http://loinc.org", "code": "2823-3", "display": "Potassium"},
        {"system": "https://winpath.example", "code": "K", "display": "Kalium"},
    ]


def test_reports_that_nothing_tells_apart_have_ids_of_their_own() -> None:
    one = translated(PID, obr(f3="", f7=""), number="A")
    other = translated(PID, obr(f3="", f7=""), number="B")
    ids = [resources(each, "DiagnosticReport")[0]["id"] for each in (one, other)]
    assert len(set(ids)) == 2
    assert ids[0] == resources(translated(PID, obr(f3="", f7=""), number="A"), "DiagnosticReport")[0]["id"]
    twins = resources(translated(PID, obr(), obx(CODE, "1"), obr(), obx(CODE, "2")), "DiagnosticReport")
    assert [one.get("id") for one in twins] == [None, "twin-2"]


def test_an_order() -> None:
    orc = fields(
        "ORC",
        f1="NW",
        f2="O-1^EHR",
        f4="G-1^EHR",
        f8="O-0&EHR^F-0&LAB",
        f9="20261122080000+0000",
        f12="5^Doc^Dan",
    )
    found = translated(
        PID, orc, obr(status="", f5="S", f13="fasting", f31="R1^Reason^I10"),
        "TQ1|1||||||20261123080000+0000||A",
        "NTE|1||please hurry", obx("1-0^Weight^LN", "70"), event="OML^O21",
    )  # fmt: skip
    [made] = resources(found, "ServiceRequest")
    assert (made["status"], made["intent"], made["priority"]) == ("active", "order", "asap")
    assert made["requisition"]["value"] == "G-1"
    assert made["authoredOn"] == "2026-11-22T08:00:00Z"
    assert made["occurrenceDateTime"] == "2026-11-23T08:00:00Z"
    assert made["basedOn"][0]["identifier"]["value"] == "F-0"
    assert made["reasonCode"][0]["coding"][0]["system"] == "http://hl7.org/fhir/sid/icd-10"
    assert made["note"] == [{"text": "please hurry"}]
    assert len(made["supportingInfo"]) == 1
    for control, status in (("CA", "revoked"), ("HD", "on-hold"), ("RE", "active")):
        sent = orc.replace("NW", control)
        [made] = resources(translated(PID, sent, obr(status=""), event="ORM^O01"), "ServiceRequest")
        assert made["status"] == status
        assert "authoredOn" not in made


def test_parents_and_children_of_a_culture() -> None:
    found = translated(
        PID,
        obr("F-1", code="600-7^Culture^LN"),
        obx("6463-4^Organism^LN", "1^E. coli^SCT", kind="CWE", f4="1"),
        obr("F-2", code="18769-0^Susceptibility^LN", f26="6463-4&Organism&LN^1^E. coli", f29="^F-1&LAB"),
        obx("18864-9^Ampicillin^LN", "<=8", kind="SN", f8="S"),
    )
    organism, drug = resources(found, "Observation")
    assert drug["derivedFrom"][0]["identifier"] == organism["identifier"][0]
    assert resources(found, "ServiceRequest")[1]["basedOn"][0]["identifier"]["value"] == "F-1"
    child = resources(found, "DiagnosticReport")[1]
    assert child["extension"][0]["valueString"].startswith("6463-4&Organism")


def test_notes_by_their_place() -> None:
    found = translated(
        PID, "NTE|1||about the patient", obr(), "NTE|1||line one", r"NTE|2||line \T\ two", obx(CODE, "4"),
        "NTE|1|L|a~b|RE|5^Doc^Dan|20261122100000+0000", "SPM|1|||BLD", "NTE|1||hemolysed",
    )  # fmt: skip
    [made] = resources(found, "DiagnosticReport")
    assert [one["valueAnnotation"]["text"] for one in made["extension"]] == [
        "about the patient\nline one\nline & two"
    ]
    [note] = resources(found, "Observation")[0]["note"]
    assert (note["text"], note["time"]) == ("a\nb", "2026-11-22T10:00:00Z")
    assert resources(found, "Specimen")[0]["note"] == [{"text": "hemolysed"}]


def test_null_is_no_comment() -> None:
    found = translated(PID, obr(), 'NTE|1||""', obx(CODE, "4"), 'NTE|1||""', 'NTE|2||""~fasting')
    assert "extension" not in resources(found, "DiagnosticReport")[0]
    assert [one["text"].strip() for one in resources(found, "Observation")[0]["note"]] == ["fasting"]


def test_z_segments_and_participants_are_kept_where_they_stand() -> None:
    found = translated(PID, obr(), "ZDS|1.2^APP^Application^DICOM", obx(CODE, "4"), "PRT|1|AD||RO|5^Doc")
    assert resources(found, "DiagnosticReport")[0]["extension"] == [
        {"url": "urn:dod:hl7v2:segment", "valueString": "ZDS|1.2^APP^Application^DICOM"}
    ]
    assert resources(found, "Observation")[0]["extension"][-1]["valueString"] == "PRT|1|AD||RO|5^Doc"


def test_specimens() -> None:
    spm = fields(
        "SPM", f1="1", f2="S-1&EHR^S-2&LAB", f4="BLD", f6="HEPA", f7="VENIP", f8="ARM^Arm^L",
        f12="2^mL&&UCUM",
        f17="202611220900+0000^202611220910+0000", f18="202611221000+0000", f24="HEM", f30="ACC-1",
    )  # fmt: skip
    found = translated(PID, obr(), obx(CODE, "4"), spm)
    [made] = resources(found, "Specimen")
    assert kinds(made["identifier"]) == [("FILL", "S-2"), ("PLAC", "S-1")]
    assert made["collection"]["collectedPeriod"]["end"] == "2026-11-22T09:10:00Z"
    assert made["collection"]["quantity"]["value"] == 2
    assert kinds([made["accessionIdentifier"]]) == [("ACSN", "ACC-1")]
    assert "specimen" in resources(found, "Observation")[0]
    old = translated(PID, obr(f14="202611221000+0000", f15="BLD&Blood&HL70070^^^ARM&Arm"), obx(CODE, "4"))
    [made] = resources(old, "Specimen")
    assert made["type"]["coding"][0]["display"] == "Blood"
    assert made["receivedTime"] == "2026-11-22T10:00:00Z"
    beside = {"f9": "5^mL&&UCUM", "f10": "C1^Coll^Ector", "f39": "C^Hard to draw^L~^Second arm"}
    old = translated(PID, obr(f15="BLD&Blood&HL70070^^^ARM&Arm", **beside), obx(CODE, "4"))
    [made] = resources(old, "Specimen")
    [collector] = resources(old, "Practitioner")
    assert collector["identifier"][0]["value"] == "C1"
    assert made["collection"]["collector"]["reference"].startswith("urn:uuid:")
    assert made["collection"]["bodySite"]["coding"][0]["code"] == "ARM"
    assert made["collection"]["quantity"]["value"] == 5
    assert [one["text"] for one in made["note"]] == ["Hard to draw", "Second arm"]
    # Without a specimen nobody is told who collected it.
    assert resources(translated(PID, obr(**beside), obx(CODE, "4")), "Specimen") == []


def test_specimen_centred_messages() -> None:
    found = translated(
        PID, "SPM|1|^S-1&LAB||BLD", obx("1-0^Volume^LN", "5"), obr("F-1"), "ORC|RE|O-1^EHR", obx(CODE, "4"),
        obr("F-2"), obx(CODE, "5"), "SPM|2|^S-2&LAB||UR", obr("F-3"), obx(CODE, "6"), event="OUL^R22",
    )  # fmt: skip
    specimens = resources(found, "Specimen")
    assert [one["identifier"][0]["value"] for one in specimens] == ["S-1", "S-2"]
    made = resources(found, "DiagnosticReport")
    assert [len(one["result"]) for one in made] == [2, 1, 1]
    assert made[0]["specimen"] == made[1]["specimen"] != made[2]["specimen"]
    assert kinds(made[0]["identifier"]) == [("FILL", "F-1"), ("PLAC", "O-1")]


def test_an_orc_behind_results_is_of_the_next_obr() -> None:
    found = translated(
        PID, "SPM|1|^S-1&LAB", obr("F-1"), obx(CODE, "4"), "ORC|RE|O-2^EHR|F-2^LAB", obr(f3=""),
        obx(CODE, "5"), event="OUL^R22",
    )  # fmt: skip
    first, second = resources(found, "DiagnosticReport")
    assert kinds(first["identifier"]) == [("FILL", "F-1")]
    assert kinds(second["identifier"]) == [("FILL", "F-2"), ("PLAC", "O-2")]


def test_results_of_a_specimen_without_order_stay_with_their_patient() -> None:
    found = translated(
        PID, "SPM|1|^S-1&LAB", obr("F-1"), obx(CODE, "4"), "SPM|2|^S-2&LAB", obx("1-0^Volume^LN", "5"),
        PID.replace("P-1", "P-2"), "SPM|3|^S-3&LAB", obr("F-2"), obx(CODE, "6"), event="OUL^R22",
    )  # fmt: skip
    bundle: Any = found.bundle
    anna, other = (
        entry["fullUrl"] for entry in bundle["entry"] if entry["resource"]["resourceType"] == "Patient"
    )
    whose = {
        (one["code"]["coding"][0]["code"], one["subject"]["reference"])
        for one in resources(found, "Observation")
    }
    assert whose == {("2823-3", anna), ("1-0", anna), ("2823-3", other)}


def test_a_report_in_lines_is_one_result_and_a_document() -> None:
    lines = [obx("18748-4^Imaging^LN", text, kind="TX") for text in ("FINDINGS:", "", "Nothing.")]
    found = translated(PID, obr(), *lines)
    [made] = resources(found, "Observation")
    assert made["valueString"] == "FINDINGS:\n\nNothing."
    [form] = resources(found, "DiagnosticReport")[0]["presentedForm"]
    assert form["contentType"].startswith("text/plain")
    numbers = translated(PID, obr(), *lines, obx(CODE, "4"))
    assert "presentedForm" not in resources(numbers, "DiagnosticReport")[0]


def test_lines_with_flags_sub_ids_or_times_of_their_own_are_results_of_their_own() -> None:
    for told in ({"f4": "2"}, {"f8": "A"}, {"f14": "20261122"}, {"status": "C"}):
        lines = [obx("1^Text^L", "one", kind="ST"), obx("1^Text^L", "two", kind="ST", **told)]
        assert len(resources(translated(PID, obr(), *lines), "Observation")) == 2
