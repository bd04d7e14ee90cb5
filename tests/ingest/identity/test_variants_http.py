"""Other spellings of the kinds that the rows of the table name."""

from __future__ import annotations

import base64
from itertools import permutations
from typing import TYPE_CHECKING, Any, Final

import pytest

from store.tenancy import SearchScope
from tests.oracle.identity.hospital import number
from tests.support.cases import Case, all_of, fill, holds, lines, mr, msg, obs, pat, read, rep
from tests.support.feed import send
from tests.support.fhir import identified, refers

if TYPE_CHECKING:
    from tests.support.service import Service

Json = dict[str, Any]
ANN: Final = pat("1", mr("A"))
BOB: Final = pat("1", mr("B"), name="Bob", born="1960-02-02")
BOTH: Final = {"mr|A": ["CBC final of Ann"], "mr|B": ["CBC final of Bob"]}


def told(
    minute: int, patient: Json, *more: Json, source: str | None = "urn:made-up:lab", **report: Any
) -> Json:
    return msg(
        patient, rep("r1", "Patient/1", fill(f"F{minute}"), **report), *more, minute=minute, source=source
    )


def typed(system: str, code: str) -> Json:
    """A number of a type in this system of codes."""
    return {"type": {"coding": [{"system": system, "code": code}]}, "system": "urn:made-up:x", "value": "S"}


def patients(name: str, first: Json, second: Json, count: int) -> Case:
    """Messages of two statements about patients whose first names are Ann and Bob, born on one day."""
    sent = [told(1, pat("1", first)), told(2, pat("1", second, name="Bob"))]
    names = ["CBC final of Ann", "CBC final of Bob"] if count == 2 else ["CBC final of Bob"] * 2
    return Case(name, sent, {"": names}, patients=count)


OLD_CODES: Final = "http://hl7.org/fhir/v2/0203"
NEW_CODES: Final = "http://terminology.hl7.org/CodeSystem/v2-0203"
WHOLE: Final = (
    patients("an account by the older URI", typed(OLD_CODES, "AN"), typed(OLD_CODES, "AN"), 2),
    patients("a record number by the older URI", typed(OLD_CODES, "MR"), typed(NEW_CODES, "MR"), 1),
    patients("values are case-sensitive", mr("a"), mr("A"), 2),
    patients("usual and official", mr("A", use="usual"), mr("A", use="official"), 1),
    patients("a period that has not ended", mr("A", period={"end": "2099"}), mr("A"), 1),
    patients("of two systems", number("x", "A", "MR"), number("y", "A", "MR"), 2),
    patients(
        "one of two codings",
        {
            **mr("A"),
            "type": {"coding": [{"system": "urn:made-up", "code": "local"}, *mr("A")["type"]["coding"]]},
        },
        mr("A"),
        1,
    ),
)


@pytest.mark.parametrize("case", WHOLE, ids=lambda case: case.name)
async def test_what_makes_a_number_a_key(lab: Service, case: Case) -> None:
    await holds(lab, case)


async def test_a_record_number_without_a_system_is_nobodys_elsewhere(lab: Service) -> None:
    bare = {key: value for key, value in mr("7").items() if key != "system"}
    ann, bob = pat("1", bare), pat("1", bare, name="Bob", born="1960-02-02")
    sent = [told(1, ann), told(2, bob, source="urn:made-up:other")]
    await holds(lab, Case("bare", sent, {"": ["CBC final of Ann", "CBC final of Bob"]}, patients=2))


async def test_a_report_withdrawn_and_made_again_for_another_patient_is_two(lab: Service) -> None:
    sent = [
        msg(ANN, rep("r1", "Patient/1", fill("F")), minute=1),
        msg(ANN, rep("r1", "Patient/1", fill("F"), status="entered-in-error"), minute=2),
        msg(BOB, rep("r1", "Patient/1", fill("F")), minute=3),
    ]
    found = {"mr|A": ["CBC entered-in-error of Ann"], "mr|B": ["CBC final of Bob"]}
    await holds(lab, Case("withdrawn", sent, found))


async def test_a_subject_told_by_its_number_alone(lab: Service) -> None:
    def one(value: str, minute: int) -> Json:
        report = {**rep("r1", "", fill("F")), "subject": {"identifier": mr(value)}}
        return msg(report, minute=minute)

    for order in permutations((one("A", 1), one("B", 2))):
        tenant = await lab.new_tenant(search_scope=SearchScope.ANY)
        for sent in order:
            assert (await send(tenant, sent)).status == 200
        for value in "AB":
            answer = await tenant.search([("patient.identifier", f"urn:made-up:mr|{value}")])
            assert len(answer.ids) == 1


async def test_a_patient_by_number_and_by_entry_is_one(lab: Service) -> None:
    """The report that named its patient by number only is the same, corrected."""
    first = {**rep("r1", "", fill("F"), status="preliminary"), "subject": {"identifier": mr("A")}}
    second = rep("r1", "Patient/1", fill("F"))
    assert (await send(lab, msg(first, minute=1))).status == 200
    assert (await send(lab, msg(ANN, second, minute=2))).status == 200
    assert await lines(lab, "mr|A") == ["CBC final of Ann"]


def plain(type: str, **more: Any) -> Json:
    return {"resourceType": type, "id": "1", **more}


PEOPLE: Final = {
    "Reed": plain("Practitioner", name=[{"text": "Reed"}]),
    "Lake": plain("Practitioner", name=[{"text": "Lake"}]),
}


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_a_role_of_equal_words_is_another_when_it_leads_to_another(
    lab: Service, order: tuple[int, int]
) -> None:
    role = plain("PractitionerRole", practitioner=refers("Practitioner/1"), code=[{"text": "Pathologist"}])
    led: Json = {"resultsInterpreter": [refers("PractitionerRole/1")]}
    sent = [told(1, ANN, role, PEOPLE["Reed"], **led), told(2, BOB, role, PEOPLE["Lake"], **led)]
    for n in order:
        assert (await send(lab, sent[n])).status == 200
    for asked, name in (("A", "Reed"), ("B", "Lake")):
        [found] = await all_of(lab, f"DiagnosticReport?patient.identifier=urn:made-up:mr|{asked}")
        stored = await read(lab, found["resultsInterpreter"][0])
        assert (await read(lab, stored["practitioner"]))["name"] == [{"text": name}]


async def test_an_encounter_of_equal_words_is_another_when_it_leads_to_another(lab: Service) -> None:
    visit = plain(
        "Encounter",
        status="finished",
        **{"class": {"code": "AMB"}},
        subject=refers("Patient/1"),
        location=[{"location": refers("Location/1")}],
    )
    sent = [
        told(n, ANN, visit, plain("Location", name=name), encounter=refers("Encounter/1"))
        for n, name in enumerate(("Ward 1", "Ward 2"), start=1)
    ]
    for one in sent:
        assert (await send(lab, one)).status == 200
    wards = []
    for report in await all_of(lab, "DiagnosticReport?patient.identifier=urn:made-up:mr|A"):
        stored = await read(lab, report["encounter"])
        wards.append((await read(lab, stored["location"][0]["location"]))["name"])
    assert sorted(wards) == ["Ward 1", "Ward 2"]


async def test_members_of_members_and_what_a_result_is_derived_from(lab: Service) -> None:
    def one(minute: int, patient: Json, value: str) -> Json:
        inner = obs("o3", "Patient/1", "K", value)
        middle = obs("o2", "Patient/1", "BMP", "panel", hasMember=[refers("Observation/o3")])
        outer = obs("o1", "Patient/1", "All", "panels", hasMember=[refers("Observation/o2")])
        return told(minute, patient, outer, middle, inner, results=["Observation/o1"])

    sent = [one(1, ANN, "4"), one(2, BOB, "5")]
    found = {
        "mr|A": ["CBC final of Ann: All=panels[BMP=panel[K=4]]"],
        "mr|B": ["CBC final of Bob: All=panels[BMP=panel[K=5]]"],
    }
    await holds(lab, Case("deep", sent, found))


async def test_a_document_of_one_local_id_stays_with_its_report(lab: Service) -> None:
    words = {"A": b"Made up for Ann", "B": b"Made up for Bob"}
    for minute, (patient, text) in enumerate(zip((ANN, BOB), words.values(), strict=True), start=1):
        file = plain("Binary", contentType="text/plain", data=base64.b64encode(text).decode())
        form = [{"contentType": "text/plain", "url": "Binary/1"}]
        assert (await send(lab, told(minute, patient, file, presentedForm=form))).status == 200
    for asked, text in words.items():
        [found] = await all_of(lab, f"DiagnosticReport?patient.identifier=urn:made-up:mr|{asked}")
        [form] = found["presentedForm"]
        assert (await lab.get(form["url"])).text == text.decode()


@pytest.mark.parametrize("numbers", [(), (identified("urn:made-up:documents", "X"),)], ids=["none", "shared"])
async def test_document_references_of_one_local_id_are_two(lab: Service, numbers: tuple[Json, ...]) -> None:
    for minute, patient in enumerate((ANN, BOB), start=1):
        numbered = {"identifier": list(numbers)} if numbers else {}
        document = plain(
            "DocumentReference",
            status="current",
            **numbered,
            subject=refers("Patient/1"),
            content=[{"attachment": {"title": patient["name"][0]["text"]}}],
            context={"related": [refers("DiagnosticReport/r1")]},
        )
        assert (await send(lab, told(minute, patient, document))).status == 200
    for asked, name in (("A", "Ann"), ("B", "Bob")):
        [found] = await all_of(lab, f"DocumentReference?patient.identifier=urn:made-up:mr|{asked}")
        assert found["content"][0]["attachment"]["title"] == name
        related = await read(lab, found["context"]["related"][0])
        assert (await read(lab, related["subject"]))["name"] == [{"text": name}]


async def test_an_imaging_study_of_one_local_id_stays_with_its_report(lab: Service) -> None:
    for minute, patient in enumerate((ANN, BOB), start=1):
        name = patient["name"][0]["text"]
        study = plain("ImagingStudy", status="available", subject=refers("Patient/1"), description=name)
        sent = told(minute, patient, study, imagingStudy=[refers("ImagingStudy/1")])
        assert (await send(lab, sent)).status == 200
    for asked, name in (("A", "Ann"), ("B", "Bob")):
        [found] = await all_of(lab, f"DiagnosticReport?patient.identifier=urn:made-up:mr|{asked}")
        assert (await read(lab, found["imagingStudy"][0]))["description"] == name


async def test_two_senders_behind_one_token_without_an_endpoint(lab: Service) -> None:
    """All that is known of them is the token: local ids collide, content does not."""
    sent = [
        told(1, ANN, obs("o1", "Patient/1", "K", "4"), results=["Observation/o1"], source=None),
        told(2, BOB, obs("o1", "Patient/1", "K", "5"), results=["Observation/o1"], source=None),
    ]
    found = {"mr|A": ["CBC final of Ann: K=4"], "mr|B": ["CBC final of Bob: K=5"]}
    await holds(lab, Case("one token", sent, found))


async def test_reports_without_a_number_of_two_sources_are_two(lab: Service) -> None:
    sent = [
        msg(ANN, rep("r1", "Patient/1"), minute=1),
        msg(ANN, rep("r1", "Patient/1"), minute=2, source="urn:made-up:other"),
    ]
    await holds(lab, Case("sources", sent, {"mr|A": ["CBC final of Ann"] * 2}))
