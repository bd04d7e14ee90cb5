"""Targets of the references of a message or document, and the effect of a Bundle that comes again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.oracle.identity.hospital import moment
from tests.support.cases import (
    LAB,
    ROOT,
    Case,
    all_of,
    at,
    fill,
    holds,
    in_any_order,
    lines,
    mr,
    msg,
    obs,
    outcomes,
    pat,
    rep,
)
from tests.support.feed import send
from tests.support.fhir import refers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.service import Service

Json = dict[str, Any]
A: Final = "https://a.example/fhir"
B: Final = "https://b.example/fhir"
ANN: Final = pat("1", mr("A"))
BOB: Final = pat("1", mr("B"), name="Bob", born="1960-02-02")
URN: Final = "urn:uuid:5c4b1b0e-0000-4000-8000-000000000001"
OID: Final = "urn:oid:1.2.3.4.5"


def under(url: str, resource: Json) -> Json:
    return {"fullUrl": url, "resource": resource}


def without_id(resource: Json) -> Json:
    return {name: value for name, value in resource.items() if name != "id"}


def report(subject: str, filler: str = "F1", id: str = "r1", **more: Any) -> Json:
    return rep(id, subject, fill(filler), **more)


BOTH: Final = {"mr|A": ["CBC final of Ann"], "mr|B": ["CBC final of Bob"]}
ONE: Final = {"mr|A": ["CBC final of Ann"]}
FOUND: Final = (
    Case(
        "two roots, relative",
        (
            msg(
                *(at(A, ANN), at(B, BOB), at(A, report("Patient/1"))),
                at(B, report("Patient/1", "F2", "r2")),
                minute=1,
            ),
        ),
        BOTH,
        patients=2,
    ),
    Case(
        "two roots, the other order",
        (
            msg(
                *(at(B, report("Patient/1", "F2")), at(A, report("Patient/1"))),
                *(at(B, BOB), at(A, ANN)),
                minute=1,
            ),
        ),
        BOTH,
        patients=2,
    ),
    Case(
        "two roots, absolute",
        (
            msg(
                *(at(A, ANN), at(B, BOB), at(A, report(f"{B}/Patient/1", "F2"))),
                at(B, report(f"{A}/Patient/1")),
                minute=1,
            ),
        ),
        BOTH,
        patients=2,
    ),
    Case(
        "two roots, one within the path of the other",
        (
            msg(
                *(at(A, ANN), at(f"{A}/more", BOB), at(A, report("Patient/1"))),
                at(f"{A}/more", report("Patient/1", "F2", "r2")),
                minute=1,
            ),
        ),
        BOTH,
        patients=2,
    ),
    *(
        Case(f"{name}", (msg(under(url, ANN), under(other, report(url)), minute=1),), ONE, patients=1)
        for name, url, other in (
            ("urn:uuid", URN, URN.replace("1", "2")),
            ("urn:oid", OID, f"{OID}.6"),
            ("absolute", f"{A}/Patient/1", f"{B}/DiagnosticReport/1"),
        )
    ),
    Case("versioned", (msg(at(A, ANN), at(A, report("Patient/1/_history/3")), minute=1),), ONE, patients=1),
    Case(
        "absolute and versioned",
        (msg(at(A, ANN), at(A, report(f"{A}/Patient/1/_history/3")), minute=1),),
        ONE,
        patients=1,
    ),
    Case(
        "no id, RESTful fullUrl",
        (msg(under(f"{A}/Patient/77", without_id(ANN)), at(A, report("Patient/77")), minute=1),),
        ONE,
        patients=1,
    ),
    Case(
        "no id, urn:uuid",
        (msg(under(URN, without_id(ANN)), under(f"{A}/DiagnosticReport/1", report(URN)), minute=1),),
        ONE,
        patients=1,
    ),
    Case(
        "a UUID in capitals",
        (
            msg(
                under(URN.replace("5c4b1b0e", "5C4B1B0E"), without_id(ANN)),
                under(f"{A}/DiagnosticReport/1", report(URN)),
                minute=1,
            ),
        ),
        ONE,
        patients=1,
    ),
    Case(
        "no fullUrl", (msg({"resource": ANN}, {"resource": report("Patient/1")}, minute=1),), ONE, patients=1
    ),
)


@pytest.mark.parametrize("case", FOUND, ids=lambda case: case.name)
async def test_a_reference_leads_where_r4_says(lab: Service, case: Case) -> None:
    await holds(lab, case)


async def test_urns_used_again_in_the_next_message_are_others(lab: Service) -> None:
    """Message-local `urn:uuid:…1`, as converters write them."""
    sent = [
        msg(under(URN, without_id(one)), under(f"{URN[:-1]}2", without_id(report(URN, f"F{n}"))), minute=n)
        for n, one in enumerate((ANN, BOB), start=1)
    ]
    await holds(lab, Case("urns", sent, BOTH, patients=2))


STRANGERS: Final = (
    *("Patient/123", f"{ROOT}/Patient/123", f"{A}/Patient/123", "Patient/123/_history/1", URN),
    # Forms that clients, not R4, take for a reference.
    *(
        "/Patient/123",
        "Patient/123/",
        "./Patient/123",
        "Patient/123#p",
        "patient/123",
        "123",
        "Patient 123",
        "#p",
    ),
)


@pytest.mark.parametrize("reference", STRANGERS)
@pytest.mark.parametrize("strict", [False, True])
async def test_a_report_whose_patient_cannot_be_told_is_a_dead_letter(
    lab: Service, reference: str, strict: bool
) -> None:
    """A target that is not in the message is never taken for a stored resource of ours."""
    await lab.load({**pat("123", mr("OURS")), "name": [{"text": "Somebody else"}]})
    headers = {"prefer": "handling=strict"} if strict else {}
    answer = await send(lab, msg(report(reference), minute=1), **headers)
    assert answer.status == 422
    assert "Dead-Letter" in answer.headers
    assert await lines(lab, "") == []


@pytest.mark.parametrize("reference", ["Practitioner/9", f"{A}/Practitioner/9"])
async def test_a_companion_that_is_not_in_the_message_is_not_ours(lab: Service, reference: str) -> None:
    ours = {"resourceType": "Practitioner", "id": "9", "name": [{"text": "Somebody else"}]}
    await lab.load(ours)
    sent = msg(at(A, ANN), at(A, report("Patient/1", resultsInterpreter=[refers(reference)])), minute=1)
    refused = await send(lab, sent, prefer="handling=strict")
    assert refused.status == 422
    answer = await send(lab, sent)
    assert outcomes(answer)
    [stored] = await all_of(lab, "DiagnosticReport?_count=9")
    [interpreter] = stored["resultsInterpreter"]
    assert interpreter.get("reference") not in ("Practitioner/9", f"{lab.base}/Practitioner/9")


@pytest.mark.parametrize("url", ["Binary/9", "Binary/9/_history/1"])
async def test_a_document_that_is_not_in_the_message_is_not_ours(lab: Service, url: str) -> None:
    await lab.load({"resourceType": "Binary", "id": "9", "contentType": "text/plain", "data": "T2YgQm9i"})
    form = {"contentType": "text/plain", "url": url}
    told = report("Patient/1", presentedForm=[form])
    sent = msg({"resource": ANN}, {"resource": told}, minute=1)
    assert (await send(lab, sent, prefer="handling=strict")).status == 422
    answer = await send(lab, sent)
    assert answer.status == 200, answer.text
    assert "unresolved-reference" in answer.text
    [stored] = await all_of(lab, "DiagnosticReport?_count=9")
    assert stored["presentedForm"] == [{**form, "url": f"urn:dod:unresolved:{url}"}]


async def test_a_contained_patient_stays_within_its_report(lab: Service) -> None:
    for n, inner in enumerate((ANN, BOB), start=1):
        told = report("#p", f"F{n}", contained=[{**inner, "id": "p"}])
        assert (await send(lab, msg(told, minute=n))).status == 200
    for number, name in (("A", "Ann"), ("B", "Bob")):
        answer = await lab.search([("patient.identifier", f"urn:made-up:mr|{number}")])
        [found] = answer.matches
        assert found["resource"]["contained"][0]["name"] == [{"text": name}]


async def test_one_id_with_two_contents_in_a_message_is_refused_with_both_places(lab: Service) -> None:
    one, other = obs("o1", "Patient/1", "K", "4"), obs("o1", "Patient/1", "K", "5")
    answer = await send(lab, msg(ANN, one, other, report("Patient/1"), minute=1))
    assert answer.status == 422
    assert "entry[2]" in answer.text
    assert "entry[3]" in answer.text


async def test_two_versions_of_one_resource_in_a_message_are_refused(lab: Service) -> None:
    versions = [under(f"{A}/Patient/1/_history/{n}", one) for n, one in ((1, ANN), (2, BOB))]
    answer = await send(lab, msg(*versions, at(A, report("Patient/1/_history/2")), minute=1))
    assert answer.status == 422
    assert "entry[1]" in answer.text
    assert "entry[2]" in answer.text


def document(minute: int, *contents: Json, identifier: str | None = None, author: str = "Lab") -> Json:
    composition = {
        "resourceType": "Composition",
        "id": "Composition.1.0.0.0",
        "status": "final",
        "type": {"text": "Laboratory report"},
        "date": moment(minute),
        "author": [{"display": author}],
        "title": "Letter",
    }
    named = {"identifier": {"system": "urn:made-up:documents", "value": identifier}} if identifier else {}
    return {
        "resourceType": "Bundle",
        "type": "document",
        **named,
        "timestamp": moment(minute),
        "entry": [at(ROOT, composition), *(at(ROOT, one) for one in contents)],
    }


def letter(
    minute: int, patient: Json, filler: str | None, value: str, status: str = "final", **more: Any
) -> Json:
    result = obs("Observation.1.0.0.0", "Patient/1", "K", value)
    numbers = (fill(filler),) if filler else ()
    told = rep("r1", "Patient/1", *numbers, results=["Observation/Observation.1.0.0.0"], status=status)
    return document(minute, patient, told, result, **more)


LETTERS: Final = {
    "numbered": (
        letter(1, ANN, "F1", "4", "preliminary", identifier="D1"),
        letter(2, BOB, "F2", "5", identifier="D2"),
        letter(3, ANN, "F1", "6", identifier="D3"),
    ),
    "without numbers, by author": (
        letter(1, ANN, None, "4", "preliminary"),
        letter(2, BOB, None, "5"),
        letter(3, ANN, None, "6"),
    ),
}


@pytest.mark.parametrize("pushed", [True, False])
@pytest.mark.parametrize("name", LETTERS)
async def test_entries_of_a_document_are_as_those_of_a_message(
    lab: Service, load: Any, name: str, pushed: bool
) -> None:
    wanted = {"mr|A": ["CBC final of Ann: K=6"], "mr|B": ["CBC final of Bob: K=5"]}

    async def as_wanted(tenant: Service, order: Sequence[Json]) -> None:
        if pushed:
            assert [(await send(tenant, one)).status for one in order] == [200] * 3
        else:
            await load(tenant, order)
        assert {asked: await lines(tenant, asked) for asked in wanted} == wanted

    await in_any_order(lab, LETTERS[name], as_wanted)


# --- a Bundle sent again without an Idempotency-Key


def bundle(kind: str, text: str) -> Json:
    """An interaction that updates one patient."""
    patient = {"resourceType": "Patient", "id": "rb", "name": [{"text": text}]}
    entry = {"resource": patient, "request": {"method": "PUT", "url": "Patient/rb"}}
    return {"resourceType": "Bundle", "type": kind, "entry": [entry]}


async def name_of(service: Service, path: str) -> str:
    answer = await service.get(path)
    assert answer.status == 200, answer.text
    return str(answer.body["name"][0]["text"])


@pytest.mark.parametrize("kind", ["transaction", "batch"])
async def test_what_was_sent_before_is_done_again_when_it_is_no_longer_so(lab: Service, kind: str) -> None:
    for text in ("v1", "v2", "v1", "v2"):
        answer = await lab.request("POST", "", bundle(kind, text))
        assert answer.status == 200
        assert "Idempotent-Replayed" not in answer.headers
        assert await name_of(lab, "Patient/rb") == text
    again = await lab.request("POST", "", bundle(kind, "v2"))
    assert again.headers.get("Idempotent-Replayed") == "true"
    assert (await lab.delete("Patient/rb")).status == 204
    assert (await lab.request("POST", "", bundle(kind, "v2"))).status == 200
    assert await name_of(lab, "Patient/rb") == "v2"


async def test_a_transaction_that_creates_makes_no_twin(lab: Service) -> None:
    entry = {"resource": {"resourceType": "Patient"}, "request": {"method": "POST", "url": "Patient"}}
    sent = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    first, again = [await lab.request("POST", "", sent) for _ in range(2)]
    assert again.headers.get("Idempotent-Replayed") == "true"
    assert first.body["entry"] == again.body["entry"]
    assert len(await all_of(lab, "Patient?_count=9")) == 1


async def test_with_a_key_the_first_answer_stays(lab: Service) -> None:
    for text, key in (("v1", "one"), ("v2", "two"), ("v1", "one")):
        answer = await lab.request("POST", "", bundle("transaction", text), headers={"Idempotency-Key": key})
    assert answer.headers.get("Idempotent-Replayed") == "true"
    assert await name_of(lab, "Patient/rb") == "v2"


def untimed(conclusion: str) -> Json:
    sent = msg(ANN, report("Patient/1", conclusion=conclusion), minute=1, source=LAB)
    return {name: value for name, value in sent.items() if name != "timestamp"}


async def test_a_message_without_a_time_sent_again_is_done_when_it_is_no_longer_so(lab: Service) -> None:
    for text in ("v1", "v2", "v1"):
        assert (await send(lab, untimed(text))).status == 200
        [stored] = await all_of(lab, "DiagnosticReport?_count=9")
        assert stored["conclusion"] == text
    again = await send(lab, untimed("v1"))
    assert again.headers.get("Idempotent-Replayed") == "true"


@pytest.mark.parametrize("timed", [True, False])
async def test_a_message_sent_again_after_a_deletion_brings_back_what_was_deleted(
    lab: Service, timed: bool
) -> None:
    sent = msg(ANN, report("Patient/1", conclusion="v1"), minute=1) if timed else untimed("v1")
    assert (await send(lab, sent)).status == 200
    [stored] = await all_of(lab, "DiagnosticReport?_count=9")
    assert (await lab.delete(f"DiagnosticReport/{stored['id']}")).status == 204
    assert (await send(lab, sent)).status == 200
    assert await lines(lab, "mr|A") == ["CBC final of Ann"]
