"""Doubts that public bug reports of other products tell of: each makes two, over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.oracle.identity.hospital import number
from tests.support import hl7v2
from tests.support.cases import Case, all_of, fill, holds, lines, mr, msg, pat, rep
from tests.support.feed import send
from tests.support.fhir import refers

if TYPE_CHECKING:
    from tests.support.service import Service

Json = dict[str, Any]
ANN: Final = pat("1", mr("A"))
BOB: Final = pat("1", mr("B"), name="Bob", born="1960-02-02")
BOTH: Final = {"mr|A": ["CBC final of Ann"], "mr|B": ["CBC final of Bob"]}


def told(minute: int, patient: Json, *more: Json, **report: Any) -> Json:
    return msg(patient, rep("r1", "Patient/1", fill(f"F{minute}"), **report), *more, minute=minute)


async def test_a_number_that_had_ended_when_it_was_put_is_no_key(lab: Service) -> None:
    """An end in the list of a stored record counts as one in a message."""
    ended = {**mr("A"), "period": {"end": "2015-01-01"}}
    await lab.load(pat("ours", ended), rep("r0", "Patient/ours", fill("F0")))
    assert (await send(lab, told(1, pat("1", mr("A"), name="Bob", born="1960-02-02")))).status == 200
    assert await lines(lab, "mr|A") == ["CBC final of Ann", "CBC final of Bob"]


async def test_a_placeholder_that_was_put_speaks_against_nobody(lab: Service) -> None:
    shared = number("ss", "S", "SS")
    await lab.load(pat("ours", mr("UNKNOWN"), shared), rep("r0", "Patient/ours", fill("F0")))
    assert (await send(lab, told(1, pat("1", mr("A"), shared)))).status == 200
    assert await lines(lab, "mr|A") == ["CBC final of Ann"] * 2


def culture(organism: str, value: str, status: str = "F") -> list[str]:
    """The susceptibilities of an organism of one culture: OBR-26 and OBR-29 name it."""
    parent = f"600-7&Bacteria&LN^{organism}^organism {organism}"
    return [
        hl7v2.obr("C-1", code="29576-6^Susceptibility^LN", status=status, f26=parent, f29="^C-1"),
        hl7v2.obx("18907-6^Penicillin^LN", value, kind="ST", status=status),
    ]


@pytest.mark.parametrize("together", [True, False])
async def test_susceptibilities_of_two_organisms_are_two_reports(lab: Service, together: bool) -> None:
    """Reports that share a filler number, code and time, however they come and are corrected."""
    first = [[*culture("1", "S"), *culture("2", "R")]] if together else [culture("1", "S"), culture("2", "R")]
    for n, segments in enumerate(
        [*first, culture("2", "I", "C"), [*culture("2", "I", "C"), *culture("1", "S")]]
    ):
        message = hl7v2.message(hl7v2.PID, *segments, number=f"M-{n}", time=f"2026112210{n}000+0000")
        await hl7v2.send(lab, message)
        found = await all_of(lab, "DiagnosticReport?patient.identifier=P-1")
        shown = [(await lab.get(one["result"][0]["reference"])).body["valueString"] for one in found]
        assert len(found) == (2 if together or n else 1)
    assert sorted(shown) == ["I", "S"]


def brought(minute: int, patient: Json) -> Json:
    """A message whose visit has an account, as all of a household have."""
    name = patient["name"][0]["text"]
    visit = {
        "resourceType": "Encounter",
        "id": "e",
        "status": "finished",
        "class": {"code": "AMB"},
        "type": [{"text": "visit"}],
        "subject": refers("Patient/1"),
        "account": [refers("Account/a")],
    }
    account = {
        "resourceType": "Account",
        "id": "a",
        "status": "active",
        "identifier": [number("accounts", "7", "AN")],
        "subject": [refers("Patient/1")],
        "name": name,
    }
    task = {
        "resourceType": "Task",
        "id": "t",
        "status": "completed",
        "intent": "order",
        "identifier": [number("tasks", "1")],
        "for": refers("Patient/1"),
        "description": name,
    }
    return told(minute, patient, visit, account, task, encounter=refers("Encounter/e"))


async def test_accounts_and_tasks_of_one_number_are_each_patients_own(lab: Service) -> None:
    for minute, patient in enumerate((ANN, BOB), 1):
        assert (await send(lab, brought(minute, patient))).status == 200
    for report in await all_of(lab, "DiagnosticReport?_count=9"):
        patient = (await lab.get(report["subject"]["reference"])).body
        visit = (await lab.get(report["encounter"]["reference"])).body
        account = (await lab.get(visit["account"][0]["reference"])).body
        assert account["name"] == patient["name"][0]["text"]


def without_system(value: str, kind: str, assigner: str) -> Json:
    return {"type": number("x", value, kind)["type"], "value": value, "assigner": {"display": assigner}}


async def test_numbers_without_a_system_of_two_assigners_are_two(lab: Service) -> None:
    twin = {"name": "Bea", "born": "1950-01-01"}
    sent = [
        told(1, pat("1", without_system("7", "MR", "North"))),
        told(2, pat("1", without_system("7", "MR", "South"), **twin)),
    ]
    await holds(lab, Case("assigners", sent, {"": ["CBC final of Ann", "CBC final of Bea"]}, patients=2))


async def test_a_report_without_a_system_of_another_assigner_takes_none_from_a_patient(lab: Service) -> None:
    sent = [
        msg(ANN, rep("r1", "Patient/1", without_system("1001", "FILL", "Lab A")), minute=1),
        msg(
            BOB,
            rep("r1", "Patient/1", without_system("1001", "FILL", "Lab B"), status="corrected"),
            minute=2,
        ),
    ]
    found = {"mr|A": ["CBC final of Ann"], "mr|B": ["CBC corrected of Bob"]}
    await holds(lab, Case("assigners", sent, found))


@pytest.mark.parametrize("system", ["http://loinc.org", "urn:lab:codes"])
async def test_panels_beside_a_general_code_are_two(lab: Service, system: str) -> None:
    def panel(minute: int, code: str, text: str, **more: Any) -> Json:
        general = {"system": "http://loinc.org", "code": "11502-2"}
        code_ = {"coding": [general, {"system": system, "code": code}], "text": text}
        report = {**rep("r1", "Patient/1", fill("F1"), **more), "code": code_}
        return msg(ANN, report, minute=minute)

    sent = [
        panel(1, "58410-2", "CBC"),
        panel(2, "24323-8", "CMP"),
        panel(3, "24323-8", "CMP", status="corrected"),
    ]
    await holds(lab, Case("general code", sent, {"mr|A": ["CBC final of Ann", "CMP corrected of Ann"]}))


def visit(number_: Json, *more: Json, words: str) -> Json:
    return {
        "resourceType": "Encounter",
        "id": "e",
        "status": "finished",
        "class": {"code": "AMB"},
        "identifier": [number_, *more],
        "type": [{"text": words}],
        "subject": refers("Patient/1"),
    }


async def test_two_visits_that_share_a_number_of_less_are_two(lab: Service) -> None:
    local = number("beds", "7")
    sent = [
        told(
            n,
            ANN,
            visit(number("visits", f"V{n}", kind), local, words=f"visit {n}"),
            encounter=refers("Encounter/e"),
        )
        for n, kind in enumerate(("VN", "VN", None), 1)
    ]
    found = [f"CBC final of Ann + visit {n}" for n in (1, 2, 3)]
    await holds(lab, Case("visits", sent, {"mr|A": found}))


@pytest.mark.parametrize("identifier", [mr("UNKNOWN"), number("x", "7", "AN"), {**mr("T"), "use": "temp"}])
async def test_a_subject_told_by_a_number_that_is_nobodys_is_whom_the_words_name(
    lab: Service, identifier: Json
) -> None:
    sent = [
        msg({**rep("r1", "", fill("F")), "subject": {"identifier": identifier, "display": who}}, minute=n)
        for n, who in enumerate(("Ann", "Bob"), 1)
    ]
    for one in (*sent, *sent):
        assert (await send(lab, one)).status == 200
    found = await all_of(lab, "DiagnosticReport?_count=9")
    assert sorted(one["subject"]["display"] for one in found) == ["Ann", "Bob"]


async def test_a_subject_told_by_a_number_without_a_system_is_its_sources(lab: Service) -> None:
    for n, source in enumerate(("urn:made-up:lab", "urn:made-up:other"), 1):
        report = {**rep("r1", "", fill("F"), conclusion=source), "subject": {"identifier": {"value": "7"}}}
        assert (await send(lab, msg(report, minute=n, source=source))).status == 200
    assert len(await all_of(lab, "DiagnosticReport?_count=9")) == 2
