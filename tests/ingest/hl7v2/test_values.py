"""OBX-5 by its type, units, ranges, flags and statuses, as tables."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.hl7v2 import PID, obr, obx
from tests.support.translated import places, resources, translated

CODE = "2823-3^Potassium^LN"
UCUM = {"unit": "mmol/L", "system": "http://unitsofmeasure.org", "code": "mmol/L"}


def result(*segments: str, profile: dict[str, Any] | None = None) -> Any:
    [found] = resources(translated(PID, obr(), *segments, profile=profile), "Observation")
    return found


VALUES: list[tuple[str, str, dict[str, Any]]] = [
    ("NM", "4.20", {"valueQuantity": {"value": "4.20", **UCUM}}),
    ("NM", "0065.880", {"valueQuantity": {"value": "65.880", **UCUM}}),
    ("NM", ".5", {"valueQuantity": {"value": "0.5", **UCUM}}),
    ("NM", "-7", {"valueQuantity": {"value": -7, **UCUM}}),
    ("NM", "+7.", {"valueQuantity": {"value": 7, **UCUM}}),
    ("NM", "<5", {"valueQuantity": {"value": 5, "comparator": "<", **UCUM}}),
    ("NM", ">= 5.0", {"valueQuantity": {"value": "5.0", "comparator": ">=", **UCUM}}),
    ("NM", "negative", {"valueString": "negative"}),
    ("NM", "1e5", {"valueString": "1e5"}),
    ("NM", "4^5", {"valueString": "4^5"}),
    ("SN", "^182", {"valueQuantity": {"value": 182, **UCUM}}),
    ("SN", ">^11.0", {"valueQuantity": {"value": "11.0", "comparator": ">", **UCUM}}),
    ("SN", "=^31", {"valueQuantity": {"value": 31, **UCUM}}),
    ("SN", "^1^:^128", {"valueRatio": {"numerator": {"value": 1, **UCUM}, "denominator": {"value": 128}}}),
    ("SN", "^10^-^20", {"valueRange": {"low": {"value": 10, **UCUM}, "high": {"value": 20, **UCUM}}}),
    ("SN", "^2^+", {"valueString": "2+ mmol/L"}),
    ("SN", "<>^5", {"valueString": "<>5 mmol/L"}),
    ("SN", "4.5", {"valueQuantity": {"value": "4.5", **UCUM}}),
    ("ST", r"a\T\b", {"valueString": "a&b"}),
    ("TX", "one~two", {"valueString": "one\ntwo"}),
    ("FT", r"one\.br\two", {"valueString": "one\ntwo"}),
    ("CWE", "260373001^Detected^SCT", {"valueCodeableConcept": {
        "coding": [{"system": "http://snomed.info/sct", "code": "260373001", "display": "Detected"}]}}),
    ("CE", "1^One^L^2^Two^LN", {"valueCodeableConcept": {"coding": [
        {"system": "urn:dod:hl7v2:local:HOSP:L", "code": "1", "display": "One"},
        {"system": "http://loinc.org", "code": "2", "display": "Two"}]}}),
    ("CWE", "260373001^Detected^2.16.840.1.113883.6.96^2^Two^urn:oid:2.16.840.1.113883.6.1", {
        "valueCodeableConcept": {"coding": [
            {"system": "http://snomed.info/sct", "code": "260373001", "display": "Detected"},
            {"system": "http://loinc.org", "code": "2", "display": "Two"}]}}),
    ("CWE", "1^One^^2^Two^^^^^^^^^2.16.840.1.113883.6.96^^^1.2.3", {"valueCodeableConcept": {"coding": [
        {"system": "http://snomed.info/sct", "code": "1", "display": "One"},
        {"system": "urn:oid:1.2.3", "code": "2", "display": "Two"}]}}),
    ("CWE", "^Bordetella", {"valueCodeableConcept": {"text": "Bordetella"}}),
    ("CWE", "Isolated", {"valueCodeableConcept": {"coding": [{"code": "Isolated"}], "text": "Isolated"}}),
    ("CWE", "X^^SCT^^^^2020^^as said", {"valueCodeableConcept": {
        "coding": [{"system": "http://snomed.info/sct", "version": "2020", "code": "X"}],
        "text": "as said"}}),
    ("DT", "20260302", {"valueDateTime": "2026-03-02"}),
    ("DTM", "202603020815", {"valueDateTime": "2026-03-02T08:15:00Z"}),
    ("TS", "20260302081530+0100^S", {"valueDateTime": "2026-03-02T08:15:30+01:00"}),
    ("TS", "yesterday", {"valueString": "yesterday"}),
    ("TM", "0815", {"valueTime": "08:15:00"}),
    ("TM", "081530-0500", {"valueString": "081530-0500"}),
    ("DR", "20260302^20260304", {"valuePeriod": {"start": "2026-03-02", "end": "2026-03-04"}}),
    ("DR", "^20260304", {"valuePeriod": {"end": "2026-03-04"}}),
    ("NR", "3^5.0", {"valueRange": {"low": {"value": 3, **UCUM}, "high": {"value": "5.0", **UCUM}}}),
    ("CQ", "3^g&gram&UCUM", {"valueQuantity": {
        "value": 3, "unit": "gram", "system": "http://unitsofmeasure.org", "code": "g"}}),
    ("XCN", "1234^Doe^Jane^Q", {"valueString": "Jane Q Doe"}),
    ("XAD", "1 Street^^Town^ST^123", {"valueString": "1 Street, Town, ST, 123"}),
    ("XTN", "^PRN^PH^^1^555^1234", {"valueString": "+1 (555) 1234"}),
    ("CX", "12^^^HOSP^MR", {"valueString": "12"}),
    ("ZZ", "a^b&c", {"valueString": "a b c"}),
    ("", "a^b^LN", {"valueCodeableConcept": {
        "coding": [{"system": "http://loinc.org", "code": "a", "display": "b"}]}}),
    ("", "4", {"valueString": "4"}),
    ("NM", "", {}),
    ("NM", '""', {}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "sent", "expected"), VALUES)
def test_a_value_by_its_type(kind: str, sent: str, expected: dict[str, Any]) -> None:
    found = result(obx(CODE, sent, kind=kind, f6="mmol/L^mmol/L^UCUM"))
    assert {name: value for name, value in found.items() if name.startswith("value")} == expected


@pytest.mark.parametrize(("kind", "told"), [("NUM", ["OBX[1]-2"]), ("nm", []), ("", []), ("XON", [])])
def test_a_type_that_nobody_knows_is_told(kind: str, told: list[str]) -> None:
    assert places(translated(PID, obr(), obx(CODE, "4", kind=kind))) == told


def test_what_an_element_cannot_say_is_kept_as_it_was_sent() -> None:
    found = result(obx(CODE, "1234^Doe^Jane", kind="XCN"))
    assert {"url": "urn:dod:hl7v2:OBX-5", "valueString": "1234^Doe^Jane"} in found["extension"]
    found = result(obx(CODE, "much", kind="ST", f6="mmol/L^^UCUM"))
    assert found["extension"][0]["url"] == "urn:dod:hl7v2:OBX-6"


def test_repeated_values_that_are_no_text_are_components() -> None:
    found = result(obx(CODE, "1^One^LN~2^Two^LN", kind="CWE"))
    assert [one["valueCodeableConcept"]["coding"][0]["code"] for one in found["component"]] == ["1", "2"]
    assert found["component"][0]["code"] == found["code"]
    assert "valueCodeableConcept" not in found


@pytest.mark.parametrize(
    ("sent", "units", "expected"),
    [
        ("mg/dL", "as-sent", {"unit": "mg/dL"}),
        ("mg/dL", "ucum", {"unit": "mg/dL", "system": "http://unitsofmeasure.org", "code": "mg/dL"}),
        ("a^year^UCUM", "as-sent", {"unit": "year", "system": "http://unitsofmeasure.org", "code": "a"}),
        (
            "X1^much^L^g^gram^UCUM",
            "as-sent",
            {"unit": "much", "system": "http://unitsofmeasure.org", "code": "g"},
        ),
        (
            "1^^UCUM^^^^1.6^^s/co",
            "as-sent",
            {"unit": "1", "system": "http://unitsofmeasure.org", "code": "1"},
        ),
        ("", "ucum", {}),
        # Powers that nobody escaped.
        ("10^3/uL", "as-sent", {"unit": "10^3/uL"}),
        ("x10^9/L", "ucum", {"unit": "x10^9/L"}),
        ("10^3/mm^3", "as-sent", {"unit": "10^3/mm^3"}),
        ("10^6^", "as-sent", {"unit": "10^6"}),
        ("kg/m^2", "ucum", {"unit": "kg/m^2"}),
        ("mL/min/1.73m^2", "as-sent", {"unit": "mL/min/1.73m^2"}),
        ("10^6/uL^UCUM", "as-sent", {"unit": "10^6/uL"}),
        (
            "10*3/uL^10^3/uL^UCUM",
            "as-sent",
            {"unit": "10^3/uL", "system": "http://unitsofmeasure.org", "code": "10*3/uL"},
        ),
        # Components that only look like them.
        (
            "/min^1/min^UCUM",
            "as-sent",
            {"unit": "1/min", "system": "http://unitsofmeasure.org", "code": "/min"},
        ),
        ("110^3rd", "as-sent", {"unit": "3rd"}),
        ("mm^millimetre^UCUM", "as-sent", {
            "unit": "millimetre", "system": "http://unitsofmeasure.org", "code": "mm"}),
    ],
)  # fmt: skip
def test_units(sent: str, units: str, expected: dict[str, str]) -> None:
    found = result(obx(CODE, "1", f6=sent), profile={"units": units})
    assert {name: value for name, value in found["valueQuantity"].items() if name != "value"} == expected


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("3.5-5.10", {"low": {"value": "3.5"}, "high": {"value": "5.10"}}),
        ("49 - 92", {"low": {"value": 49}, "high": {"value": 92}}),
        ("<200", {"high": {"value": 200}}),
        (">= 60", {"low": {"value": 60}}),
        ("70_105", {}),
        ("negative", {}),
        ("-5--1", {"low": {"value": -5}, "high": {"value": -1}}),
    ],
)
def test_a_reference_range_is_its_text_and_its_plain_bounds(sent: str, expected: dict[str, Any]) -> None:
    [found] = result(obx(CODE, "1", f7=sent))["referenceRange"]
    assert found == {"text": sent, **expected}


def test_flags() -> None:
    found = result(obx(CODE, "1", f8="H~POS^Positive^HL70078~WEIRD~<~X^Odd^L"))["interpretation"]
    v3 = "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation"
    assert [one["coding"][0] for one in found] == [
        {"system": v3, "code": "H"},
        {"system": v3, "code": "POS", "display": "Positive"},
        {"system": "http://terminology.hl7.org/CodeSystem/v2-0078", "code": "WEIRD"},
        {"system": v3, "code": "<"},
        {"system": "urn:dod:hl7v2:local:HOSP:L", "code": "X", "display": "Odd"},
    ]


@pytest.mark.parametrize(
    ("sent", "status", "reason"),
    [
        ("F", "final", None),
        ("P", "preliminary", None),
        ("C", "corrected", None),
        ("A", "amended", None),
        ("D", "entered-in-error", None),
        ("W", "entered-in-error", None),
        ("U", "final", None),
        ("X", "cancelled", "error"),
        ("N", "cancelled", "not-asked"),
        ("I", "registered", "temp-unknown"),
        ("R", "preliminary", None),
        ("S", "preliminary", None),
        ("f", "final", None),
        ("F^Final^HL70085", "final", None),
        ("Q", "unknown", None),
        ("", "unknown", None),
    ],
)
def test_the_status_of_a_result(sent: str, status: str, reason: str | None) -> None:
    found = result(obx(CODE, "", status=sent))
    assert found["status"] == status
    assert found.get("dataAbsentReason", {}).get("coding", [{}])[0].get("code") == reason
    # R4's obs-6: a reason stands only where no value does.
    valued = result(obx(CODE, "not enough", kind="ST", status=sent))
    assert valued["status"] == status
    assert valued["valueString"] == "not enough"
    assert "dataAbsentReason" not in valued
    told = sent.partition("^")[0]
    kept = found.get("_status", {}).get("extension", [{}])[0].get("valueString")
    assert kept == (told if told and told not in ("F", "P", "C", "X") else None)


def test_statuses_by_profile() -> None:
    profile = {"result_statuses": {"Q": "final"}, "missing_result_status": "from-report"}
    found = resources(
        translated(PID, obr(), obx(CODE, "1", status="Q"), obx("1^B^LN", "1", status=""), profile=profile),
        "Observation",
    )
    assert [one["status"] for one in found] == ["final", "final"]
    refused = translated(PID, obr(), obx(CODE, "1", status=""), profile={"missing_result_status": "refuse"})
    assert places(refused, "E") == ["OBX[1]-11"]
    assert refused.bundle is None


def test_the_rest_of_an_obx() -> None:
    found = result(
        obx(CODE, "1", f10="A", f14="20260302080000+0100", f17="M1^Method^L", f19="20260302080900+0100",
            f20="ARM^Arm^HL70163", f21="OI-1^LAB", f29="RSLT")
    )  # fmt: skip
    assert found["effectiveDateTime"] == "2026-03-02T08:00:00+01:00"
    assert found["method"]["coding"][0]["display"] == "Method"
    assert found["bodySite"]["coding"][0]["code"] == "ARM"
    assert found["identifier"][0]["value"] == "OI-1"
    assert found["category"][0]["coding"][0]["code"] == "RSLT"
    assert {one["url"].rpartition("/")[2] for one in found["extension"]} == {
        "observation-nature-of-abnormal-test",
        "observation-analysis-date-time",
    }


def test_a_result_without_a_time_has_that_of_its_report() -> None:
    assert result(obx(CODE, "1"))["effectiveDateTime"] == "2026-11-22T09:30:00Z"
    found = result(obx(CODE, "1", f14="220241021055726"))
    assert "effectiveDateTime" not in found
    assert found["_effectiveDateTime"]["extension"][0]["valueString"] == "220241021055726"


def test_sub_ids_are_kept_and_make_a_number_within_the_report() -> None:
    found = result(obx(CODE, "1", f4="^2^1"))
    assert found["identifier"] == [{"system": "urn:dod:hl7v2:result", "value": "F-1 2823-3 2.1"}]
    assert found["extension"][0]["extension"][0]["valueString"] == "2.1"


def test_who_performed_is_there_once_for_all_results() -> None:
    who = {"f23": "Lab^L^^^^CLIA&1.2.3&ISO^XX^^^77", "f24": "1 Street^^Town", "f25": "9^Miller^Marie"}
    lines = [obx(f"{n}-0^Analyte^LN", "1", f15="L1^Bench^99L", f16="5^Tech^Tim", **who) for n in (1, 2)]
    found = translated(PID, obr(), *lines)
    [laboratory, bench] = sorted(resources(found, "Organization"), key=lambda one: "address" not in one)
    assert laboratory["address"][0]["city"] == "Town"
    assert laboratory["identifier"][0] | {"type": 0} == {"type": 0, "system": "urn:oid:1.2.3", "value": "77"}
    assert bench["name"] == "Bench"
    assert len(resources(found, "Practitioner")) == 2
    assert len(resources(found, "PractitionerRole")) == 1
    assert all(len(one["performer"]) == 3 for one in resources(found, "Observation"))


@pytest.mark.parametrize(
    ("sent", "words", "is_whole"),
    [
        ("mg/dL^milligram^UCUM", "milligram", True),
        ("CD:289^mg/dL", "mg/dL", False),
        ("^^^mm Hg^^L", "mm Hg", True),
        ("[IU]/mL^units^UCUM^IU/ml^^L", "units", False),
        ("kg/m^2", "kg/m^2", True),
        ("10^6/uL^UCUM", "10^6/uL", False),
    ],
)
def test_what_a_quantity_cannot_say_of_its_unit_is_kept(sent: str, words: str, is_whole: bool) -> None:
    found = result(obx(CODE, "1", f6=sent))
    assert found["valueQuantity"]["unit"] == words
    assert [one["url"] for one in found.get("extension", ())] == ([] if is_whole else ["urn:dod:hl7v2:OBX-6"])


DIGITS = "1" * 100_000


@pytest.mark.parametrize("field", [f"{DIGITS}x", f"{DIGITS}.{DIGITS}x", f"<{DIGITS}x", f"{DIGITS}-{DIGITS}x"])
def test_a_long_field_that_is_nearly_a_number_is_read_in_one_go(field: str) -> None:
    """Tried in each way in which it might be one, a range of ten thousand digits would take days."""
    made = result(obx(CODE, field, f7=field))
    assert made["valueString"] == field
    assert made["referenceRange"] == [{"text": field}]
