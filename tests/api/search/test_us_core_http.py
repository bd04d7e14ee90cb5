"""The US Core server tests for DiagnosticReport, lab and note, re-enacted over HTTP.

Once on made-up patients, and once more on the FHIR files of the folder that `TEST_DATA` names.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support.extra import DATA, push
from tests.support.fhir import CATEGORY, LOINC, ORDERS, coded, identified, patient, refers, report, resource
from tests.support.service import exactly
from tests.support.together import together
from tests.support.us_core import LAB, NOTES, holds, references, searches

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.support.service import Answer, Service

    Json = dict[str, Any]
    Pairs = list[tuple[str, str]]

PROFILES: Final = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-diagnosticreport-"


def _lab(id: str, of: str, code: str, **elements: Any) -> Json:
    return report(
        id,
        of,
        meta={"profile": [f"{PROFILES}lab"]},
        category=[coded(LAB, CATEGORY)],
        code={"coding": [{"system": LOINC, "code": code, "display": "A panel"}], "text": "A panel"},
        performer=[refers("Organization/laboratory")],
        **elements,
    )


def _note(id: str, of: str, category: str, code: str, **elements: Any) -> Json:
    text = base64.b64encode(b"Nothing of note in a made-up person.").decode()
    return report(
        id,
        of,
        meta={"profile": [f"{PROFILES}note"]},
        category=[coded(category)],
        code=coded(code),
        encounter=refers("Encounter/stay"),
        performer=[refers("Practitioner/reader")],
        resultsInterpreter=[refers("Practitioner/reader")],
        presentedForm=[{"contentType": "text/plain", "data": text}],
        **elements,
    )


def _provenance(id: str, *targets: str) -> Json:
    agent = [{"type": coded("author", "http://example.org/roles"), "who": refers("Practitioner/reader")}]
    return resource(
        "Provenance",
        id,
        target=[refers(target) for target in targets],
        recorded="2024-05-06T10:00:00Z",
        agent=agent,
    )


PEOPLE: Final = (
    resource("Organization", "laboratory", active=True, name="Example Laboratory"),
    resource("Practitioner", "reader", name=[{"family": "Beispiel"}]),
    patient("amy", name=[{"family": "Muster"}], gender="female"),
    patient("ben", name=[{"family": "Probe"}], gender="male"),
    resource("Encounter", "stay", status="finished", subject=refers("Patient/amy")),
    *(
        resource("Observation", f"o{n}", status="final", code=coded("718-7"), subject=refers("Patient/amy"))
        for n in range(3)
    ),
    _lab(
        "cbc",
        "amy",
        "58410-2",
        effectiveDateTime="2024-05-06T08:15:00-05:00",
        issued="2024-05-06T14:00:00.125Z",
        identifier=[identified(ORDERS, "A-1")],
        result=[refers(f"Observation/o{n}") for n in range(3)],
    ),
    _lab(
        "cmp",
        "amy",
        "24323-8",
        status="preliminary",
        effectivePeriod={"start": "2024-05-06T08:00:00Z", "end": "2024-05-07T08:00:00Z"},
        issued="2024-05-07T09:00:00Z",
    ),
    _lab(
        "old", "amy", "58410-2", status="amended", effectiveDateTime="2019-11", issued="2019-12-01T00:00:00Z"
    ),
    _lab("fast", "amy", "58410-2", effectiveDateTime="2024-05-06T13:15:00.750Z"),
    _lab("open", "amy", "24323-8", status="registered", effectivePeriod={"start": "2024-05-08"}),
    _lab("undated", "amy", "24323-8", status="cancelled"),
    _note("xray", "amy", NOTES[0], "24627-2", effectiveDateTime="2024-05-06", issued="2024-05-06T20:00:00Z"),
    _note("echo", "amy", NOTES[1], "34552-0", effectiveDateTime="2023-12-31T23:59:59Z"),
    _note("biopsy", "amy", NOTES[2], "60567-5", status="appended", effectiveDateTime="2022"),
    _lab("cbc-ben", "ben", "58410-2", effectiveDateTime="2024-05-06T08:15:00-05:00"),
    _provenance("made", "DiagnosticReport/cbc", "DiagnosticReport/xray"),
    _provenance("made-ben", "DiagnosticReport/cbc-ben"),
)


async def battery(service: Service, stored: dict[str, Json]) -> int:
    """All that the server tests do, for each patient with reports; how many searches that took.

    `stored` is what was pushed, by `Type/id`, as the service reads it back.
    """
    reports = [one for one in stored.values() if one["resourceType"] == "DiagnosticReport"]
    patients = dict.fromkeys(one.get("subject", {}).get("reference", "") for one in reports)
    asked = 0
    for subject in patients:
        if not subject.startswith("Patient/"):
            continue
        mine = [one for one in reports if one.get("subject", {}).get("reference") == subject]
        wanted = [
            (pairs, {one["id"] for one in mine if all(holds(one, *pair) for pair in pairs)})
            for pairs in searches(subject.removeprefix("Patient/"), mine)
        ]
        await together(check_search(service, pairs, expected) for pairs, expected in wanted)
        asked += len(wanted)
        await check_provenance(service, subject, mine, stored)
        await together(check_reads(service, one, stored) for one in mine)
    return asked


async def check_search(service: Service, pairs: Pairs, expected: set[str]) -> None:
    """GET, POST and `Patient/{id}` find the same: exactly the reports that hold the values."""
    escaped = [(name, value if name == "status" else value.replace(",", r"\,")) for name, value in pairs]
    typed = [(name, f"Patient/{value}" if name == "patient" else value) for name, value in escaped]
    for first in (
        await service.search(escaped),
        await service.post_search(escaped),
        await service.search(typed),
    ):
        assert first.status == 200, first.text
        found = [match["resource"] for page in await service.pages(first) for match in page.matches]
        shape = [name for name, _ in pairs]
        assert len(found) == first.body["total"], shape
        assert sorted(one["id"] for one in found) == sorted(expected), pairs
        for one in found:
            assert all(holds(one, *pair) for pair in pairs), pairs


async def check_provenance(service: Service, subject: str, mine: list[Json], stored: dict[str, Json]) -> None:
    """`_revinclude=Provenance:target` brings each Provenance of the patient's reports, once a page."""
    targets = {f"DiagnosticReport/{one['id']}" for one in mine}
    expected = {
        one["id"]
        for one in stored.values()
        if one["resourceType"] == "Provenance" and targets & set(references(one.get("target")))
    }
    pairs = [("patient", subject), ("_revinclude", "Provenance:target")]
    for first in (await service.search(pairs), await service.post_search(pairs)):
        assert first.status == 200, first.text
        pages = await service.pages(first)
        assert {id for page in pages for id in included(page)} == expected
        assert all(len(included(page)) == len(set(included(page))) for page in pages)


def included(page: Answer) -> list[str]:
    entries = [entry for entry in page.body.get("entry", []) if entry["search"]["mode"] == "include"]
    assert {entry["resource"]["resourceType"] for entry in entries} <= {"Provenance"}
    return [entry["resource"]["id"] for entry in entries]


async def check_reads(service: Service, found: Json, stored: dict[str, Json]) -> None:
    """A result can be read by its id, and so can all it refers to that was pushed."""
    read = await service.get(f"DiagnosticReport/{found['id']}")
    assert (read.status, read.body) == (200, found)
    for reference in dict.fromkeys(references(found)):
        if reference in stored:
            target = await service.get(reference)
            assert target.status == 200, reference.partition("/")[0]
            assert f"{target.body['resourceType']}/{target.body['id']}" == reference


async def test_made_up_patients(service: Service) -> None:
    await service.load(*PEOPLE)
    stored = {}
    for one in PEOPLE:
        key = f"{one['resourceType']}/{one['id']}"
        stored[key] = (await service.get(key)).body
    assert await battery(service, stored) > 300


@pytest.mark.parametrize("category", [LAB, *NOTES])
async def test_each_profile_s_category_finds_its_reports(service: Service, category: str) -> None:
    """The first search of the server tests, spelled out: what the battery computes is not empty."""
    await service.load(*PEOPLE)
    expected = {
        LAB: ["cbc", "cmp", "fast", "old", "open", "undated"],
        NOTES[0]: ["xray"],
        NOTES[1]: ["echo"],
        NOTES[2]: ["biopsy"],
    }
    found = await service.search([("patient", "amy"), ("category", category)])
    assert sorted(found.ids) == expected[category]


FOLDERS: Final = ("synthea-support", "synthea", "dr", "messages", "bundles")


def unfolded(body: bytes) -> list[bytes]:
    """The resources of a Bundle one by one, for kinds of Bundles that are refused as a whole; what they
    call each other becomes `Type/id`.
    """
    entries = [entry for entry in exactly(body)["entry"] if "id" in entry.get("resource", {})]
    text = json.dumps(json.loads(body)["entry"])
    for entry in entries:
        key = f"{entry['resource']['resourceType']}/{entry['resource']['id']}"
        if "fullUrl" in entry:
            text = text.replace(f'"reference": "{entry["fullUrl"]}"', f'"reference": "{key}"')
    return [json.dumps(entry["resource"]).encode() for entry in json.loads(text) if "resource" in entry]


async def load_folder(service: Service, folder: Path) -> tuple[dict[str, Json], list[str]]:
    """Push what can be pushed; what is stored by `Type/id`, and the files that were refused."""
    stored: dict[str, Json] = {}
    refused: list[str] = []
    for path in [path for name in FOLDERS for path in sorted((folder / name).glob("*.json"))]:
        answer, accepted = await push(service, path.read_bytes())
        if answer.status not in (200, 201):
            accepted = [
                one for single in unfolded(path.read_bytes()) for one in (await push(service, single))[1]
            ]
        if not accepted:
            refused.append(f"{path.parent.name}/{path.name}: {answer.status}")
        for _, where in accepted:
            key = "/".join(where.partition("/_history/")[0].split("/")[-2:])
            read = await service.get(key)
            if read.status == 200:
                stored[key] = read.body
    # A later file may have brought another version of what an earlier one brought.
    for key in list(stored):
        stored[key] = (await service.get(key)).body
    return stored, refused


@pytest.mark.slow
@pytest.mark.skipif(DATA is None, reason="TEST_DATA is not set")
async def test_patients_of_the_data_folder(service: Service) -> None:
    assert DATA is not None
    stored, refused = await load_folder(service, DATA)
    assert all(line.startswith("bundles/") for line in refused), refused
    reports = [one for one in stored.values() if one["resourceType"] == "DiagnosticReport"]
    assert reports
    asked = await battery(service, stored)
    print(f"{len(reports)} reports, {asked} searches, refused: {refused}")  # noqa: T201 -- an extra run's result


async def test_what_is_declared_of_us_core_is_served(service: Service) -> None:
    """Each type with profiles takes the searches that US Core asks of it, and answers a read and a vread."""
    statement = (await service.get("metadata")).body
    assert statement["instantiates"] == ["http://hl7.org/fhir/us/core/CapabilityStatement/us-core-server"]
    rows = statement["rest"][0]["resource"]
    declared = {row["type"]: row for row in rows if _is_of_us_core(row)}
    assert {"Patient", "DiagnosticReport", "Observation", "Organization", "Practitioner"} <= declared.keys()
    assert f"{PROFILES}lab" in declared["DiagnosticReport"]["supportedProfile"]
    assert "DocumentReference" not in declared
    values = {"date": "ge2020", "reference": "Patient/p1", "token": "x", "string": "x"}
    for name, row in declared.items():
        asked = {one["name"]: values[one["type"]] for one in row["searchParam"] if one["name"] in SHALL[name]}
        assert asked.keys() == {*SHALL[name]}, name
        bounds = {} if {"patient", "_id"} & asked.keys() else {"_id": "x"}
        answer = await service.search(list({**asked, **bounds}.items()), type=name, prefer="handling=strict")
        assert (answer.status, answer.body["type"]) == (200, "searchset"), answer.text
        assert {"read", "vread", "search-type"} <= {one["code"] for one in row["interaction"]}


def _is_of_us_core(row: Mapping[str, Any]) -> bool:
    return any("/us/core/" in profile for profile in row.get("supportedProfile", ()))


SHALL: Final = {
    "AllergyIntolerance": ["patient"],
    "CarePlan": ["patient", "category"],
    "CareTeam": ["patient", "status"],
    "Condition": ["patient", "category"],
    "Device": ["patient"],
    "DiagnosticReport": ["patient", "category", "code", "date"],
    "Encounter": ["_id", "patient", "date"],
    "Immunization": ["patient"],
    "Location": ["name", "address"],
    "MedicationRequest": ["patient", "intent", "status"],
    "Observation": ["patient", "category", "code", "date"],
    "Organization": ["name", "address"],
    "Patient": ["_id", "identifier", "name", "birthdate", "gender"],
    "Practitioner": ["_id", "identifier", "name"],
    "PractitionerRole": ["practitioner", "specialty"],
    "Procedure": ["patient", "date"],
    "Provenance": ["target"],
    "RelatedPerson": ["_id"],
    "ServiceRequest": ["_id", "patient", "category", "code", "authored"],
    "Specimen": ["_id"],
}
"""Parameters by which US Core 6.1 says a server SHALL search, alone or in its combinations."""
