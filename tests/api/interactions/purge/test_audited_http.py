"""Records of who asked for a patient by what is none of their ids: they name nobody, and stay findable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.support.fhir import MRN, identified, patient, report

if TYPE_CHECKING:
    from tests.api.interactions.purge.purged import World

ASKED: Final = (
    "Patient/ANNA-4711",
    "Patient/ANNA-4711/_history",
    "Patient/ANNA-4711/DiagnosticReport",
    "Patient?_id=ANNA-4711",
    "DiagnosticReport?patient=ANNA-4711",
    "DiagnosticReport?patient=Patient/bert,ANNA-4711",
    "DiagnosticReport?patient=bert&subject:Patient.identifier=ANNA-4711",
    "Patient?identifier=ANNA-4711",
)


async def ask(world: World) -> None:
    for path in ASKED:
        answer = await world.service.get(path)
        assert answer.status in (200, 404), answer.text


async def test_a_number_that_was_asked_for_as_an_id_is_in_no_record(world: World) -> None:
    await world.service.load(
        patient("a", identified(MRN, "ANNA-4711")), patient("bert"), report("rb", "bert")
    )
    await ask(world)
    await world.erase()
    assert await world.left(["ANNA-4711"]) == set()
    await ask(world)
    assert await world.left(["ANNA-4711"]) == set()
    assert await world.database["audit"].count_documents({"patients": "Patient/bert"}) > 0


async def test_the_records_of_another_whose_id_is_the_number_stay(world: World) -> None:
    await world.service.load(patient("a", identified(MRN, "B-1")), patient("B-1"), report("rb", "B-1"))
    await world.service.get("Patient/B-1")
    await world.erase(f"{MRN}|B-1")
    before = await world.database["audit"].count_documents({"patients": "Patient/B-1"})
    assert before > 0
    await world.service.get("Patient/B-1")
    assert await world.database["audit"].count_documents({"patients": "Patient/B-1"}) == before + 1
