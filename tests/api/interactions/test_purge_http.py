"""Erasure of one patient: nothing of them is left anywhere, nothing comes back, nothing else is missing."""

from __future__ import annotations

import base64
import json
import os
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import pytest

from api.http.app_keys import PRIVACY, PURGES
from ingest.pipeline.prepare import prepare
from store.audit.records import AuditQuery, Deed
from store.errors import Category, ServiceError
from store.mongo.driver.client import connect
from store.mongo.erasure import batches as erasure_run
from store.mongo.retention.lease import Leases
from store.mongo.retention.runs import Runs
from store.retention.erasure import Demand, Erased
from store.retention.holds import Hold, HoldKind
from store.retention.subjects import read_subject
from store.settings import StoreSettings
from tests.support import raw_scan
from tests.support.fhir import MRN, Json, batch, identified, message, patient, refers, report, resource
from tests.support.runs import leases_of, runs_of
from tests.support.service import Answer, Service, opened_service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from store.mongo.driver.client import Database
    from store.stores import Privacy

DUMMY = identified("urn:example:dummy", "000000")
ANNA = identified(MRN, "ANNA-4711")
ANNA_TOO = identified("urn:example:insurance", "A980011")
BERT = identified(MRN, "BERT-0815")
SHARED_TEXT = "A leaflet for everybody. " * 3_000
ANNAS_PDF = "Findings of Annegret, at length. " * 3_000
TEXTS = (
    "ANNA-4711",
    "A980011",
    "Annegret",
    "Müßig-Überall",
    "sonographically unremarkable",
    "first impression, superseded",
    "what her insurance says",
    "free hanging finding",
    "Findings of Annegret",
    "told in a provenance",
    "SPECIMEN-77",
)
CROWD = int(os.environ.get("ERASURE_PATIENTS", "200"))
REASON = "asked for by letter of 3 May"


class World(NamedTuple):
    service: Service
    database: Database

    @property
    def privacy(self) -> Privacy:
        app = self.service.client.app
        assert app is not None
        return app[PRIVACY]

    async def left(self, texts: Sequence[str] = TEXTS) -> set[tuple[str, str]]:
        return await raw_scan.found(self.database, texts)

    async def erase(self, text: str = f"{MRN}|ANNA-4711", **more: Any) -> Erased:
        demand = Demand(self.service.tenant, read_subject(text), REASON, "tests", **more)
        return await self.privacy.erasing.erase(demand)

    async def documents(self) -> dict[str, Any]:
        """All of the resources, past ones too, by `_id`."""
        return {
            one["_id"]: one
            for name in ("resources", "history")
            for one in await self.database[name].find({}).to_list(None)
        }


@asynccontextmanager
async def opened_world(mongodb: str, **settings: Any) -> AsyncIterator[World]:
    name = f"dod_purge_{uuid4().hex[:12]}"
    async with opened_service(mongodb, mongodb_database=name, **settings) as service:
        client = connect(mongodb, StoreSettings())
        admin = await service.with_token(scopes=["system/*.cruds", "dod/purge"])
        yield World(admin, client[name])
        await client.drop_database(name)
        client.close()


@pytest.fixture
async def world(mongodb: str) -> AsyncIterator[World]:
    async with opened_world(mongodb) as opened:
        yield opened


def pdf(text: str) -> Json:
    return {"contentType": "application/pdf", "data": base64.b64encode(text.encode()).decode()}


def anna(id: str = "anna") -> Json:
    name = [{"family": "Müßig-Überall", "given": ["Annegret"]}]
    return patient(id, ANNA, ANNA_TOO, DUMMY, name=name, birthDate="1970-02-03")


def observation(id: str, **elements: Any) -> Json:
    return resource("Observation", id, status="final", code={"text": "x"}, **elements)


def document(id: str, *entries: Json) -> Json:
    """A Bundle that is kept whole, whose entries refer to one another."""
    return {"resourceType": "Bundle", "id": id, "type": "document", "entry": list(entries)}


def entered(urn: str, inner: Json) -> Json:
    return {"fullUrl": f"urn:uuid:{urn}", "resource": {n: v for n, v in inner.items() if n != "id"}}


ANNAS_URN = "5e4f0d3a-0000-4000-8000-000000000001"
BERTS_URN = "5e4f0d3a-0000-4000-8000-000000000002"
ANNAS_DOCUMENT = document(
    "ba",
    entered(ANNAS_URN, anna()),
    entered(BERTS_URN, report("x", None, subject=refers(f"urn:uuid:{ANNAS_URN}"),
                              conclusion="sonographically unremarkable")),
)  # fmt: skip
ANNAS = [
    anna(),
    resource("Specimen", "sa", identifier=[identified("urn:example:lab", "SPECIMEN-77")]),
    observation("free", valueString="free hanging finding", specimen=refers("Specimen/sa")),
    observation("oa", subject=refers("Patient/anna"), specimen=refers("Specimen/shared")),
    report(
        "ra",
        "anna",
        conclusion="sonographically unremarkable",
        identifier=[identified("urn:example:acsn", "ACSN-1")],
        result=[refers("Observation/oa"), refers("Observation/free")],
        encounter=refers("Encounter/shared"),
        performer=[refers("Practitioner/d")],
        presentedForm=[pdf(ANNAS_PDF), pdf(SHARED_TEXT)],
    ),
    report("logical", None, subject={"identifier": ANNA, "display": "Annegret Müßig-Überall"}),
    report("by-insurance", None, subject={"identifier": ANNA_TOO}),
    report(
        "unarrived", None, subject={**refers("Patient/never-came"), "identifier": ANNA}, conclusion="Annegret"
    ),
    report("of-unarrived", "never-came", conclusion="Annegret"),
    report("contained", None, subject=refers("#p"), contained=[patient("p", ANNA)]),
    resource(
        "Provenance",
        "pa",
        target=[refers("DiagnosticReport/ra")],
        recorded="2026-01-01T00:00:00Z",
        agent=[{"who": {"display": "told in a provenance"}}],
    ),
    resource("MessageHeader", "ma", focus=[refers("DiagnosticReport/ra")], source={"endpoint": "urn:x"},
             eventUri="urn:x"),
    resource("Coverage", "ca", beneficiary=refers("Patient/anna"), subscriberId="what her insurance says",
             status="active", payor=[refers("Organization/o")]),
    ANNAS_DOCUMENT,
]  # fmt: skip
BERTS = [
    patient("bert", BERT, DUMMY, name=[{"family": "Überall", "given": ["Bert"]}]),
    resource("Practitioner", "d", name=[{"family": "Doctor"}]),
    resource("Organization", "o", name="Laboratory"),
    resource("Specimen", "shared"),
    resource("Encounter", "shared", status="finished", **{"class": {"code": "AMB"}}),
    observation("ob", subject=refers("Patient/bert"), specimen=refers("Specimen/shared")),
    report(
        "rb",
        "bert",
        conclusion="unremarkable",
        result=[refers("Observation/ob")],
        encounter=refers("Encounter/shared"),
        performer=[refers("Practitioner/d")],
        presentedForm=[pdf(SHARED_TEXT)],
    ),
    report("dummy", None, subject={"identifier": DUMMY}),
    resource("List", "both", status="current", mode="working",
             entry=[{"item": refers("DiagnosticReport/ra")}, {"item": refers("DiagnosticReport/rb")}]),
]  # fmt: skip


def annas_message() -> Json:
    return message(
        anna("src-1"),
        observation("src-o", subject=refers("Patient/src-1"), valueString="free hanging finding"),
        report(
            "src-r",
            "src-1",
            identifier=[identified("urn:example:filler", "F-1")],
            result=[refers("Observation/src-o")],
            conclusion="sonographically unremarkable",
            presentedForm=[pdf(ANNAS_PDF)],
        ),
        resource("Provenance", "src-p", target=[refers("DiagnosticReport/src-r")],
                 recorded="2026-01-01T00:00:00Z", agent=[{"who": {"display": "told in a provenance"}}]),
    )  # fmt: skip


def message_with_a_faulty_companion() -> Json:
    sent = annas_message()
    del sent["entry"][4]["resource"]["agent"]
    sent["entry"][4]["resource"] |= {
        "id": "src-p2",
        "signature": [{"data": "told in a provenance"}],
        "nonsense": 1,
    }
    return sent


def faulty_message() -> Json:
    broken = annas_message()
    del broken["entry"][3]["resource"]["status"]
    return broken


def shuffled_letter() -> Json:
    """A refused resource in which nothing but the full name tells whose it is."""
    return resource("Composition", "x", note="Annegret", title="Müßig-Überall", nonsense=[], status=7)


async def filled(world: World) -> None:
    service = world.service
    first = report("ra", "anna", conclusion="first impression, superseded")
    await service.load(*BERTS[:6], first, *ANNAS, *BERTS[6:])
    gone = observation("gone", subject=refers("Patient/anna"), valueString="free hanging finding")
    await service.load(gone)
    await service.delete("Observation/gone")
    for body in (annas_message(), message_with_a_faulty_companion(), faulty_message()):
        await service.request("POST", "$process-message", body)
    key = {"Idempotency-Key": "key-1"}
    created = report("x", "anna", conclusion="sonographically unremarkable")
    assert (await service.request("POST", "DiagnosticReport", created, headers=key)).status == 201
    escaped = json.dumps(faulty_message(), ensure_ascii=True).replace('"type": "message"', '"type": "mess"')
    assert (await service.request("POST", "$process-message", data=escaped)).status == 422
    entries = batch(("PUT", "DiagnosticReport/ra", ANNAS[4]), ("POST", "Patient", anna()))
    assert (await service.request("POST", "", entries)).status == 200


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


async def verified(world: World) -> int:
    """The number of the newest receipt of a chain that holds."""
    clock = world.service.clock
    runs = runs_of(world.database, leases_of(world.database, clock), clock)
    link, wrong = await runs.verify()
    assert wrong is None
    return link.number


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


def parameter(answer: Answer, name: str) -> Any:
    """The value of one parameter; of a repeated one the parts of each."""
    found = [one for one in answer.body["parameter"] if one["name"] == name]
    if found and "part" in found[0]:
        return {
            tuple(value for part in one["part"][:-1] for key, value in part.items() if key != "name"): one[
                "part"
            ][-1]["valueInteger"]
            for one in found
        }
    return next((value for one in found for key, value in one.items() if key != "name"), None)


async def purge(world: World, id: str = "anna", reason: str | None = REASON, **more: Any) -> Answer:
    said = [] if reason is None else [{"name": "reason", "valueString": reason}]
    body = {"resourceType": "Parameters", "parameter": said}
    return await world.service.request("POST", f"Patient/{id}/$purge", body, **more)


async def test_over_http_it_tells_counts(world: World) -> None:
    await world.service.load(*BERTS, *ANNAS)
    answer = await purge(world)
    assert answer.status == 200
    assert parameter(answer, "state") == "done"
    assert parameter(answer, "deleted") == len(ANNAS) + 1
    assert parameter(answer, "held") == 0
    assert parameter(answer, "deletedOf")[("DiagnosticReport", "erasure")] == 6
    assert parameter(answer, "deletedOf")[("file",)] == 1
    assert await world.left() == set()
    again = await purge(world)
    assert (again.status, parameter(again, "deleted")) == (200, 0)
    assert await verified(world) == parameter(again, "receipt") == 2
    wanted = AuditQuery(world.service.tenant, did=Deed.PATIENT_ERASED)
    [act, *_] = (await world.privacy.audit.find(wanted)).records
    assert act.reason == REASON
    assert act.by.startswith("tests (")


async def test_page_links_from_before_show_nothing_of_it(world: World) -> None:
    await world.service.load(*BERTS, *ANNAS, *(report(f"more{number}", "anna") for number in range(4)))
    first = await world.service.search("patient=anna,bert&_count=2&_sort=_id")
    await world.erase()
    pages = (await world.service.pages(first))[1:]
    assert [one for page in pages for one in page.ids] == ["rb"]


async def test_a_long_one_goes_on_behind_202(world: World) -> None:
    await world.service.load(*BERTS, *ANNAS)
    app = world.service.client.app
    assert app is not None
    app[PURGES]._wait_seconds = 0
    answer = await purge(world)
    assert (answer.status, parameter(answer, "state")) == (202, "running")
    app[PURGES]._wait_seconds = 60
    answer = await purge(world)
    assert (answer.status, parameter(answer, "deleted")) == (200, len(ANNAS) + 1)
    assert await world.left() == set()


@pytest.mark.parametrize(
    ("id", "reason", "scopes", "status"),
    [
        ("anna", REASON, ["system/*.cruds"], 403),
        ("anna", None, ["dod/purge"], 400),
        ("anna", "  ", ["dod/purge"], 400),
        ("anna", "x" * 201, ["dod/purge"], 400),
        ("anna", "she is ANNA-4711", ["dod/purge"], 400),
        ("anna", "annegret müßig-überall asked", ["dod/purge"], 400),
        ("nobody", REASON, ["dod/purge"], 404),
    ],
)
async def test_misuse_deletes_nothing(
    world: World, id: str, reason: str | None, scopes: list[str], status: int
) -> None:
    await world.service.load(*ANNAS)
    before = await world.documents()
    other = World(await world.service.with_token(scopes=scopes), world.database)
    answer = await purge(other, id, reason)
    assert answer.status == status, answer.text
    assert answer.body["resourceType"] == "OperationOutcome"
    assert await world.documents() == before
    assert await world.database["erasures"].count_documents({}) == 0
    assert await world.database["receipts"].count_documents({}) == 0


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("ANNA-4711", Category.INCORRECT),
        ("|ANNA-4711", Category.INCORRECT),
        (f"{MRN}|", Category.INCORRECT),
        ("Patient/", Category.INCORRECT),
        (f"{MRN}|nobody", Category.NOT_FOUND),
        ("urn:other|ANNA-4711", Category.NOT_FOUND),
        ("urn:example:dummy|000000", Category.CONFLICT),
    ],
)
async def test_who_is_not_named_well_is_not_erased(world: World, text: str, category: Category) -> None:
    await world.service.load(*BERTS, *ANNAS)
    before = await world.documents()
    with pytest.raises(ServiceError) as refused:
        await world.erase(text)
    assert refused.value.category is category
    assert await world.documents() == before
    assert await world.database["erasures"].count_documents({}) == 0


async def test_who_is_not_here_may_be_kept_out(world: World) -> None:
    erased = await world.erase(absent=True)
    assert erased.receipt.deleted == 0
    assert (await world.service.put(anna())).status == 410


def hold(world: World, kind: HoldKind, subject: str) -> Hold:
    now = world.service.clock()
    return Hold("h1", world.service.tenant, kind, subject, "litigation", now, "tests")


@pytest.mark.parametrize(
    ("kind", "subject"),
    [
        (HoldKind.PATIENT, f"{MRN}|ANNA-4711"),
        (HoldKind.PATIENT, "Patient/anna"),
        (HoldKind.TENANT, ""),
    ],
)
async def test_who_is_held_stays_and_goes_on(world: World, kind: HoldKind, subject: str) -> None:
    await world.service.load(*BERTS, *ANNAS)
    await world.privacy.holds.add(hold(world, kind, subject))
    before = await world.documents()
    erased = await world.erase()
    assert erased.receipt.deleted == 0
    assert sum(one.count for one in erased.receipt.skipped) == len(ANNAS)
    assert await world.documents() == before
    assert (await world.service.put(report("new", "anna"))).status == 201
    await world.privacy.holds.release("h1", now=world.service.clock(), by="tests", reason="settled")
    assert not (await world.erase()).receipt.skipped
    assert await world.left() == set()


async def test_a_held_report_keeps_what_it_needs(world: World) -> None:
    await world.service.load(*BERTS, *ANNAS)
    before = await world.documents()
    await world.privacy.holds.add(hold(world, HoldKind.RESOURCE, "DiagnosticReport/ra"))
    erased = await world.erase()
    kept = {"/".join(name.split("/")[2:]) for name in await world.documents()}
    annas = {"DiagnosticReport/ra", "Patient/anna", "Observation/oa", "Observation/free", "Specimen/sa"}
    assert kept == annas | {f"{one['resourceType']}/{one['id']}" for one in BERTS}
    assert {(one.row.type, one.count) for one in erased.receipt.skipped} == {
        ("DiagnosticReport", 1),
        ("Patient", 1),
        ("Observation", 2),
        ("Specimen", 1),
    }
    after = await world.documents()
    assert all(after[name] == before[name] for name in after)
    url = (await world.service.get("DiagnosticReport/ra")).body["presentedForm"][0]["url"]
    assert (await world.service.get(url)).text == ANNAS_PDF
    await world.privacy.holds.release("h1", now=world.service.clock(), by="tests", reason="settled")
    assert not (await world.erase()).receipt.skipped
    assert await world.left() == set()


class Killed(BaseException):
    """As a kill is: nothing is tidied up on its way."""


@pytest.mark.parametrize("at", [1, 2, 5, 6, 7, 8, 9, 10, 11, 15, 21, 25])
async def test_killed_between_two_batches_it_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    await filled(world)
    monkeypatch.setattr(erasure_run, "BATCH", 1)
    batches = 0
    whole = Runs.batch

    async def dying(self: Runs, *work: Any) -> Any:
        nonlocal batches
        batches += 1
        if batches == at:
            raise Killed
        return await whole(self, *work)

    async def lost(*_: object, **__: object) -> None:
        """A process that is gone gives nothing back."""

    with monkeypatch.context() as patched:
        patched.setattr(Runs, "batch", dying)
        patched.setattr(Leases, "release", lost)
        with pytest.raises(Killed):
            await world.erase()
    with pytest.raises(ServiceError) as refused:
        await world.erase()
    assert refused.value.category is Category.CONFLICT
    world.service.clock.move(minutes=2)
    erased = await world.erase()
    assert await world.left() == set()
    assert await verified(world) == erased.receipt.number == 1
    assert erased.receipt.takeovers == 1
    assert erased.receipt.deleted == await undisturbed_total(world)


async def undisturbed_total(world: World) -> int:
    """Counts of an erasure that nobody broke off."""
    subject = read_subject(f"{MRN}|ANNA-4711")
    await world.privacy.erasing.lift(world.service.tenant, subject, reason="once more", by="tests")
    await world.database["idempotency"].delete_many({})
    await filled(world)
    return (await world.erase()).receipt.deleted


async def test_lifted_it_comes_again(world: World) -> None:
    await filled(world)
    await world.erase()
    subject = read_subject(f"{MRN}|ANNA-4711")
    await world.privacy.erasing.lift(world.service.tenant, subject, reason="came back", by="tests")
    await world.service.load(*ANNAS)
    with pytest.raises(ServiceError) as refused:
        await world.privacy.erasing.lift(world.service.tenant, subject, reason="came back", by="tests")
    assert refused.value.category is Category.NOT_FOUND


async def test_a_retired_observation_leaves_no_number_behind(world: World) -> None:
    number = identified("urn:example:lab", "RETIRED-4711")
    sent = observation("o-r", identifier=[number], subject=refers("Patient/src"))
    filler = [identified("urn:example:filler", "F-R")]
    told = report("src-r", "src", identifier=filler, result=[refers("Observation/o-r")])
    first = message(patient("src", ANNA), sent, told)
    for minute, body in (
        (1, first),
        (2, message(patient("src", ANNA), report("src-r", "src", identifier=filler))),
    ):
        stamped = {**body, "timestamp": f"2026-11-20T10:{minute:02}:00Z"}
        assert (await world.service.request("POST", "$process-message", stamped)).status == 200
    kept = (
        await world.database["resources"]
        .find({"identity.numbers": {"$elemMatch": {"$elemMatch": {"$eq": "RETIRED-4711"}}}})
        .to_list(None)
    )
    assert [one.get("deleted") for one in kept] == [True]
    await world.erase()
    for name in await world.database.list_collection_names():
        assert "RETIRED-4711" not in str(await world.database[name].find().to_list(None)), name
