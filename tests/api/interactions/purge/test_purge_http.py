"""Erasure of one patient: nothing of them is left anywhere, nothing comes back, nothing else is missing."""

from __future__ import annotations

import os
import time

from ingest.pipeline.prepare import prepare
from tests.api.interactions.purge.purged import (
    ANNAS,
    ANNAS_DOCUMENT,
    ANNAS_URN,
    BERT,
    BERTS,
    BERTS_URN,
    DUMMY,
    SHARED_TEXT,
    TEXTS,
    World,
    anna,
    annas_message,
    document,
    entered,
    faulty_message,
    filled,
    message_with_a_faulty_companion,
    observation,
    verified,
)
from tests.support.fhir import MRN, Json, batch, identified, message, patient, refers, report, resource

CROWD = int(os.environ.get("ERASURE_PATIENTS", "200"))


REPLAYS: dict[str, tuple[str, str, Json]] = {
    "the message": ("POST", "$process-message", annas_message()),
    "the message without its patient": (
        "POST",
        "$process-message",
        message(*(entry["resource"] for entry in annas_message()["entry"][2:])),
    ),
    "the message with a faulty companion": (
        "POST",
        "$process-message",
        message_with_a_faulty_companion(),
    ),
    "a message that is refused": ("POST", "$process-message", faulty_message()),
    "a report under its id": ("PUT", "DiagnosticReport/ra", ANNAS[4]),
    "a report as a new one": ("POST", "DiagnosticReport", ANNAS[4]),
    "a companion under its id": ("PUT", "Observation/free", ANNAS[2]),
    "the patient": ("PUT", "Patient/anna", anna()),
    "the patient as a new one": ("POST", "Patient", anna()),
    "what tells of the report": ("PUT", "Provenance/pa", ANNAS[10]),
    "what no index covers": ("PUT", "Coverage/ca", ANNAS[12]),
    "a document under its id": ("PUT", "Bundle/ba", ANNAS_DOCUMENT),
    "a document as a new one": ("POST", "Bundle", ANNAS_DOCUMENT),
    "a batch": ("POST", "", batch(("PUT", "DiagnosticReport/ra", ANNAS[4]), ("POST", "Patient", anna()))),
    "a transaction": (
        "POST",
        "",
        {**batch(("PUT", "DiagnosticReport/ra", ANNAS[4]), ("PUT", "Patient/anna", anna())),
         "type": "transaction"},
    ),
}  # fmt: skip


async def test_nothing_is_left_and_nothing_else_is_missing(world: World) -> None:
    await filled(world)
    before = await world.documents()
    there = await world.left()
    assert {text for text, _ in there} == set(TEXTS)
    assert {name for _, name in there} >= {"resources", "history", "dead_letters", "attachments.chunks"}
    erased = await world.erase()
    assert await world.left() == set()
    assert erased.receipt.kind.value == "erasure"
    assert not erased.receipt.skipped
    after = await world.documents()
    others = {name: before[name] for name in before if _is_anothers(name)}
    assert after == others
    assert await verified(world) == erased.receipt.number
    shared = (await world.service.get("DiagnosticReport/rb")).body["presentedForm"][0]["url"]
    assert (await world.service.get(shared)).text == SHARED_TEXT


def _is_anothers(name: str) -> bool:
    """The message's head keeps only who sent it: it names no report and no patient."""
    names = {f"{one['resourceType']}/{one['id']}" for one in BERTS}
    own = "/".join(name.split("/")[2:4])
    return own in names or (own.startswith("MessageHeader/") and own != "MessageHeader/ma")


def crowd(number: int) -> list[Json]:
    """Somebody else, who shares a dummy identifier, an encounter, a specimen and a doctor with everybody."""
    who = f"crowd-{number}"
    known = [identified(MRN, f"CROWD-{number}"), DUMMY]
    name = [{"family": f"Family{number}", "given": ["Bert"]}]
    return [
        patient(who, *known, name=name, birthDate="1970-02-03"),
        observation(f"o{number}", subject=refers(f"Patient/{who}"), specimen=refers("Specimen/shared")),
        report(
            f"r{number}",
            who,
            result=[refers(f"Observation/o{number}")],
            encounter=refers("Encounter/shared"),
            performer=[refers("Practitioner/d")],
        ),
        resource(
            "MessageHeader",
            f"m{number}",
            eventUri="urn:x",
            source={"endpoint": "urn:x"},
            focus=[refers(f"DiagnosticReport/r{number}")],
        ),
    ]


async def test_one_of_many(world: World) -> None:
    """`make erasure` has 100,000 of them, and prints how long it took."""
    tenant = world.service.tenant
    for start in range(0, CROWD, 250):
        people = [one for number in range(start, min(start + 250, CROWD)) for one in crowd(number)]
        ready = [prepare(one, one["id"], base=world.service.base).prepared for one in people]
        await world.service.resources.put_many(tenant, ready)
    again = [report(f"r{number}", f"crowd-{number}", conclusion="amended") for number in range(0, CROWD, 10)]
    await world.service.load(*again[:50])
    await filled(world)
    there = await world.left()
    assert {text for text, _ in there} == set(TEXTS)
    before = await world.documents() if CROWD < 10_000 else {}
    counts = {name: await world.database[name].count_documents({}) for name in ("resources", "history")}
    began = time.perf_counter()
    erased = await world.erase()
    seconds = time.perf_counter() - began
    print(  # noqa: T201 -- what `make erasure` is for
        f"\n{CROWD:,} patients: {erased.receipt.deleted} documents erased in {seconds:.1f} s"
    )
    assert await world.left() == set()
    gone = sum(one.count for one in erased.receipt.rows if one.row.type and one.row.reason != "dead-letter")
    left = {name: await world.database[name].count_documents({}) for name in counts}
    assert sum(counts.values()) - sum(left.values()) == gone
    after = await world.documents() if CROWD < 10_000 else {}
    assert all(before[name] == after[name] for name in after)
    assert await verified(world) == erased.receipt.number
    for method, path, body in REPLAYS.values():
        await world.service.request(method, path, body)
    assert await world.left() == set()
    assert {name: await world.database[name].count_documents({}) for name in counts} == left


async def test_nothing_comes_back(world: World) -> None:
    await filled(world)
    await world.erase()
    after = await world.documents()
    for name, (method, path, body) in REPLAYS.items():
        answer = await world.service.request(method, path, body)
        if path:
            assert answer.status in (410, 404, 422, 400), (name, answer.text)
        assert await world.left() == set(), name
    assert (await world.documents()) == after
    assert await world.database["dead_letters"].count_documents({}) == 0
    again = await world.erase()
    assert again.again
    assert again.receipt.deleted == 0


async def test_others_go_on(world: World) -> None:
    await filled(world)
    await world.erase()
    # The list still names a report that was erased: its sender has to leave that out.
    for one in [*BERTS[:-1], report("new", "bert", result=[refers("Observation/oa")])]:
        assert (await world.service.put(one)).status in (200, 201), one
    bundle = message(patient("src-1", BERT, DUMMY), report("src-r", "src-1"))
    assert (await world.service.request("POST", "$process-message", bundle)).status == 200


async def test_a_bundle_about_two_patients_stays_and_is_told(world: World) -> None:
    both = document("both", entered(ANNAS_URN, anna()), entered(BERTS_URN, patient("bert", BERT)))
    refer = document("refer", entered(ANNAS_URN, anna()), {"resource": report("rx", "bert")})
    await world.service.load(*BERTS, anna(), both, refer)
    erased = await world.erase()
    assert erased.shared == 2
    assert (await world.service.get("Bundle/both")).status == 200
    assert (await world.service.get("Bundle/refer")).status == 200
    assert (await world.service.get("Patient/anna")).status in (404, 410)
    assert (await world.service.put({**both, "id": "again"})).status == 410, "she comes back with others"


async def test_numbers_that_look_like_a_number_and_a_code_are_two_patients(world: World) -> None:
    """The entry of patient `7` and code `8` is not that of patient `7&code=8`, in the history, too."""
    for value in ("7", "7&code=8"):
        who = {"identifier": identified(MRN, value)}
        for text in ("first", "second"):  # Of either a version goes to the history.
            told = report(f"of-{len(value)}", None, subject=who, code={"coding": [{"code": "8"}]})
            await world.service.load({**told, "conclusion": text})
    search = world.service.search
    assert (await search([("patient.identifier", f"{MRN}|7"), ("code", "8")])).ids == ["of-1"]
    assert (await search([("patient.identifier", f"{MRN}|7&code=8")])).ids == ["of-8"]
    await world.erase(f"{MRN}|7&code=8")
    left = await world.documents()
    assert len(left) == 2
    assert all("/of-1" in one for one in left)
