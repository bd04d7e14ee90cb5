"""Strings, quantities, URIs, texts beside codes and reverse chains, over HTTP on a real MongoDB."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from store.tenancy import SearchScope
from tests.support.fhir import LOINC, MRN, coded, identified, patient, refers, report, resource

if TYPE_CHECKING:
    from tests.support.service import Service

UCUM = "http://unitsofmeasure.org"


def observation(id: str, of: str, code: str, value: float, **elements: object) -> dict[str, object]:
    quantity = {"value": value, "unit": "mg/dL", "system": UCUM, "code": "mg/dL"}
    return resource(
        "Observation",
        id,
        status="final",
        code=coded(code),
        subject=refers(f"Patient/{of}"),
        valueQuantity=quantity,
        **elements,
    )


async def filled(service: Service) -> Service:
    """Three made-up patients, a report and an observation of each."""
    trusted = await service.new_tenant(search_scope=SearchScope.ANY)
    mueller = {"family": "Müller-Beispiel", "given": ["Anna", "Zoé"]}
    await trusted.load(
        patient(
            "p1", identified(MRN, "1"), name=[mueller], telecom=[{"system": "phone", "value": "555-0100"}]
        ),
        patient("p2", name=[{"text": "Carreño Quiñones"}], address=[{"city": "Nowhere", "state": "XX"}]),
        patient("p3", identifier=[{**identified(MRN, "3"), "type": coded("MR", "urn:kinds")}]),
        report("r1", "p1", result=[refers("Observation/o1")], meta={"source": "urn:lab:a"}),
        report("r2", "p2", code={"text": "Complete Blood Count"}, meta={"profile": ["urn:p|1"]}),
        report("r3", "p3", code={"coding": [{"system": LOINC, "code": "x", "display": "Lipid panel"}]}),
        observation("o1", "p1", "2093-3", 187.0),
        observation("o2", "p2", "2093-3", 5.4),
        resource("Provenance", "v1", target=[refers("DiagnosticReport/r3")], recorded="2026-01-01T00:00:00Z"),
    )
    return trusted


@pytest.mark.parametrize(
    ("path", "ids"),
    [
        ("Patient?name=muller", ["p1"]),
        ("Patient?name=beisp", ["p1"]),
        ("Patient?name=quinones", ["p2"]),
        ("Patient?name=arre", []),
        ("Patient?name:contains=arre", ["p2"]),
        ("Patient?name:contains=$where", []),
        ("Patient?family=MULLER", ["p1"]),
        ("Patient?family:exact=Müller-Beispiel", ["p1"]),
        ("Patient?family:exact=muller-beispiel", []),
        ("Patient?given=zoe,nobody", ["p1"]),
        ("Patient?name:missing=true", ["p3"]),
        ("Patient?phone=555-0100", ["p1"]),
        ("Patient?email=555-0100", []),
        ("Patient?address=nowh", ["p2"]),
        ("Patient?address-city=nowhere&address-state=xx", ["p2"]),
        ("Patient?identifier:of-type=urn:kinds|MR|3", ["p3"]),
        ("Patient?identifier:of-type=urn:kinds|mr|3", ["p3"]),
        ("Patient?identifier:of-type=urn:kinds|MR|1", []),
        ("Observation?value-quantity=gt100", ["o1"]),
        ("Observation?value-quantity=5.4", ["o2"]),
        (f"Observation?value-quantity=lt100|{UCUM}|mg/dL", ["o2"]),
        ("Observation?value-quantity=lt100||g", []),
        ("Observation?combo-value-quantity=ge5.4,lt1", ["o1", "o2"]),
        ("DiagnosticReport?code:text=blood", ["r2"]),
        ("DiagnosticReport?code:text=panel", ["r3"]),
        ("DiagnosticReport?code:text=anel", []),
        ("DiagnosticReport?code:missing=true", []),
        ("DiagnosticReport?_source=urn:lab:a", ["r1"]),
        ("DiagnosticReport?_profile=urn:p|1", ["r2"]),
        ("DiagnosticReport?_profile=urn:p|2", []),
        ("DiagnosticReport?_profile=urn:p", ["r2"]),
        ("DiagnosticReport?patient.name=muller", ["r1"]),
        ("DiagnosticReport?subject:Patient.family:exact=Müller-Beispiel", ["r1"]),
        ("DiagnosticReport?patient.name:contains=eispi", ["r1"]),
        ("DiagnosticReport?result.value-quantity=gt100", ["r1"]),
        ("DiagnosticReport?result.subject:Patient.name=anna", ["r1"]),
        ("DiagnosticReport?_has:Provenance:target:recorded=ge2020", ["r3"]),
        ("DiagnosticReport?_has:Provenance:target:recorded=lt2020", []),
        ("Patient?_has:Observation:patient:code=2093-3", ["p1", "p2"]),
        ("Patient?_has:DiagnosticReport:patient:_has:Provenance:target:recorded=ge2020", ["p3"]),
        ("DiagnosticReport?patient._has:Observation:patient:value-quantity=lt10", ["r2"]),
    ],
)
async def test_finds(service: Service, path: str, ids: list[str]) -> None:
    trusted = await filled(service)
    type, _, query = path.partition("?")
    encoded = quote(query, safe="=&|:,$/")
    got = await trusted.get(f"{type}?{encoded}")
    form = "application/x-www-form-urlencoded"
    posted = await trusted.request("POST", f"{type}/_search", data=encoded, content_type=form)
    for answer in (got, posted):
        assert (answer.status, sorted(answer.ids), answer.body["total"]) == (200, ids, len(ids))


async def test_a_name_does_not_bound_a_search_of_a_tenant_that_wants_the_patient(service: Service) -> None:
    for path in ("Patient?name=anna", "DiagnosticReport?patient.name=anna"):
        answer = await service.get(path)
        assert (answer.status, answer.body["issue"][0]["code"]) == (400, "required")
