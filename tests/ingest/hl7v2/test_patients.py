"""Patients, their visits and their numbers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.hl7v2 import PID, fields
from tests.support.translated import kinds, places, resources, translated

V2 = "http://terminology.hl7.org/CodeSystem/v2-"


def patient(pid: str, *segments: str, profile: dict[str, Any] | None = None, event: str = "ADT^A08") -> Any:
    [found] = resources(translated(pid, *segments, profile=profile, event=event), "Patient")
    return found


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("7^^^HOSP^MR", {"system": "urn:dod:hl7v2:authority:HOSP", "value": "7"}),
        ("7^^^HOSP&1.2.3&ISO^MR", {"system": "urn:oid:1.2.3", "value": "7"}),
        ("7^^^&1.2.3&ISO^MR", {"system": "urn:oid:1.2.3", "value": "7"}),
        ("7^^^X&lab.example&DNS^MR", {"system": "urn:dod:hl7v2:authority:DNS:lab.example", "value": "7"}),
        ("7^^^X&https://x.example/mr&URI^MR", {"system": "https://x.example/mr", "value": "7"}),
        ("7^^^1.2.3^MR", {"system": "urn:oid:1.2.3", "value": "7"}),
        ("7^^^&&ISO^MR", {"value": "7"}),
        ("7", {"value": "7"}),
    ],
)
def test_a_number_has_the_system_of_its_authority_and_none_is_made_up(sent: str, expected: Any) -> None:
    [found] = patient(f"PID|1||{sent}")["identifier"]
    assert {name: found[name] for name in ("system", "value") if name in found} == expected


def test_numbers_by_their_types() -> None:
    pid = fields(
        "PID",
        f2="2^^^X",
        f3="7^^^HOSP^MRN~8^^^HOSP^PI~9^^^^SS",
        f4="4",
        f18="A-1^^^HOSP",
        f19="123-45",
        f20="D1^ST",
    )
    found = patient(pid)["identifier"]
    assert kinds(found) == [
        ("MR", "7"), ("PI", "8"), ("SS", "9"), ("", "2"), ("", "4"), ("AN", "A-1"),
        ("SS", "123-45"), ("DL", "D1"),
    ]  # fmt: skip
    assert found[0]["type"]["text"] == "MRN"
    assert [one.get("use") for one in found].count("secondary") == 2
    assert {one["system"] for one in found if one["value"] in ("9", "123-45")} == {
        "http://hl7.org/fhir/sid/us-ssn"
    }


def test_numbers_by_profile() -> None:
    profile = {
        "authorities": {"HOSP": "https://hosp.example/mr", "1.2.3": "https://oid.example"},
        "default_authority": "https://own.example",
        "default_identifier_type": "MR",
        "identifier_types": {"LRN": "PI"},
    }
    found = patient("PID|1||1^^^HOSP^LRN~2^^^X&1.2.3&ISO~3", profile=profile)["identifier"]
    assert [one["system"] for one in found] == [
        "https://hosp.example/mr",
        "https://oid.example",
        "https://own.example",
    ]
    assert [kind for kind, _ in kinds(found)] == ["PI", "MR", "MR"]


def test_who_a_patient_is() -> None:
    pid = fields(
        "PID", f3="7^^^HOSP^MR", f5="Doe&van^Jane^Q^III^Dr^PhD^L~Smith^^^^^^M", f6="Mum", f7="198001011530",
        f8="F^Female^HL70001", f10="W^White^L", f11="1 Street^Apt 2^Town^ST^123^US^H^^Shire",
        f13="555-1^PRN^PH",
        f14="^NET^Internet^j@x.example", f15="nl", f16="M", f22="H", f24="Y", f25="2",
        f29="20260101", f30="Y",
    )  # fmt: skip
    found = patient(pid)
    assert found["name"] == [
        {
            "use": "official",
            "family": "Doe",
            "given": ["Jane", "Q"],
            "prefix": ["Dr"],
            "suffix": ["III", "PhD"],
        },
        {"use": "maiden", "family": "Smith"},
    ]
    assert (found["birthDate"], found["gender"]) == ("1980-01-01", "female")
    assert found["_birthDate"]["extension"][0]["valueDateTime"] == "1980-01-01T15:30:00Z"
    assert found["address"] == [
        {"use": "home", "line": ["1 Street", "Apt 2"], "city": "Town", "district": "Shire", "state": "ST",
         "postalCode": "123", "country": "US"}
    ]  # fmt: skip
    assert found["telecom"] == [
        {"system": "phone", "value": "555-1", "use": "home"},
        {"system": "email", "value": "j@x.example"},
    ]
    assert found["communication"][0]["language"]["text"] == "nl"
    assert found["maritalStatus"]["coding"][0]["code"] == "M"
    assert found["multipleBirthInteger"] == 2
    assert found["deceasedDateTime"] == "2026-01-01"
    assert "multipleBirthBoolean" not in found
    assert "deceasedBoolean" not in found
    assert len([one for one in found["extension"] if "valueCodeableConcept" in one]) == 2


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("555-1^PRN^PH^j@x.example", ["home phone 555-1", "email j@x.example"]),
        ("^WPN^PH^j@x.example^^^5551~555-2", ["work phone 5551", "home phone 555-2", "email j@x.example"]),
        ("^NET^Internet^j@x.example", ["email j@x.example"]),
        ("555-1^PRN^PH^none", ["home phone 555-1"]),
    ],
)
def test_an_e_mail_address_beside_a_number_is_one_more(sent: str, kept: list[str]) -> None:
    found = patient(f"PID|1||7^^^HOSP||Doe||||||||{sent}")
    told = [" ".join([one.get("use", ""), one["system"], one["value"]]).strip() for one in found["telecom"]]
    assert told == kept


@pytest.mark.parametrize(("born", "kept"), [("Aug 15, 1942", "Aug 15, 1942"), ("196203520", "196203520")])
def test_a_date_of_birth_that_is_none_is_kept_as_text(born: str, kept: str) -> None:
    found = translated(f"PID|1||7||Doe||{born}|alien", event="ADT^A08")
    [made] = resources(found, "Patient")
    assert "birthDate" not in made
    assert made["_birthDate"]["extension"][0]["valueString"] == kept
    assert made["gender"] == "unknown"
    assert places(found) == ["PID[1]-7"]
    assert all(kept not in one.rule for one in found.faults)


def test_kin_and_doctors() -> None:
    found = translated(
        PID, "PD1|||Practice^L^^^^CLIA&1.2&ISO^XX^^^9|5^Doc^Dan^^^^^^NPI", "NK1|1|Doe^Mum|MTH^Mother||555",
        "ZPI|1|own", event="ADT^A31",
    )  # fmt: skip
    [made] = resources(found, "Patient")
    assert made["contact"] == [
        {"name": {"family": "Doe", "given": ["Mum"]}, "telecom": [{"system": "phone", "value": "555"}],
         "relationship": [{"coding": [
             {"system": f"{V2}0063", "code": "MTH", "display": "Mother"}]}]}
    ]  # fmt: skip
    assert len(made["generalPractitioner"]) == 2
    assert made["extension"] == [{"url": "urn:dod:hl7v2:segment", "valueString": "ZPI|1|own"}]
    [doctor] = resources(found, "Practitioner")
    assert doctor["identifier"][0]["system"] == "http://hl7.org/fhir/sid/us-npi"


def test_merges_lead_from_the_old_number_to_the_new_one() -> None:
    for event in (f"ADT^{one}" for one in ("A18", "A30", "A34", "A36", "A39", "A40", "A47")):
        found = translated(PID, "MRG|P-0^^^HOSP^MR~P-9^^^HOSP^MR", event=event)
        [made] = resources(found, "Patient")
        assert [(one["value"], one.get("use")) for one in made["identifier"]] == [
            ("P-1", None),
            ("P-0", "old"),
            ("P-9", "old"),
        ]
        assert [(one.surviving["value"], one.retired["value"]) for one in found.merges] == [
            ("P-1", "P-0"),
            ("P-1", "P-9"),
        ]
    assert places(translated(PID, event="ADT^A40"), "E") == ["MRG[1]"]
    assert places(translated(PID, "MRG|", event="ADT^A40"), "E") == ["MRG[1]-1"]


@pytest.mark.parametrize("merged", ["P-1^^^HOSP^MR||A-0", "P-1|||X-1", "P-1^^^HOSP^MR||||V-0"])
@pytest.mark.parametrize("event", ["A18", "A35", "A36", "A41", "A42", "A45"])
def test_what_is_merged_within_one_patient_makes_no_number_an_old_one(event: str, merged: str) -> None:
    """Accounts and visits: MRG-1 names the patient of PID-3, whom the message updates."""
    pid = "PID|1|X-1|P-1^^^HOSP^MR||DOE^JANE||19800101|F"
    found = translated(pid, f"MRG|{merged}", event=f"ADT^{event}")
    [made] = resources(found, "Patient")
    assert [one.get("use") for one in made["identifier"]] == [None, "secondary"]
    assert (found.merges, found.faults) == ((), ())


@pytest.mark.parametrize("event", ["A35", "A41", "A42", "A45"])
def test_a_visit_or_an_account_moves_no_results_to_another_patient(event: str) -> None:
    assert places(translated(PID, "MRG|P-2^^^HOSP^MR||A-0", event=f"ADT^{event}"), "E") == ["MRG[1]-1"]
    assert places(translated(PID, event=f"ADT^{event}"), "E") == ["MRG[1]"]


def test_an_external_number_is_of_whoever_has_assigned_that_of_pid_2() -> None:
    pid = "PID|1|X-1^^^CITY^PI|P-1^^^HOSP^MR||DOE^JANE||19800101|F"
    found = translated(pid, "MRG|P-1|||X-0", event="ADT^A39")
    [made] = resources(found, "Patient")
    [old] = [one for one in made["identifier"] if one.get("use") == "old"]
    assert (old["value"], old["system"]) == ("X-0", "urn:dod:hl7v2:authority:CITY")


def test_a_visit() -> None:
    pv1 = fields(
        "PV1",
        f2="I",
        f3="ICU^1^A^HOSP",
        f7="5^Doc^Dan",
        f19="V-1^^^HOSP",
        f44="202603010800",
        f45="202603020900",
    )
    found = translated(PID, pv1, event="ADT^A01")
    [made] = resources(found, "Encounter")
    assert (made["status"], made["class"]["code"]) == ("finished", "IMP")
    assert kinds(made["identifier"]) == [("VN", "V-1")]
    assert made["location"][0]["location"]["display"] == "HOSP, ICU, 1, A"
    assert made["participant"][0]["type"][0]["coding"][0]["code"] == "ATND"
    assert made["period"] == {"start": "2026-03-01T08:00:00Z", "end": "2026-03-02T09:00:00Z"}
    assert resources(translated(PID, "PV1|1", event="ADT^A01"), "Encounter") == []
    statuses = [("ADT^A01", "in-progress"), ("ADT^A04", "planned"), ("ADT^A08", "unknown")]
    for event, status in statuses:
        assert resources(translated(PID, "PV1|1|O", event=event), "Encounter")[0]["status"] == status


def test_repetitions_without_end_are_cut_and_said() -> None:
    found = translated(f"PID|1||{'~'.join(f'{n}^^^HOSP^MR' for n in range(50_000))}", event="ADT^A08")
    assert len(resources(found, "Patient")[0]["identifier"]) == 500
    assert places(found) == ["PID[1]-3"]


@pytest.mark.parametrize(
    ("numbers", "merged", "system"),
    [
        ("P-1^^^HOSP^MR", "P-0", "urn:dod:hl7v2:authority:HOSP"),
        ("P-1^^^HOSP^MR~P-2^^^HOSP^MR", "P-0^^^^MR", "urn:dod:hl7v2:authority:HOSP"),
        ("P-1^^^HOSP^MR", "P-0^^^OTHER^MR", "urn:dod:hl7v2:authority:OTHER"),
        ("P-1^^^HOSP^MR~7^^^CITY^MR", "P-0", None),
        ("P-1^^^HOSP^MR~7^^^HOSP^SS", "P-0", None),
        ("P-1", "P-0", None),
    ],
)
def test_a_merged_number_without_an_authority_is_of_the_only_one_that_assigned_those_of_pid_3(
    numbers: str, merged: str, system: str | None
) -> None:
    found = translated(PID.replace("P-1^^^HOSP^MR", numbers), f"MRG|{merged}", event="ADT^A40")
    [made] = resources(found, "Patient")
    [retired] = [one for one in made["identifier"] if one.get("use") == "old"]
    assert retired.get("system") == system
