"""Content of messages without a report keeps its own parts, whatever other messages call theirs."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.oracle.identity.hospital import number
from tests.support.cases import all_of, mr, msg, obs, pat, read, rep, text
from tests.support.feed import send
from tests.support.fhir import refers

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.service import Service

Json = dict[str, Any]
ANN: Final = pat("1", mr("A"))
BOB: Final = pat("1", mr("B"), name="Bob", born="1960-02-02")
IDS: Final = ("x1", "item-0001", "5f3c1a5e-1111-4222-8333-444455556666")


async def sent(lab: Service, message: Json) -> None:
    answer = await send(lab, message)
    assert answer.status == 200, answer.text


def document(minute: int, patient: Json, id: str, words: str, *numbers: Json) -> Json:
    data = base64.b64encode(words.encode()).decode()
    return msg(
        patient,
        {
            "resourceType": "DocumentReference",
            "id": "d1",
            "status": "current",
            "subject": refers("Patient/1"),
            "content": [{"attachment": {"contentType": "text/plain", "url": f"Binary/{id}"}}],
            **({"identifier": list(numbers)} if numbers else {}),
        },
        {"resourceType": "Binary", "id": id, "contentType": "text/plain", "data": data},
        minute=minute,
    )


async def documents(lab: Service) -> list[str]:
    found = []
    for one in await all_of(lab, "DocumentReference?_count=9"):
        url = one["content"][0]["attachment"]["url"]
        held = await lab.get(url.removeprefix(f"{lab.base}/"), accept="application/fhir+json")
        words = base64.b64decode(held.body["data"]).decode()
        found.append(f"{text(await read(lab, one['subject']))}: {words}")
    return sorted(found)


@pytest.mark.parametrize("id", IDS)
async def test_a_document_keeps_its_content(lab: Service, id: str) -> None:
    await sent(lab, document(1, ANN, id, "ann", number("documents", "D1")))
    await sent(lab, document(2, BOB, id, "bob", number("documents", "D2")))
    await sent(lab, document(3, ANN, id, "ann again", number("documents", "D3")))
    assert await documents(lab) == ["Ann: ann", "Ann: ann again", "Bob: bob"]
    await sent(lab, document(4, ANN, id, "ann amended", number("documents", "D1")))
    assert await documents(lab) == ["Ann: ann again", "Ann: ann amended", "Bob: bob"]


async def test_documents_that_their_content_alone_tells_apart_are_two(lab: Service) -> None:
    await sent(lab, document(1, ANN, "x1", "one"))
    await sent(lab, document(2, ANN, "x1", "two"))
    await sent(lab, document(2, ANN, "x1", "two"))
    assert await documents(lab) == ["Ann: one", "Ann: two"]


def specimen(id: str, words: str, **more: Any) -> Json:
    return {
        "resourceType": "Specimen",
        "id": id,
        "type": {"text": "Blood"},
        "note": [{"text": words}],
        **more,
    }


def media(id: str, words: str, **more: Any) -> Json:
    return {"resourceType": "Media", "id": id, "status": "completed", "content": {"title": words}, **more}


HELD: Final = {"specimen": (specimen, "specimen"), "media": (media, "derivedFrom")}
PATIENTS: Final[dict[str, Json]] = {"nobody's": {}, "the patient's": {"subject": refers("Patient/1")}}


@pytest.mark.parametrize("id", IDS)
@pytest.mark.parametrize("whose", PATIENTS)
@pytest.mark.parametrize("numbered", [False, True])
@pytest.mark.parametrize("kind", HELD)
async def test_a_result_by_itself_keeps_its_own(
    lab: Service, kind: str, id: str, whose: str, numbered: bool
) -> None:
    make: Callable[..., Json] = HELD[kind][0]
    element = HELD[kind][1]

    def one(minute: int, patient: Json, words: str, at: str = "2026-01-01T08:00:00Z") -> Json:
        of_line = {"identifier": [{"value": "1"}]} if numbered and whose == "nobody's" else {}
        pointer: Any = refers(f"{kind.title()}/{id}")
        led = {element: [pointer] if element == "derivedFrom" else pointer}
        result = obs("o", "Patient/1", "K", words, effectiveDateTime=at, **led)
        return msg(patient, result, make(id, words, **of_line, **PATIENTS[whose]), minute=minute)

    await sent(lab, one(1, ANN, "ann"))
    await sent(lab, one(2, BOB, "bob"))
    await sent(lab, one(3, ANN, "ann later", "2026-01-01T09:00:00Z"))
    await sent(lab, one(4, BOB, "bob amended"))
    found = await all_of(lab, "Observation?_count=9")
    assert sorted(result["valueString"] for result in found) == ["ann", "ann later", "bob amended"]
    for result in found:
        pointer = result[element]
        held = await read(lab, pointer[0] if isinstance(pointer, list) else pointer)
        words = held["note"][0]["text"] if kind == "specimen" else held["content"]["title"]
        assert words == result["valueString"]
    assert len(await all_of(lab, f"{kind.title()}?_count=9")) == 3


@pytest.mark.parametrize("when", ["2026-01-01", "2026-01", None])
async def test_results_of_one_day_are_several(lab: Service, when: str | None) -> None:
    """A patient who measures glucose, without numbers: none takes the place of the one before."""
    timed = {"effectiveDateTime": when} if when else {}

    def one(minute: int, value: str, id: str = "o1") -> Json:
        return msg(ANN, obs(id, "Patient/1", "Glucose", value, **timed), minute=minute)

    for minute, value in ((1, "5.1"), (2, "7.4"), (3, "5.1")):
        await sent(lab, one(minute, value))
    assert sorted(one["valueString"] for one in await all_of(lab, "Observation?_count=9")) == ["5.1", "7.4"]
    for minute, value in ((4, "6.0"), (5, "6.1")):  # An id that says more than a place finds its own.
        await sent(lab, one(minute, value, "result-20260101"))
    found = [one["valueString"] for one in await all_of(lab, "Observation?_count=9")]
    assert sorted(found) == ["5.1", "6.1", "7.4"]


async def test_a_result_of_a_minute_is_amended(lab: Service) -> None:
    for minute, value in ((1, "5.1"), (2, "7.4")):
        result = obs(f"o{minute}", "Patient/1", "Glucose", value, effectiveDateTime="2026-01-01T08:00:00Z")
        await sent(lab, msg(ANN, result, minute=minute))
    assert [one["valueString"] for one in await all_of(lab, "Observation?_count=9")] == ["7.4"]


@pytest.mark.parametrize("minute", [0, 2, 4], ids=["older", "between", "newer"])
@pytest.mark.parametrize("again", [False, True], ids=["left", "and shown again"])
async def test_a_result_that_its_report_let_go_of_is_the_same_by_itself(
    lab: Service, minute: int, again: bool
) -> None:
    """A result that left with a version of its report, and comes by itself, is no second one."""
    potassium = obs("k", "Patient/1", "K", "4.1", number("results", "R-10077"))

    def panel(minute: int, *results: str) -> Json:
        shown = rep("r", "Patient/1", number("fillers", "F-20011"), results=results)
        return msg(ANN, shown, *([potassium] if results else ()), minute=minute)

    whole = panel(1, "Observation/k")
    for one in (whole, panel(3), msg(ANN, potassium, minute=minute)):
        await sent(lab, one)
    if again:
        await sent(lab, panel(5, "Observation/k"))
    versions = await lab.get("DiagnosticReport/_history?_count=9")
    await sent(lab, {**whole, "id": "again"})
    assert len(await all_of(lab, "Observation?_count=9")) == 1
    assert (await lab.get("DiagnosticReport/_history?_count=9")).body["total"] == versions.body["total"]
