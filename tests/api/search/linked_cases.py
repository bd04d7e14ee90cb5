"""Search cases of what is linked: chains, reverse chains, includes. A chart is searched, a case is a row."""

from __future__ import annotations

from typing import Any, Final

from tests.api.search.value_cases import NPI, PLACERS, UCUM, VISITS, Case, Json
from tests.support.fhir import LOINC, MRN, coded, identified, patient, refers, report, resource

# --- chains: https://hl7.org/fhir/R4/search.html#chaining


def _observation(id: str, code: str, value: float, of: str = "ada", **elements: Any) -> Json:
    quantity = {"value": value, "unit": "mmol/L", "system": UCUM, "code": "mmol/L"}
    return resource(
        "Observation",
        id,
        status="final",
        code=coded(code),
        subject=refers(f"Patient/{of}"),
        valueQuantity=quantity,
        **elements,
    )


CHAINS: Final = (
    resource("Organization", "clinic", name="Beispiel Klinik", identifier=[identified("urn:o", "C1")]),
    resource("Organization", "labor", name="Example Laboratory", partOf=refers("Organization/clinic")),
    resource("Practitioner", "doc", identifier=[identified(NPI, "1999999984")], name=[{"family": "O'Brien"}]),
    resource(
        "PractitionerRole",
        "role",
        practitioner=refers("Practitioner/doc"),
        organization=refers("Organization/clinic"),
    ),
    patient(
        "ada",
        identified(MRN, "10"),
        name=[{"family": "van der Büchner", "given": ["Ada", "Zoë"]}],
        gender="female",
        birthDate="1980-02-29",
        active=True,
        telecom=[{"system": "email", "value": "ada@example.org"}],
        address=[{"city": "Nirgendwo", "postalCode": "99999"}],
        managingOrganization=refers("Organization/clinic"),
        generalPractitioner=[refers("Practitioner/doc")],
    ),
    patient("bob", identified(MRN, "20"), name=[{"text": "Bob Büch"}], gender="male", birthDate="1990"),
    patient("gone", identified(MRN, "30"), name=[{"family": "Gone"}]),
    resource(
        "Encounter",
        "visit",
        status="finished",
        identifier=[identified(VISITS, "V-1")],
        subject=refers("Patient/ada"),
        period={"start": "2021-01-01", "end": "2021-01-03"},
        **{"class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "IMP"}},
    ),
    resource(
        "ServiceRequest",
        "ask",
        status="active",
        intent="order",
        identifier=[identified(PLACERS, "P-1")],
        requisition=identified("urn:groups", "G-1"),
        subject=refers("Patient/ada"),
        requester=refers("PractitionerRole/role"),
    ),
    {
        "resourceType": "Specimen",
        "id": "blood",
        "accessionIdentifier": identified("urn:acc", "S-1"),
        "type": coded("BLD", "urn:specimens"),
        "subject": refers("Patient/ada"),
    },
    resource("Media", "image", status="completed", identifier=[identified("urn:pics", "M-1")], content={}),
    _observation(
        "k", "2823-3", 6.3, identifier=[identified("urn:obs", "K-1")], specimen=refers("Specimen/blood")
    ),
    _observation("na", "2951-2", 140.0, of="bob", performer=[refers("Organization/labor")]),
    resource("Device", "meter", identifier=[identified("urn:devices", "D-1")]),
    resource("Location", "ward", identifier=[identified("urn:places", "L-1")], name="Ward Seven"),
    report(
        "full",
        "ada",
        encounter=refers("Encounter/visit"),
        basedOn=[refers("ServiceRequest/ask")],
        performer=[refers("Organization/labor")],
        resultsInterpreter=[refers("PractitionerRole/role")],
        specimen=[refers("Specimen/blood")],
        result=[refers("Observation/k")],
        media=[{"link": refers("Media/image")}],
    ),
    report("men", "bob", performer=[refers("Practitioner/doc")], result=[refers("Observation/na")]),
    report("lost", "gone"),
    report("void", "nobody", encounter=refers("Encounter/nowhere")),
    report("gear", None, subject=refers("Device/meter")),
    report("room", None, subject=refers("Location/ward")),
    report(
        "box",
        None,
        contained=[
            patient(
                "in", identified(MRN, "40"), name=[{"family": "Innen"}], gender="female", birthDate="2001"
            ),
            resource("Practitioner", "dr", name=[{"family": "Kasten"}], identifier=[identified(NPI, "2")]),
            _observation("o", "718-7", 14.0),
            _observation("q", "4544-3", 40.0, of="bob"),
        ],
        subject=refers("#in"),
        performer=[refers("#dr")],
        result=[refers("#o"), refers("#q")],
    ),
    # What is contained refers to what is contained beside it.
    report(
        "nest",
        None,
        contained=[
            resource("PractitionerRole", "r", practitioner=refers("#d"), organization=refers("#l")),
            resource("Practitioner", "d", name=[{"family": "Nestor"}], identifier=[identified(NPI, "3")]),
            resource("Organization", "l", name="Nest Lab", partOf=refers("Organization/clinic")),
            _observation("o", "777-3", 5.0, of="nobody", specimen=refers("#s")),
            resource("Specimen", "s", accessionIdentifier=identified("urn:acc", "S-9"), subject=refers("#r")),
        ],
        resultsInterpreter=[refers("#r")],
        result=[refers("#o")],
    ),
    # A chain of the same ids in another resource leads elsewhere.
    report(
        "twin",
        None,
        contained=[
            resource("PractitionerRole", "r", practitioner=refers("#d")),
            resource("Practitioner", "d", name=[{"family": "Zwilling"}]),
        ],
        resultsInterpreter=[refers("#r")],
    ),
)
CHAIN_CASES: Final = (
    Case(f"patient.identifier={MRN}|10", "full"),
    Case(f"patient.identifier={MRN}|", "full men box"),
    Case(f"subject.identifier={MRN}|20,{MRN}|40", "men box"),
    Case("patient.identifier=30", ""),
    Case("subject:Device.identifier=urn:devices|D-1", "gear"),
    Case("subject.identifier=L-1", "room"),
    Case("subject:Location.name=ward", "room"),
    Case("patient.name=buchner", "full"),
    Case("patient.name=BÜCH", "full men"),
    Case("patient.name=der", "full"),
    Case("patient.name=chner", ""),
    Case("patient.name:contains=chner", "full"),
    Case("patient.name:exact=Bob Büch", "men"),
    Case("patient.name:exact=bob büch", ""),
    Case("patient.name=gone", ""),
    Case("patient.name=zoe,bob", "full men"),
    Case("patient.family=van der", "full"),
    Case("patient.given=ad", "full"),
    Case("patient.given:exact=Zoë", "full"),
    Case("patient.email=ada@example.org", "full"),
    Case("patient.address=nirgend", "full"),
    Case("patient.address-postalcode=999", "full"),
    Case("patient.gender=female", "full box"),
    Case("patient.gender:not=female", "men"),
    Case("patient.gender:missing=true", ""),
    Case("patient.active=true", "full"),
    Case("patient.birthdate=1980-02", "full"),
    Case("patient.birthdate=ge1985", "men box"),
    Case("patient.birthdate=lt1980-03", "full"),
    Case("patient.birthdate=1980-02-30", 400),
    Case("patient._id=bob", "men"),
    Case("patient._id=ada,bob", "full men"),
    Case("patient.organization=Organization/clinic", "full"),
    Case("patient.organization.name=beispiel", "full"),
    Case("subject:Patient.organization:Organization.identifier=urn:o|C1", "full"),
    Case("patient.general-practitioner.identifier=1999999984", "full"),
    Case("patient.general-practitioner:Practitioner.name=obrien", "full"),
    Case("encounter.identifier=V-1", "full"),
    Case(f"context.identifier={VISITS}|V-1", "full"),
    Case("encounter.class=imp", "full"),
    Case("encounter.status=finished", "full"),
    Case("encounter.date=2021-01", "full"),
    Case("encounter.date=sa2021-01-03", ""),
    Case("encounter.patient=ada", "full"),
    Case("encounter.patient.name=ada", "full"),
    Case("encounter.subject:Patient.identifier=10", "full"),
    Case("based-on.identifier=P-1", "full"),
    Case("based-on:ServiceRequest.requisition=urn:groups|G-1", "full"),
    Case("based-on.requester.practitioner.identifier=1999999984", "full"),
    Case("order=P-1", "full"),
    # With a modifier or a chain `order` is `based-on`.
    Case("order:missing=false", "full"),
    Case("order.identifier=P-1", "full"),
    Case("order:ServiceRequest=ask", "full"),
    Case("order:ServiceRequest.requisition=urn:groups|G-1", "full"),
    Case("specimen.accession=urn:acc|S-1", "full"),
    Case("specimen.type=BLD", "full"),
    Case("specimen.patient.identifier=10", "full"),
    Case("result.code=2823-3,2951-2", "full men"),
    Case(f"result.code={LOINC}|2823-3&result.code=2951-2", ""),
    Case("result.identifier=K-1", "full"),
    Case(f"result.value-quantity=gt6.0|{UCUM}|mmol/L", "full men box"),
    Case("result.value-quantity=6.3", "full"),
    Case("result.value-quantity=lt5", ""),
    Case("result.specimen.accession=S-1", "full"),
    Case("result.performer:Organization.name=example", "men"),
    Case("result.performer:Organization.partof.name=beispiel", "men"),
    Case("performer.name=example", "full"),
    Case("performer:Practitioner.name=o'brien", "men"),
    Case("performer.identifier=1999999984", "men"),
    Case("performer:Organization.partof.identifier=C1", "full"),
    Case("performer.name=example&performer.identifier=1999999984", ""),
    Case("results-interpreter:PractitionerRole.practitioner.identifier=1999999984", "full"),
    Case("resultsInterpreter.practitioner.name=obrien", "full"),
    Case("results-interpreter.identifier=1999999984", ""),
    Case("media.identifier=M-1", "full"),
    # A contained resource takes part in chains, whatever the parameter.
    Case("patient.name=innen", "box"),
    Case("patient.name:contains=nne", "box"),
    Case("patient.name:exact=Innen", "box"),
    Case("subject:Patient.family=inn", "box"),
    Case("patient.birthdate=2001", "box"),
    Case("patient.birthdate:missing=true", ""),
    # The id of a contained resource is nobody's outside: it may be another patient's.
    Case("patient._id=in", ""),
    Case("patient._id=in,ada", "full"),
    Case("performer:Practitioner._id=dr", ""),
    Case("patient._id:not=ada,bob,in", "box"),
    Case("performer.name=kasten", "box"),
    Case("performer:Organization.name=kasten", ""),
    Case("performer.identifier=2", "box"),
    Case("result.code=718-7", "box"),
    Case("result.code=718-7&result.code=4544-3", "box"),
    Case("result.value-quantity=gt30|" + UCUM + "|mmol/L&result.code=718-7", "box"),
    Case("result.subject:Patient.name=bob", "men box"),
    Case("patient.name=bob&result.subject:Patient.name=bob", "men"),
    Case("results-interpreter.practitioner.name=nestor", "nest"),
    Case("results-interpreter.practitioner.name=zwilling", "twin"),
    Case("results-interpreter:PractitionerRole.practitioner.identifier=3", "nest"),
    Case("results-interpreter:PractitionerRole.organization.name=nest", "nest"),
    Case("results-interpreter:PractitionerRole.organization.partof.name=beispiel", "nest"),
    Case("result.specimen.accession=S-9", "nest"),
    Case("result.specimen.accession=S-9&result.code=777-3", "nest"),
    Case("result.specimen:missing=false", "full nest"),
    # What cannot be chained.
    Case("status.x=1", 400),
    Case("date.identifier=1", 400),
    Case("subject:Organization.name=x", 400),
    Case("patient:identifier.value=10", 400),
    Case("patient.identifier:of-type=a|b", 400),
    Case("patient.name:above=x", 400),
    Case("patient.nothing=1", 400, prefer="handling=strict"),
    Case("patient.nothing=1", "full men lost void gear room box nest twin"),
    Case("nothing.identifier=1", 400, prefer="handling=strict"),
)


# --- includes, reverse chains


def _provenance(id: str, target: str, recorded: str) -> Json:
    return resource(
        "Provenance",
        id,
        target=[refers(target)],
        recorded=recorded,
        agent=[{"who": refers("Organization/labor")}],
    )


_HISTORY: Final = (
    _provenance("v1", "DiagnosticReport/full", "2021-05-01T00:00:00Z"),
    _provenance("v2", "Observation/k", "2022-05-01T00:00:00Z"),
    _provenance("v3", "DiagnosticReport/men/_history/1", "2023-05-01T00:00:00Z"),
)
INCLUDES: Final = (*CHAINS, *_HISTORY)
_FULL: Final = "_id=full&"
INCLUDE_CASES: Final = (
    Case(_FULL + "_include=DiagnosticReport:patient", "full", "Patient/ada"),
    Case("_id=full,men&_include=DiagnosticReport:patient", "full men", "Patient/ada Patient/bob"),
    Case("_id=lost,void&_include=DiagnosticReport:patient", "lost void", ""),
    Case("_id=box&_include=*", "box", ""),
    Case("_id=gear&_include=DiagnosticReport:subject", "gear", "Device/meter"),
    Case("_id=gear&_include=DiagnosticReport:subject:Patient", "gear", ""),
    Case("_id=gear&_include=DiagnosticReport:patient", "gear", ""),
    Case(_FULL + "_include=DiagnosticReport:encounter", "full", "Encounter/visit"),
    Case(_FULL + "_include=DiagnosticReport:based-on", "full", "ServiceRequest/ask"),
    Case(_FULL + "_include=DiagnosticReport:media", "full", "Media/image"),
    Case(_FULL + "_include=DiagnosticReport:specimen", "full", "Specimen/blood"),
    Case(_FULL + "_include=DiagnosticReport:performer:Practitioner", "full", ""),
    Case(_FULL + "_include=DiagnosticReport:results-interpreter", "full", "PractitionerRole/role"),
    Case(
        _FULL + "_include=*",
        "full",
        "Encounter/visit Media/image Observation/k Organization/labor Patient/ada PractitionerRole/role"
        " ServiceRequest/ask Specimen/blood",
    ),
    Case(
        _FULL
        + "_include=DiagnosticReport:results-interpreter&_include:iterate=PractitionerRole:practitioner",
        "full",
        "Practitioner/doc PractitionerRole/role",
    ),
    Case(
        _FULL + "_include=DiagnosticReport:performer&_include:iterate=Organization:partof",
        "full",
        "Organization/clinic Organization/labor",
    ),
    Case(_FULL + "_include=DiagnosticReport:patient&_include=Patient:organization", "full", "Patient/ada"),
    Case(
        _FULL + "_include=DiagnosticReport:patient&_include:iterate=Patient:organization",
        "full",
        "Organization/clinic Patient/ada",
    ),
    Case(_FULL + "_revinclude=Provenance:target", "full", "Provenance/v1"),
    Case("_id=men&_revinclude=Provenance:target", "men", "Provenance/v3"),
    Case(_FULL + "_revinclude=Provenance:target:Observation", "full", ""),
    Case(
        _FULL + "_include=DiagnosticReport:result&_revinclude:iterate=Provenance:target",
        "full",
        "Observation/k Provenance/v1 Provenance/v2",
    ),
    Case("_id=none&_include=*&_revinclude=Provenance:target", "", ""),
    Case(_FULL + "_include=DiagnosticReport:patient,DiagnosticReport:result", 400),
    Case(_FULL + "_include=DiagnosticReport", 400),
    Case(_FULL + "_include:other=DiagnosticReport:patient", 400),
    Case(_FULL + "_include=DiagnosticReport:nothing", 400, prefer="handling=strict"),
    Case(_FULL + "_include=DiagnosticReport:nothing", "full", ""),
    Case(_FULL + "_include=DiagnosticReport:status", "full", ""),
    Case("_has:Provenance:target:recorded=ge2022", "men"),
    Case("_has:Provenance:target:recorded=lt2022", "full"),
    Case("_has:Provenance:target:_id=v1,v2", "full"),
    Case("_has:Provenance:target:recorded=ge2020&_has:Provenance:target:_id=v3", "men"),
    Case("result._has:Provenance:target:recorded=2022", "full"),
    Case("patient._has:Observation:patient:code=2951-2", "men"),
    Case("_has:Provenance:target=x", 400),
    Case("_has:Nothing:target:code=x", 400),
    Case("_has:Provenance:recorded:code=x", 400),
)
