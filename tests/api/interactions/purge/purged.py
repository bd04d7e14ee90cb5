"""Anna, who is erased, Bert, who is not, and all that is stored of both."""

from __future__ import annotations

import base64
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from api.http.app_keys import PRIVACY
from store.retention.erasure import Demand, Erased
from store.retention.subjects import read_subject
from tests.support import raw_scan
from tests.support.fhir import MRN, Json, batch, identified, message, patient, refers, report, resource
from tests.support.runs import leases_of, runs_of
from tests.support.service import Service, opened_service

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
async def opened_world(mongodb: str, database: Database, **changed: Any) -> AsyncIterator[World]:
    async with opened_service(mongodb, mongodb_database=database.name, **changed) as service:
        yield World(await service.with_token(scopes=["system/*.cruds", "dod/purge"]), database)


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


async def verified(world: World) -> int:
    """The number of the newest receipt of a chain that holds."""
    clock = world.service.clock
    runs = runs_of(world.database, leases_of(world.database), clock)
    link, wrong = await runs.verify()
    assert wrong is None
    return link.number
