"""Companions of a report stay what its own message said, whatever other messages call their things."""

from __future__ import annotations

from functools import partial
from itertools import permutations
from typing import TYPE_CHECKING, Any, Final

import pytest

from store.tenancy import SearchScope
from tests.oracle.identity.hospital import number
from tests.support.cases import (
    Case,
    all_of,
    fill,
    holds,
    holds_in_any_order,
    in_any_order,
    lines,
    mr,
    msg,
    obs,
    pat,
    rep,
)
from tests.support.feed import send
from tests.support.fhir import refers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.support.service import Service

Json = dict[str, Any]
ANN: Final = pat("1", mr("A"))
BOB: Final = pat("1", mr("B"), name="Bob", born="1960-02-02")


def told(minute: int, filler: str, *more: Json, patient: Json = ANN, **report: Any) -> Json:
    """A message with one report, whose id is always the same."""
    return msg(patient, rep("r1", "Patient/1", fill(filler), **report), *more, minute=minute)


NUMBERS: Final = {
    "none": (),
    "the accession": (number("accession", "X1"),),
    "of the line": (number("lines", "1"),),
    "placeholder": (number("results", "0"),),
    "without a system": ({"value": "1"},),
}


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("source", ["urn:made-up:lab", None], ids=["endpoint", "no endpoint"])
async def test_an_observation_lies_within_its_report(lab: Service, name: str, source: str | None) -> None:
    def one(minute: int, filler: str, patient: Json, code: str, value: str, status: str = "final") -> Json:
        report = rep("r1", "Patient/1", fill(filler), results=["Observation/obs1"], status=status)
        result = obs("obs1", "Patient/1", code, value, *NUMBERS[name])
        return msg(patient, report, result, minute=minute, source=source)

    sent = (
        one(1, "F1", ANN, "K", "6.9"),
        one(2, "F2", BOB, "K", "3.1"),
        one(3, "F3", ANN, "Na", "140"),
        one(4, "F1", ANN, "K", "5.0", "corrected"),
    )
    found = {
        "mr|A": ["CBC corrected of Ann: K=5.0", "CBC final of Ann: Na=140"],
        "mr|B": ["CBC final of Bob: K=3.1"],
    }
    for order in (sent, sent[::-1], (*sent[2:], *sent[:2])):
        await holds(await lab.new_tenant(search_scope=SearchScope.ANY), Case(name, order, found))


@pytest.mark.parametrize("name", NUMBERS)
async def test_an_amended_report_finds_its_observation_again(lab: Service, name: str) -> None:
    for minute, value in ((1, "6.9"), (2, "5.0")):
        result = obs("obs1", "Patient/1", "K", value, *NUMBERS[name])
        status = "final" if minute == 1 else "amended"
        answer = await send(lab, told(minute, "F1", result, results=["Observation/obs1"], status=status))
        assert answer.status == 200
    [stored] = await all_of(lab, "Observation?_count=9")
    assert stored["valueString"] == "5.0"
    history = await lab.get(f"Observation/{stored['id']}/_history")
    assert history.body["total"] == 2


async def test_two_results_with_one_number_in_a_report_stay_two(lab: Service) -> None:
    shared = number("accession", "X1")

    def one(minute: int, potassium: str, status: str) -> Json:
        sodium = obs("na", "Patient/1", "Na", "140", shared)
        other = obs("k", "Patient/1", "K", potassium, shared)
        led = ["Observation/na", "Observation/k"]
        return told(minute, "F1", sodium, other, results=led, status=status)

    sent = (one(1, "4.1", "final"), one(2, "5.9", "corrected"))
    await holds_in_any_order(lab, Case("two", sent, {"mr|A": ["CBC corrected of Ann: K=5.9, Na=140"]}))


@pytest.mark.parametrize("shared", [True, False], ids=["accession", "own"])
async def test_an_observation_alone_of_the_same_patient_and_code_is_the_same(
    lab: Service, shared: bool
) -> None:
    numbers = [number("x", "A4"), number("x", "A4" if shared else "A5")]
    both = told(
        1,
        "F1",
        obs("na", "Patient/1", "Na", "140", numbers[0]),
        obs("k", "Patient/1", "K", "4.1", numbers[1]),
        results=["Observation/na", "Observation/k"],
    )
    lonely = {
        "same": (ANN, "K", "5.9", numbers[1]),
        "another patient": (BOB, "K", "7.7", numbers[1]),
        "another code": (ANN, "Cl", "99", numbers[1]),
    }
    assert (await send(lab, both)).status == 200
    for minute, (patient, code, value, own) in enumerate(lonely.values(), start=2):
        alone = msg(patient, obs("k", "Patient/1", code, value, own), minute=minute)
        assert (await send(lab, alone)).status == 200
    assert await lines(lab, "mr|A") == ["CBC final of Ann: K=5.9, Na=140"]
    assert len(await all_of(lab, "Observation?_count=9")) == 4


async def test_one_observation_in_two_reports_with_one_content_or_with_two(lab: Service) -> None:
    def one(minute: int, filler: str, code: str, value: str) -> Json:
        result = obs("k", "Patient/1", "K", value, number("results", "R1"))
        return told(minute, filler, result, results=["Observation/k"], code=code)

    same = (one(1, "F1", "CBC", "4"), one(2, "F2", "CMP", "4"))
    await holds_in_any_order(
        lab, Case("one", same, {"mr|A": ["CBC final of Ann: K=4", "CMP final of Ann: K=4"]})
    )
    other = (one(1, "F1", "CBC", "4"), one(2, "F2", "CMP", "5"))
    await holds_in_any_order(
        lab, Case("two", other, {"mr|A": ["CBC final of Ann: K=4", "CMP final of Ann: K=5"]})
    )


async def test_an_observation_of_two_reports_is_changed_by_none_of_them_alone(lab: Service) -> None:
    def one(minute: int, value: str, *reports: str) -> Json:
        result = obs("k", "Patient/1", "K", value, number("results", "RES-20261"))
        made = [rep(r, "Patient/1", fill(r), code=r, results=["Observation/k"]) for r in reports]
        return msg(ANN, *made, result, minute=minute)

    sent = (one(1, "5", "CBC", "CMP"), one(2, "6", "CBC"))
    await holds_in_any_order(
        lab, Case("alone", sent, {"mr|A": ["CBC final of Ann: K=6", "CMP final of Ann: K=5"]})
    )


async def test_members_of_a_panel_stay_with_it(lab: Service) -> None:
    def one(minute: int, filler: str, patient: Json, value: str) -> Json:
        member = obs("obs2", "Patient/1", "K", value)
        panel = obs("obs1", "Patient/1", "BMP", "panel", hasMember=[refers("Observation/obs2")])
        return told(minute, filler, member, panel, patient=patient, results=["Observation/obs1"])

    sent = (one(1, "F1", ANN, "4"), one(2, "F2", BOB, "5"))
    found = {"mr|A": ["CBC final of Ann: BMP=panel[K=4]"], "mr|B": ["CBC final of Bob: BMP=panel[K=5]"]}
    await holds_in_any_order(lab, Case("members", sent, found))


def practitioner(name: str, *numbers: Json) -> Json:
    numbered = {"identifier": list(numbers)} if numbers else {}
    return {"resourceType": "Practitioner", "id": "1", **numbered, "name": [{"text": name}]}


def specimen(name: str, *numbers: Json) -> Json:
    numbered = {"identifier": list(numbers)} if numbers else {}
    about = {"subject": refers("Patient/1"), "type": {"text": name}}
    return {"resourceType": "Specimen", "id": "1", **numbered, **about}


def media(name: str, *numbers: Json) -> Json:
    numbered = {"identifier": list(numbers)} if numbers else {}
    about = {"subject": refers("Patient/1"), "status": "completed", "content": {"title": name}}
    return {"resourceType": "Media", "id": "1", **numbered, **about}


def order(name: str, *numbers: Json) -> Json:
    numbered = {"identifier": list(numbers)} if numbers else {}
    about = {"status": "active", "intent": "order", "subject": refers("Patient/1"), "code": {"text": name}}
    return {"resourceType": "ServiceRequest", "id": "1", **numbered, **about}


def visit(name: str, *numbers: Json) -> Json:
    numbered = {"identifier": list(numbers)} if numbers else {}
    about = {"status": "finished", "class": {"code": "AMB"}, "subject": refers("Patient/1")}
    return {"resourceType": "Encounter", "id": "1", **numbered, **about, "type": [{"text": name}]}


def nobodys(make: Callable[..., Json], name: str, *numbers: Json) -> Json:
    """A companion that does not say whom it is about."""
    return {key: value for key, value in make(name, *numbers).items() if key != "subject"}


def organization(name: str) -> Json:
    return {"resourceType": "Organization", "id": "1", "name": name}


COMPANIONS: Final[dict[str, tuple[Callable[..., Json], str, tuple[Json, ...]]]] = {
    "practitioner": (practitioner, "resultsInterpreter", ()),
    "practitioner with a placeholder": (practitioner, "resultsInterpreter", (number("npi", "0", "NPI"),)),
    "organization": (organization, "performer", ()),
    "specimen": (specimen, "specimen", ()),
    "specimen with a shared number": (specimen, "specimen", (number("accession", "X1"),)),
    "media": (media, "media", ()),
    "media with a shared number": (media, "media", (number("accession", "X1"),)),
    "order": (order, "basedOn", ()),
    "encounter": (visit, "encounter", ()),
    "nobody's encounter": (partial(nobodys, visit), "encounter", (number("visits", "1", "VN"),)),
    "nobody's order": (partial(nobodys, order), "basedOn", (number("orders", "1", "PLAC"),)),
    "nobody's specimen": (partial(nobodys, specimen), "specimen", (number("lines", "1"),)),
}


@pytest.mark.parametrize("name", COMPANIONS)
async def test_a_local_id_used_again_for_another_companion_changes_no_other_report(
    lab: Service, name: str
) -> None:
    make, element, numbers = COMPANIONS[name]

    def one(minute: int, filler: str, patient: Json, text: str) -> Json:
        companion = make(text, *numbers)
        pointer = refers(f"{companion['resourceType']}/1")
        wrapped = {"media": [{"link": pointer}], "encounter": pointer}.get(element, [pointer])
        return told(minute, filler, companion, patient=patient, **{element: wrapped})

    sent = (one(1, "F1", ANN, "first"), one(2, "F2", BOB, "second"), one(3, "F3", ANN, "third"))
    found = {
        "mr|A": ["CBC final of Ann + first", "CBC final of Ann + third"],
        "mr|B": ["CBC final of Bob + second"],
    }
    await holds_in_any_order(lab, Case(name, sent, found))


async def test_a_device_without_a_number_stays_with_its_result(lab: Service) -> None:
    def one(minute: int, filler: str, name: str) -> Json:
        device = {"resourceType": "Device", "id": "1", "deviceName": [{"name": name, "type": "other"}]}
        result = obs("obs1", "Patient/1", "K", "4", device=refers("Device/1"))
        return told(minute, filler, result, device, results=["Observation/obs1"])

    sent = (one(1, "F1", "meter"), one(2, "F2", "analyser"))
    found = {"mr|A": ["CBC final of Ann: K=4 on analyser", "CBC final of Ann: K=4 on meter"]}
    await holds_in_any_order(lab, Case("device", sent, found))


async def test_a_practitioner_with_a_number_is_one(lab: Service) -> None:
    npi = number("npi", "1234567893", "NPI")
    sent = [
        told(n, f"F{n}", practitioner(name, npi), resultsInterpreter=[refers("Practitioner/1")])
        for n, name in enumerate(("Reed", "Reed-Stone"), start=1)
    ]
    await holds(lab, Case("numbered", sent, {"mr|A": ["CBC final of Ann + Reed-Stone"] * 2}))
    assert len(await all_of(lab, "Practitioner?_count=9")) == 1


async def test_two_people_under_the_number_of_a_practice_are_two(lab: Service) -> None:
    npi = number("npi", "1234567893", "NPI")
    sent = [
        told(n, f"F{n}", practitioner(name, npi), resultsInterpreter=[refers("Practitioner/1")])
        for n, name in enumerate(("Kim Reed", "Ada Lake", "Kim Reed-Stone"), start=1)
    ]
    found = ["CBC final of Ann + Ada Lake", *["CBC final of Ann + Kim Reed-Stone"] * 2]
    await holds_in_any_order(lab, Case("practice", tuple(sent), {"mr|A": found}))


@pytest.mark.parametrize("names", [("Dr. Reed", "Dr. Lake"), ("A Reed", "A Lake"), ("Reed, MD", "Lake, MD")])
async def test_titles_and_initials_are_no_names_in_common(lab: Service, names: tuple[str, str]) -> None:
    npi = number("npi", "1234567893", "NPI")
    sent = [
        told(n, f"F{n}", practitioner(name, npi), resultsInterpreter=[refers("Practitioner/1")])
        for n, name in enumerate(names, start=1)
    ]
    found = sorted(f"CBC final of Ann + {name}" for name in names)
    await holds_in_any_order(lab, Case("titles", tuple(sent), {"mr|A": found}))


async def test_a_practitioner_without_a_name_takes_none_away(lab: Service) -> None:
    npi = number("npi", "1234567893", "NPI")
    nameless = {name: value for name, value in practitioner("Reed", npi).items() if name != "name"}

    async def one_of_each(tenant: Service, order: Sequence[Json]) -> None:
        for n, one in enumerate(order):
            sent = told(n, f"F{n}", one, resultsInterpreter=[refers("Practitioner/1")])
            assert (await send(tenant, sent)).status == 200
        found = await all_of(tenant, "Practitioner?_count=9")
        assert sorted("name" in one for one in found) == [False, True]

    await in_any_order(
        lab, (practitioner("Reed", npi), nameless, practitioner("Reed", npi), nameless), one_of_each
    )


async def test_equal_practitioners_without_a_number_are_one(lab: Service) -> None:
    sent = [
        told(n, f"F{n}", practitioner("Reed"), resultsInterpreter=[refers("Practitioner/1")]) for n in (1, 2)
    ]
    await holds(lab, Case("equal", sent, {"mr|A": ["CBC final of Ann + Reed"] * 2}))
    assert len(await all_of(lab, "Practitioner?_count=9")) == 1


def annotated_order(name: str, *numbers: Json) -> Json:
    return {**order("CBC", *numbers), "note": [{"text": name}]}


TWICE: Final = {
    "practitioner": (practitioner, "resultsInterpreter", "NPI"),
    "order": (annotated_order, "basedOn", "PLAC"),
    "visit": (visit, "encounter", "VN"),
}


@pytest.mark.parametrize("name", TWICE)
async def test_two_of_a_message_that_share_a_number_and_say_different_things_are_two(
    lab: Service, name: str
) -> None:
    make, element, kind = TWICE[name]

    def one(minute: int, texts: dict[str, str], *, status: str = "final") -> Json:
        led, companions = [], []
        for which, text in texts.items():
            companion = {**make(text, number("x", "N1", kind)), "id": which}
            pointer = refers(f"{companion['resourceType']}/{which}")
            leads: Json = {element: pointer if element == "encounter" else [pointer]}
            led.append(rep(f"r{which}", "Patient/1", fill(f"F{which}"), status=status, **leads))
            companions.append(companion)
        return msg(ANN, *led, *companions, minute=minute)

    async def shown(*sent: Json) -> list[str]:
        tenant = await lab.new_tenant(search_scope=SearchScope.ANY)
        for message in sent:
            assert (await send(tenant, message)).status == 200
        reports = await all_of(tenant, "DiagnosticReport?_count=9&_sort=identifier")
        found = []
        for report in reports:
            [pointer] = report[element] if isinstance(report[element], list) else [report[element]]
            companion = (await tenant.get(pointer["reference"])).body
            found.append(
                next(text for text in ("first", "second", "mended", "alone") if text in str(companion))
            )
        return found

    both, turned = one(1, {"1": "first", "2": "second"}), one(1, {"2": "second", "1": "first"})
    for message in (both, turned):
        assert await shown(message) == ["first", "second"]
    assert await shown(both, turned) == ["first", "second"]
    mended = one(2, {"1": "mended", "2": "second"}, status="corrected")
    assert await shown(both, mended) == ["mended", "second"] == await shown(mended, both)
    alone = one(3, {"1": "alone"}, status="corrected")
    for sent in permutations((both, alone)):
        assert await shown(*sent) == ["alone", "second"]
