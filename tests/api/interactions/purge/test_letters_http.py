"""Refused pushes of a patient who is erased: those that are kept go, and none is kept afterwards."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest

from store.retention.bodies.mentions import names_asked, names_in
from store.retention.erased_names import KEY, NUMBER, PATIENT, Name
from tests.support.data_model import result, results_new
from tests.support.fhir import MRN, identified, patient, refers
from tests.support.hl7v2 import obr

if TYPE_CHECKING:
    from tests.api.interactions.purge.purged import World
    from tests.support.service import Answer

NUMBERED: Final = "MADEUP-1"


async def push(world: World, *results: Any, number: str = NUMBERED) -> Answer:
    body = results_new(*results)
    body["Patient"] = {"Identifiers": [{"ID": number, "IDType": "MR"}], "Demographics": {"FirstName": "A"}}
    return await world.service.request("POST", "$data-model", body, content_type="application/json")


async def test_messages_of_upstreams_data_model_are_known_by_their_numbers(world: World) -> None:
    assert (await push(world, result())).status == 200
    faulty = await push(world, "no result")
    assert (faulty.status, "Dead-Letter" in faulty.headers) == (400, True), faulty.text
    [found] = (await world.service.search(f"identifier={NUMBERED}", type="Patient")).ids or [""]
    await world.erase(f"Patient/{found}")
    assert await world.left([NUMBERED]) == set()
    assert "Dead-Letter" not in (await push(world, "no result")).headers
    assert "Dead-Letter" in (await push(world, "no result", number="MADEUP-2")).headers
    assert await world.left([NUMBERED]) == set()


async def test_conditions_of_a_refused_push_are_looked_at(world: World) -> None:
    await world.service.load(patient("anna", identified(MRN, "ANNA-4711")))
    await world.erase()
    query = f"identifier={MRN}|ANNA-4711"
    bad = {"resourceType": "Patient", "birthDate": 7}
    condition = {"If-None-Exist": query}
    answers = [
        await world.service.request("POST", "Patient", bad, headers=condition),
        await world.service.request("PUT", f"Patient?{query}", bad),
        await world.service.request("PUT", "Patient?identifier=ANNA-4711", bad),
    ]
    assert [answer.status for answer in answers] == [422] * 3
    assert all("Dead-Letter" not in answer.headers for answer in answers)
    assert await world.left(["ANNA-4711"]) == set()


async def test_letters_that_name_the_number_without_a_system_are_known(world: World) -> None:
    await world.service.load(patient("anna", identified(MRN, "ANNA-4711")))
    report: dict[str, Any] = {"resourceType": "DiagnosticReport"}
    pushes: list[tuple[str, Any]] = [
        ("Patient", {"resourceType": "Patient", "identifier": [{"value": "ANNA-4711"}], "birthDate": 5}),
        (
            "DiagnosticReport",
            {**report, "subject": {"display": "Anna", "identifier": {"value": "ANNA-4711"}}},
        ),
        ("DiagnosticReport", {**report, "subject": {"reference": f"Patient?identifier={MRN}|ANNA-4711"}}),
        ("Patient", b'{"resourceType":"Patient","id":"ANNA-4711"'),
    ]

    async def letters() -> int:
        answers = [
            await world.service.request(
                "POST", of, **({"data": body} if isinstance(body, bytes) else {"body": body})
            )
            for of, body in pushes
        ]
        assert all(answer.status in (400, 422) for answer in answers)
        return sum("Dead-Letter" in answer.headers for answer in answers)

    assert await letters() == len(pushes)
    await world.erase()
    assert await world.left(["ANNA-4711"]) == set()
    assert await letters() == 0
    assert await world.left(["ANNA-4711"]) == set()


def told(**elements: Any) -> str:
    return json.dumps({"resourceType": "DiagnosticReport", **elements})


def of_data_model(number: int) -> str:
    body: dict[str, Any] = {**results_new(), "Orders": "none"}
    return json.dumps({**body, "Patient": {"Identifiers": [{"ID": number, "IDType": "MR"}]}})


HEAD: Final = "MSH|^~\\&|LAB|HOSP|DOD|CITY|20261122||ORU^R01|1|P|2.5.1\r"
REFUSED: Final = obr(status="Z")
SPELLINGS: Final[dict[str, tuple[str, str, str | bytes]]] = {
    "a slash escaped": (
        "POST",
        "DiagnosticReport",
        told(subject=refers("Patient/a-4711")).replace("/", "\\/"),
    ),
    "blanks": ("POST", "DiagnosticReport", told(subject=refers(" Patient/a-4711 "))),
    "a fragment": ("POST", "DiagnosticReport", told(subject=refers("Patient/a-4711#x"))),
    "a number in the place of a text": (
        "POST",
        "DiagnosticReport",
        told(subject={"identifier": {"system": MRN, "value": 4711}}),
    ),
    "a number alone": ("POST", "DiagnosticReport", told(subject={"identifier": {"value": 4711}})),
    "a number of the Data Model": ("POST", "$data-model", of_data_model(4711)),
    "a value with blanks": (
        "POST",
        "DiagnosticReport",
        told(subject={"identifier": {"system": MRN, "value": " 4711 "}}),
    ),
    "an identifier that had no system": (
        "POST",
        "DiagnosticReport",
        told(subject={"identifier": {"value": "B-12"}}),
    ),
    "UTF-16": ("POST", "Patient", json.dumps(patient("x", identified(MRN, "4711"))).encode("utf-16")),
    "HL7 v2 in UTF-16": ("POST", "$hl7v2", (HEAD + "PID|1||4711").encode("utf-16")),
    "an indented segment": ("POST", "$hl7v2", HEAD + f" pid|1||4711\r{REFUSED}"),
    "an escaped path": ("PUT", "Patient/a%2D4711", '{"a": 1}'),
}


async def test_letters_are_known_however_they_spell_the_patient(world: World) -> None:
    """A sender may escape what needs no escape, and is refused for what is not as it should be."""
    await world.service.load(patient("a-4711", identified(MRN, "4711"), {"value": "B-12"}))

    async def letters() -> list[str]:
        found = []
        for name, (method, path, body) in SPELLINGS.items():
            kind = "x-application/hl7-v2+er7" if path == "$hl7v2" else "application/json"
            answer = await world.service.request(method, path, data=body, content_type=kind)
            assert answer.status in (400, 422), (name, answer.text)
            found += [name] if "Dead-Letter" in answer.headers else []
        return found

    assert await letters() == list(SPELLINGS)
    await world.erase(f"{MRN}|4711")
    kept = [one["path"] async for one in world.database["dead_letters"].find({})]
    assert kept == []
    assert await letters() == []


async def test_letters_are_known_by_a_name_however_it_is_spelled(world: World) -> None:
    family = "Müßig-O'Überall"
    name = {"family": family, "given": ["Annegret"]}
    await world.service.load(patient("anna", identified(MRN, "4711"), name=[name]))
    spelled = [
        rb'{"resourceType":"Patient","name":[{"family":"M\u00FC\u00DFig-O\u0027\u00DCberall","given":["Annegret"]}]',
        json.dumps(patient("x", name=[{"family": family.upper(), "given": ["ANNEGRET"]}], active=1)).encode(),
        *(
            (HEAD + f"PID|1||||{spelling}^Annegret\r{REFUSED}").encode(charset)
            for spelling, charset in (("Müßig-O'Überall", "cp850"), ("MÜSSIG-O'ÜBERALL", "utf-8"))
        ),
    ]
    for body in spelled:
        message = body.startswith(b"MSH")
        path, kind = (
            ("$hl7v2", "x-application/hl7-v2+er7") if message else ("Patient", "application/fhir+json")
        )
        answer = await world.service.request("POST", path, data=body, content_type=kind)
        assert "Dead-Letter" in answer.headers, answer.text
    await world.erase(f"{MRN}|4711")
    assert await world.database["dead_letters"].count_documents({}) == 0


async def test_pieces_that_a_crash_left_without_a_letter_go_too(world: World) -> None:
    await world.service.load(patient("anna", identified(MRN, "ANNA-4711")))
    pieces = world.database["dead_letter_bodies"]
    tenant, end = str(world.service.tenant), world.service.clock() + timedelta(days=30)
    for number, letter in enumerate(("none", "kept", "kept")):
        body = {"letter": letter, "set": f"s{number}", "tenant": tenant, "expires_at": end, "data": b"x"}
        await pieces.insert_one({"_id": f"s{number}/0", **body})
    await world.database["dead_letters"].insert_one(
        {"_id": "kept", "tenant": tenant, "at": end, "path": "", "headers": {}, "body": None}
        | {"pieces": 1, "set": "s2", "kept": 1, "expires_at": end}
    )
    await world.erase()
    assert [one["_id"] async for one in pieces.find({"tenant": tenant})] == ["s2/0"]


MESSAGE: Final = (
    "MSH|^~\\&|LAB|HOSP|DOD|CITY|20261122||ADT^A40|1|P|2.5.1\r"
    "PID|1|A&B|P-1^^^HOSP^MR~P-2|P-3|\r"
    "MRG|P-4^^^HOSP\r"
)


@pytest.mark.parametrize(
    ("body", "numbers"),
    [
        pytest.param(MESSAGE, {"A", "P-1", "P-2", "P-3", "P-4"}, id="fields, repetitions, components"),
        pytest.param(
            MESSAGE.replace("|", "!").replace("^", "@"), {"A", "P-1", "P-2", "P-3", "P-4"}, id="others"
        ),
        pytest.param("PID|1||P-1", {"P-1"}, id="without a header"),
        pytest.param("MSH|^~\\&|LAB", set(), id="without a patient"),
        pytest.param('{"Patient":{"Identifiers":{"ID":"D-1"},"x":[', {"D-1"}, id="no JSON"),
        pytest.param('{"Order":{"ID":"D-1"}}', set(), id="the number of an order"),
        pytest.param('{"identifier":[{"value":"1","use":"usual"}]}', {"1"}, id="without a system"),
        pytest.param('{"identifier":[{"value":"1","system":"a"}]}', set(), id="with a system"),
        pytest.param('{"resourceType":"Patient","id":"A-1"', {"A-1"}, id="broken off"),
        pytest.param('{"subject":{"reference":"Patient/A-1"}}', {"A-1"}, id="an id that is a number"),
        pytest.param('{"subject":{"reference":"Patient?identifier=A-1"}}', {"A-1"}, id="a condition"),
        pytest.param('{"identifier":[{"value":7}],"valueQuantity":{"value":8}}', {"7"}, id="unquoted"),
    ],
)
def test_numbers_in_what_tells_no_system(body: str, numbers: set[str]) -> None:
    assert {one.text for one in names_in(body.encode()) if one.kind == NUMBER} == numbers


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("identifier=a|1,b|2", {Name(PATIENT, "a|1"), Name(PATIENT, "b|2")}),
        (r"patient.identifier=a|1\,2", {Name(PATIENT, r"a|1\,2")}),
        ("patient:Patient.identifier=1&code=5", {Name(NUMBER, "1")}),
        ("subject:identifier=|1", {Name(NUMBER, "1")}),
        ("patient=1&subject=http://x/Patient/2", {Name(KEY, "Patient/1"), Name(KEY, "Patient/2")}),
        ("subject=Patient%2F1%2F_history%2F3", {Name(KEY, "Patient/1")}),
        ("status=final&_count=5", set()),
    ],
)
def test_names_that_a_query_may_ask_for(query: str, names: set[Name]) -> None:
    assert names_asked(query) == names
