"""Made-up resources with a value of its own at each element that a search parameter looks at.

Beside each one, a query for every parameter of its type, which finds it.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from tests.support.fhir import coded, identified, refers

_URN: Final = "urn:example:codes"


class Example(NamedTuple):
    """A resource, and queries that find it."""

    elements: dict[str, Any]
    queries: str
    """`name=value`, with blanks between them; `+` stands for a blank in a value."""


def _c(code: str) -> dict[str, Any]:
    return coded(code, _URN)


def _i(value: str) -> dict[str, str]:
    return identified("urn:example:ids", value)


_ADDRESS: Final = {
    "use": "work",
    "line": ["Lane 1"],
    "city": "Examplecity",
    "state": "Teststate",
    "postalCode": "00123",
    "country": "Nowhere",
}
_ADDRESSES: Final = (
    " address=lane address-city=examplec address-state=tests address-postalcode=001 address-country=now"
    " address-use=work address-use=http://hl7.org/fhir/address-use|work"
)
_TELECOM: Final = [{"system": "phone", "value": "555-1"}, {"system": "email", "value": "a@example.org"}]
_TELECOMS: Final = " telecom=555-1 telecom=a@example.org phone=555-1 email=A@example.org"
_NAME: Final = [{"family": "Testová", "given": ["Adele"], "prefix": ["Dr."]}]
_NAMES: Final = " name=dr name=adele family=testova given=ade"

EXAMPLES: Final[dict[str, Example]] = {
    "DiagnosticReport": Example(
        {
            "basedOn": [refers("CarePlan/1")],
            "category": [_c("cat")],
            "code": _c("cod"),
            "conclusionCode": [_c("con")],
            "effectivePeriod": {"start": "2021-01-01", "end": "2021-01-03"},
            "encounter": refers("Encounter/1"),
            "identifier": [_i("I")],
            "issued": "2021-02-01T00:00:00Z",
            "media": [{"link": refers("Media/1")}],
            "performer": [refers("CareTeam/1")],
            "result": [refers("Observation/1")],
            "resultsInterpreter": [refers("PractitionerRole/1")],
            "specimen": [refers("Specimen/1")],
            "status": "final",
            "subject": refers("Patient/1"),
        },
        "based-on=CarePlan/1 category=cat code=cod conclusion=con date=2021-01 encounter=Encounter/1"
        " context=1 identifier=I issued=2021-02-01 media=1 patient=1 performer=CareTeam/1 result=1"
        " results-interpreter=PractitionerRole/1 specimen=1 status=final subject=Patient/1",
    ),
    "Observation": Example(
        {
            "basedOn": [refers("DeviceRequest/1")],
            "category": [_c("cat")],
            "code": _c("cod"),
            "component": [
                {"code": _c("c1"), "valueQuantity": {"value": 7, "code": "mg"}},
                {"code": _c("c2"), "dataAbsentReason": _c("unasked")},
                {"code": _c("c3"), "valueCodeableConcept": _c("positive")},
            ],
            "dataAbsentReason": _c("masked"),
            "derivedFrom": [refers("ImagingStudy/1")],
            "device": refers("DeviceMetric/1"),
            "effectiveInstant": "2021-01-01T10:00:00Z",
            "encounter": refers("Encounter/1"),
            "focus": [refers("Basic/1")],
            "hasMember": [refers("QuestionnaireResponse/1")],
            "identifier": [_i("I")],
            "method": _c("met"),
            "partOf": [refers("Procedure/1")],
            "performer": [refers("RelatedPerson/1")],
            "specimen": refers("Specimen/1"),
            "status": "final",
            "subject": refers("Patient/1"),
            "valueCodeableConcept": {**_c("val"), "text": "Much sugar"},
            # One of them at a time in a valid resource; each expression is on its own here.
            "valueDateTime": "2021-03-01",
            "valueQuantity": {"value": 5, "code": "kg"},
        },
        "based-on=DeviceRequest/1 category=cat code=cod combo-code=cod combo-code=c2 component-code=c1"
        " data-absent-reason=masked component-data-absent-reason=unasked combo-data-absent-reason=masked"
        " combo-data-absent-reason=unasked derived-from=ImagingStudy/1 device=DeviceMetric/1"
        " date=2021-01-01 encounter=1 focus=Basic/1 focus=1 has-member=QuestionnaireResponse/1 identifier=I"
        " method=met part-of=Procedure/1 patient=1 performer=RelatedPerson/1 specimen=1 status=final"
        " subject=Patient/1 value-concept=val component-value-concept=positive combo-value-concept=val"
        " combo-value-concept=positive value-string=sugar value-date=2021-03 value-quantity=5||kg"
        " component-value-quantity=7 combo-value-quantity=5 combo-value-quantity=7||mg"
        " code-value-concept=cod$val code-value-string=cod$much code-value-date=cod$2021-03"
        " code-value-quantity=cod$5||kg code-value-quantity=cod$9,cod$gt4||kg"
        " component-code-value-concept=c3$positive component-code-value-quantity=c2$7,c1$lt8"
        " combo-code-value-concept=cod$val combo-code-value-concept=c3$positive"
        " combo-code-value-quantity=cod$5 combo-code-value-quantity=c1$7||mg",
    ),
    "Patient": Example(
        {
            "active": True,
            "address": [_ADDRESS],
            "birthDate": "1970-02-03",
            "communication": [{"language": _c("de")}],
            "deceasedDateTime": "2021-01-01",
            "gender": "female",
            "generalPractitioner": [refers("PractitionerRole/1")],
            "identifier": [_i("I")],
            "link": [{"other": refers("RelatedPerson/1"), "type": "seealso"}],
            "managingOrganization": refers("Organization/1"),
            "name": _NAME,
            "telecom": _TELECOM,
        },
        "active=true birthdate=1970-02-03 death-date=2021 deceased=true gender=female"
        " general-practitioner=PractitionerRole/1 identifier=I language=de link=RelatedPerson/1"
        " organization=1" + _NAMES + _ADDRESSES + _TELECOMS,
    ),
    "ServiceRequest": Example(
        {
            "authoredOn": "2021-01-01",
            "basedOn": [refers("MedicationRequest/1")],
            "bodySite": [_c("bod")],
            "category": [_c("cat")],
            "code": _c("cod"),
            "encounter": refers("Encounter/1"),
            "identifier": [_i("I")],
            "instantiatesUri": ["http://protocols.test/1"],
            "intent": "order",
            "occurrenceTiming": {"event": ["2021-02-01", "2021-02-03"]},
            "performer": [refers("HealthcareService/1")],
            "performerType": _c("per"),
            "priority": "stat",
            "replaces": [refers("ServiceRequest/2")],
            "requester": refers("Device/1"),
            "requisition": _i("R"),
            "specimen": [refers("Specimen/1")],
            "status": "active",
            "subject": refers("Patient/1"),
        },
        "authored=2021-01-01 based-on=MedicationRequest/1 body-site=bod category=cat code=cod encounter=1"
        " identifier=I instantiates-uri=http://protocols.test/1 intent=order occurrence=2021-02 patient=1"
        " performer=HealthcareService/1 performer-type=per replaces=2 requester=Device/1 requisition=R"
        " priority=stat priority=http://hl7.org/fhir/request-priority|stat specimen=1 status=active"
        " subject=Patient/1",
    ),
    "Encounter": Example(
        {
            "account": [refers("Account/1")],
            "appointment": [refers("Appointment/1")],
            "basedOn": [refers("ServiceRequest/1")],
            "class": {"system": _URN, "code": "AMB"},
            "diagnosis": [{"condition": refers("Procedure/1")}],
            "episodeOfCare": [refers("EpisodeOfCare/1")],
            "hospitalization": {"specialArrangement": [_c("spe")]},
            "identifier": [_i("I")],
            "length": {"value": 45, "system": "http://unitsofmeasure.org", "code": "min"},
            "location": [{"location": refers("Location/1"), "period": {"start": "2021-01-02"}}],
            "partOf": refers("Encounter/2"),
            "participant": [
                {"type": [_c("typ")], "individual": refers("Practitioner/1")},
                {"individual": refers("RelatedPerson/1")},
            ],
            "period": {"start": "2021-01-01", "end": "2021-01-03"},
            "reasonCode": [_c("rea")],
            "reasonReference": [refers("Observation/1")],
            "serviceProvider": refers("Organization/1"),
            "status": "finished",
            "subject": refers("Patient/1"),
            "type": [_c("enc")],
        },
        "account=1 appointment=1 based-on=1 class=amb date=2021-01 diagnosis=Procedure/1 episode-of-care=1"
        " identifier=I length=45||min length=gt40 location=1 location-period=ge2021-01-02 part-of=2"
        " participant=RelatedPerson/1 participant=Practitioner/1 participant-type=typ patient=1"
        " practitioner=1 reason-code=rea reason-reference=Observation/1 service-provider=1"
        " special-arrangement=spe status=finished subject=Patient/1 type=enc",
    ),
    "Specimen": Example(
        {
            "accessionIdentifier": _i("A"),
            "collection": {
                "bodySite": _c("bod"),
                "collectedDateTime": "2021-01-01",
                "collector": refers("PractitionerRole/1"),
            },
            "container": [{"identifier": [_i("C")], "type": _c("tube")}],
            "identifier": [_i("I")],
            "parent": [refers("Specimen/2")],
            "status": "available",
            "subject": refers("Patient/1"),
            "type": _c("typ"),
        },
        "accession=A bodysite=bod collected=2021-01-01 collector=PractitionerRole/1 container=tube"
        " container-id=C identifier=I parent=2 patient=1 status=available subject=1 type=typ",
    ),
    "Provenance": Example(
        {
            "agent": [{"role": [_c("rol")], "type": _c("typ"), "who": refers("Device/1")}],
            "entity": [{"what": refers("Binary/1"), "role": "source"}],
            "location": refers("Location/1"),
            "occurredDateTime": "2021-01-01",
            "recorded": "2021-02-01T00:00:00Z",
            "signature": [{"type": [{"system": _URN, "code": "sig"}]}],
            "target": [refers("Basic/1"), refers("Patient/1")],
        },
        "agent=Device/1 agent-role=rol agent-type=typ entity=Binary/1 location=1 patient=1"
        " recorded=2021-02 signature-type=sig target=Basic/1 target=1 target=Patient/1 when=2021-01",
    ),
    "CareTeam": Example(
        {
            "category": [_c("cat")],
            "encounter": refers("Encounter/1"),
            "identifier": [_i("I")],
            "participant": [{"member": refers("CareTeam/2")}],
            "period": {"start": "2021"},
            "status": "active",
            "subject": refers("Patient/1"),
        },
        "category=cat date=ge2021 encounter=1 identifier=I participant=CareTeam/2 patient=1 status=active"
        " subject=Patient/1",
    ),
    "Device": Example(
        {
            "deviceName": [{"name": "Analyser", "type": "model-name"}],
            "identifier": [_i("I")],
            "location": refers("Location/1"),
            "manufacturer": "Maker",
            "modelNumber": "Mark 2",
            "owner": refers("Organization/1"),
            "patient": refers("Patient/1"),
            "status": "active",
            "type": {"coding": [{"code": "typ", "display": "Shown"}], "text": "Told"},
            "udiCarrier": [{"deviceIdentifier": "DI1", "carrierHRF": "HRF1"}],
            "url": "http://device.test",
        },
        "device-name=analys device-name=shown device-name=told identifier=I location=1 manufacturer=mak"
        " model=mark organization=1 patient=1 status=active type=typ udi-carrier=hrf1 udi-di=di1"
        " url=http://device.test",
    ),
    "DocumentReference": Example(
        {
            "authenticator": refers("Organization/1"),
            "author": [refers("Device/1")],
            "category": [_c("cat")],
            "content": [
                {
                    "attachment": {
                        "contentType": "application/pdf",
                        "language": "de-CH",
                        "url": "http://documents.test/1",
                    },
                    "format": {"system": _URN, "code": "fmt"},
                }
            ],
            "context": {
                "encounter": [refers("EpisodeOfCare/1")],
                "event": [_c("eve")],
                "facilityType": _c("fac"),
                "period": {"start": "2021-02-01", "end": "2021-02-02"},
                "practiceSetting": _c("set"),
                "related": [refers("Basic/1")],
            },
            "custodian": refers("Organization/2"),
            "date": "2021-01-01T00:00:00Z",
            "description": "Discharge letter",
            "identifier": [_i("I")],
            "masterIdentifier": _i("M"),
            "relatesTo": [{"code": "replaces", "target": refers("DocumentReference/2")}],
            "securityLabel": [_c("sec")],
            "status": "current",
            "subject": refers("Patient/1"),
            "type": _c("typ"),
        },
        "authenticator=Organization/1 author=Device/1 category=cat contenttype=application/pdf"
        " custodian=2 date=2021-01-01 description=letter encounter=EpisodeOfCare/1 event=eve facility=fac"
        " format=fmt identifier=I identifier=M language=de-CH language=urn:ietf:bcp:47|de-ch"
        " location=http://documents.test/1 patient=1 period=2021-02 related=Basic/1 relatesto=2"
        " relationship=DocumentReference/2$replaces relation=replaces"
        " security-label=sec setting=set status=current subject=Patient/1 type=typ",
    ),
    "Group": Example(
        {
            "actual": True,
            "code": _c("cod"),
            "identifier": [_i("I")],
            "managingEntity": refers("RelatedPerson/1"),
            "member": [{"entity": refers("Patient/1")}],
            "type": "person",
        },
        "actual=true code=cod identifier=I managing-entity=RelatedPerson/1 member=Patient/1 type=person",
    ),
    "ImagingStudy": Example(
        {
            "basedOn": [refers("Task/1")],
            "encounter": refers("Encounter/1"),
            "endpoint": [refers("Endpoint/1")],
            "identifier": [_i("I")],
            "interpreter": [refers("PractitionerRole/1")],
            "reasonCode": [_c("rea")],
            "referrer": refers("Practitioner/1"),
            "series": [
                {
                    "bodySite": {"system": _URN, "code": "bod"},
                    "endpoint": [refers("Endpoint/2")],
                    "instance": [{"uid": "1.2.3", "sopClass": {"system": _URN, "code": "sop"}}],
                    "modality": {"system": _URN, "code": "MR"},
                    "performer": [{"actor": refers("Device/1")}],
                    "uid": "1.2",
                }
            ],
            "started": "2021-01-01",
            "status": "available",
            "subject": refers("Patient/1"),
        },
        "basedon=Task/1 bodysite=bod dicom-class=sop encounter=1 endpoint=1 endpoint=2 identifier=I"
        " instance=1.2.3 interpreter=PractitionerRole/1 modality=MR patient=1 performer=Device/1 reason=rea"
        " referrer=Practitioner/1 series=1.2 started=2021-01 status=available subject=Patient/1",
    ),
    "Location": Example(
        {
            "address": _ADDRESS,
            "alias": ["Old ward"],
            "endpoint": [refers("Endpoint/1")],
            "identifier": [_i("I")],
            "managingOrganization": refers("Organization/1"),
            "name": "Ward",
            "operationalStatus": {"system": _URN, "code": "O"},
            "partOf": refers("Location/2"),
            "status": "active",
            "type": [_c("typ")],
        },
        "endpoint=1 identifier=I name=ward name=old operational-status=o organization=1 partof=2"
        " status=active type=typ" + _ADDRESSES,
    ),
    "Media": Example(
        {
            "basedOn": [refers("CarePlan/1")],
            "bodySite": _c("bod"),
            "createdPeriod": {"start": "2021-01-01", "end": "2021-01-02"},
            "device": refers("DeviceMetric/1"),
            "encounter": refers("Encounter/1"),
            "identifier": [_i("I")],
            "modality": _c("mod"),
            "operator": refers("CareTeam/1"),
            "status": "completed",
            "subject": refers("Patient/1"),
            "type": _c("typ"),
            "view": _c("vie"),
        },
        "based-on=CarePlan/1 created=2021-01 device=DeviceMetric/1 encounter=1 identifier=I modality=mod"
        " operator=CareTeam/1 patient=1 site=bod status=completed subject=Patient/1 type=typ view=vie",
    ),
    "Organization": Example(
        {
            "active": True,
            "address": [_ADDRESS],
            "alias": ["Old house"],
            "endpoint": [refers("Endpoint/1")],
            "identifier": [_i("I")],
            "name": "Hospital",
            "partOf": refers("Organization/2"),
            "type": [_c("typ")],
        },
        "active=true endpoint=1 identifier=I name=hosp name=house partof=2 type=typ" + _ADDRESSES,
    ),
    "Practitioner": Example(
        {
            "active": True,
            "address": [_ADDRESS],
            "communication": [_c("de")],
            "gender": "male",
            "identifier": [_i("I")],
            "name": _NAME,
            "telecom": _TELECOM,
        },
        "active=true communication=de gender=male identifier=I" + _NAMES + _ADDRESSES + _TELECOMS,
    ),
    "PractitionerRole": Example(
        {
            "active": True,
            "code": [_c("rol")],
            "endpoint": [refers("Endpoint/1")],
            "healthcareService": [refers("HealthcareService/1")],
            "identifier": [_i("I")],
            "location": [refers("Location/1")],
            "organization": refers("Organization/1"),
            "period": {"start": "2021-01-01", "end": "2021-01-31"},
            "practitioner": refers("Practitioner/1"),
            "specialty": [_c("spe")],
            "telecom": _TELECOM,
        },
        "active=true date=2021-01 endpoint=1 identifier=I location=1 organization=1 practitioner=1 role=rol"
        " service=1 specialty=spe" + _TELECOMS,
    ),
    "RelatedPerson": Example(
        {
            "active": True,
            "address": [_ADDRESS],
            "birthDate": "1970-02-03",
            "gender": "other",
            "identifier": [_i("I")],
            "name": _NAME,
            "patient": refers("Patient/1"),
            "relationship": [_c("rel")],
            "telecom": _TELECOM,
        },
        "active=true birthdate=1970 gender=other identifier=I name=adele patient=1 relationship=rel"
        + _ADDRESSES
        + _TELECOMS,
    ),
    "Condition": Example(
        {
            "abatementPeriod": {"start": "2021-03-01", "end": "2021-03-02"},
            "asserter": refers("RelatedPerson/1"),
            "bodySite": [_c("bod")],
            "category": [_c("cat")],
            "clinicalStatus": _c("active"),
            "code": _c("cod"),
            "encounter": refers("Encounter/1"),
            "evidence": [{"code": [_c("evi")]}],
            "identifier": [_i("I")],
            "onsetDateTime": "2021-02-01",
            "recordedDate": "2021-01-01",
            "severity": _c("sev"),
            "stage": [{"summary": _c("sta")}],
            "subject": refers("Patient/1"),
            "verificationStatus": _c("confirmed"),
        },
        "abatement-date=2021-03 asserter=RelatedPerson/1 body-site=bod category=cat clinical-status=active"
        " code=cod encounter=1 evidence=evi identifier=I onset-date=2021-02 patient=1 recorded-date=2021-01"
        " severity=sev stage=sta subject=Patient/1 verification-status=confirmed",
    ),
    "Procedure": Example(
        {
            "basedOn": [refers("CarePlan/1")],
            "category": _c("cat"),
            "code": _c("cod"),
            "encounter": refers("Encounter/1"),
            "identifier": [_i("I")],
            "instantiatesUri": ["http://protocols.test/1"],
            "location": refers("Location/1"),
            "partOf": [refers("Observation/1")],
            "performedPeriod": {"start": "2021-01-01", "end": "2021-01-02"},
            "performer": [{"actor": refers("Device/1")}],
            "reasonCode": [_c("rea")],
            "reasonReference": [refers("DiagnosticReport/1")],
            "status": "completed",
            "subject": refers("Patient/1"),
        },
        "based-on=CarePlan/1 category=cat code=cod date=2021-01 encounter=1 identifier=I"
        " instantiates-uri=http://protocols.test/1 location=1 part-of=Observation/1 patient=1"
        " performer=Device/1 reason-code=rea reason-reference=DiagnosticReport/1 status=completed"
        " subject=Patient/1",
    ),
    "CarePlan": Example(
        {
            "addresses": [refers("Condition/1")],
            "basedOn": [refers("CarePlan/2")],
            "careTeam": [refers("CareTeam/1")],
            "category": [_c("cat")],
            "encounter": refers("Encounter/1"),
            "identifier": [_i("I")],
            "intent": "plan",
            "partOf": [refers("CarePlan/3")],
            "period": {"start": "2021-01-01", "end": "2021-01-02"},
            "status": "active",
            "subject": refers("Patient/1"),
        },
        "based-on=2 care-team=1 category=cat condition=1 date=2021-01 encounter=1 identifier=I intent=plan"
        " part-of=3 patient=1 status=active subject=Patient/1",
    ),
    "Task": Example(
        {
            "authoredOn": "2021-01-01",
            "basedOn": [refers("ServiceRequest/1")],
            "businessStatus": _c("bus"),
            "code": _c("cod"),
            "encounter": refers("Encounter/1"),
            "executionPeriod": {"start": "2021-02-01", "end": "2021-02-02"},
            "focus": refers("DiagnosticReport/1"),
            "for": refers("Patient/1"),
            "groupIdentifier": _i("G"),
            "identifier": [_i("I")],
            "intent": "order",
            "lastModified": "2021-03-01",
            "owner": refers("HealthcareService/1"),
            "partOf": [refers("Task/2")],
            "performerType": [_c("per")],
            "priority": "asap",
            "requester": refers("Device/1"),
            "status": "ready",
        },
        "authored-on=2021-01 based-on=ServiceRequest/1 business-status=bus code=cod encounter=1"
        " focus=DiagnosticReport/1 group-identifier=G identifier=I intent=order modified=2021-03"
        " owner=HealthcareService/1 part-of=2 patient=1 performer=per period=2021-02 priority=asap"
        " requester=Device/1 status=ready subject=Patient/1",
    ),
    "MedicationRequest": Example(
        {
            "authoredOn": "2021-01-01",
            "category": [_c("cat")],
            "encounter": refers("Encounter/1"),
            "identifier": [_i("I")],
            "intent": "order",
            # One of the two in a valid resource.
            "medicationCodeableConcept": _c("med"),
            "medicationReference": refers("Medication/1"),
            "priority": "urgent",
            "requester": refers("RelatedPerson/1"),
            "status": "active",
            "subject": refers("Patient/1"),
        },
        "authoredon=2021-01 category=cat code=med encounter=1 identifier=I intent=order medication=1"
        " patient=1 priority=urgent requester=RelatedPerson/1 status=active subject=Patient/1"
        " status=http://hl7.org/fhir/CodeSystem/medicationrequest-status|active",
    ),
    "Medication": Example(
        {"code": _c("cod"), "identifier": [_i("I")], "status": "active"},
        "code=cod identifier=I status=active",
    ),
    "Immunization": Example(
        {
            "identifier": [_i("I")],
            "location": refers("Location/1"),
            "lotNumber": "LOT7",
            "occurrenceDateTime": "2021-01-01",
            "patient": refers("Patient/1"),
            "performer": [{"actor": refers("Organization/1")}],
            "status": "completed",
            "statusReason": _c("rea"),
            "vaccineCode": _c("vac"),
        },
        "date=2021-01 identifier=I location=1 lot-number=lot7 patient=1 performer=Organization/1"
        " status=completed status-reason=rea vaccine-code=vac",
    ),
    "AllergyIntolerance": Example(
        {
            "category": ["food"],
            "clinicalStatus": _c("active"),
            "code": _c("nuts"),
            "criticality": "high",
            "identifier": [_i("I")],
            "patient": refers("Patient/1"),
            "reaction": [{"substance": _c("peanut"), "manifestation": [_c("rash")]}],
            "recordedDate": "2021-01-01",
            "type": "allergy",
            "verificationStatus": _c("confirmed"),
        },
        "category=food clinical-status=active code=nuts code=peanut criticality=high date=2021-01"
        " identifier=I manifestation=rash patient=1 type=allergy verification-status=confirmed",
    ),
    "Composition": Example(
        {
            "author": [refers("Device/1")],
            "category": [_c("cat")],
            "date": "2021-01-01",
            "encounter": refers("Encounter/1"),
            "identifier": _i("I"),
            "section": [{"entry": [refers("DiagnosticReport/1")]}],
            "status": "final",
            "subject": refers("Patient/1"),
            "title": "Letter",
            "type": _c("typ"),
        },
        "author=Device/1 category=cat date=2021-01 encounter=1 entry=DiagnosticReport/1 identifier=I"
        " patient=1 status=final subject=Patient/1 title=let type=typ",
    ),
    "List": Example(
        {
            "code": _c("cod"),
            "date": "2021-01-01",
            "encounter": refers("Encounter/1"),
            "entry": [{"item": refers("Basic/1")}],
            "identifier": [_i("I")],
            "source": refers("Device/1"),
            "status": "current",
            "subject": refers("Patient/1"),
            "title": "Problems",
        },
        "code=cod date=2021-01 encounter=1 identifier=I item=Basic/1 patient=1 source=Device/1"
        " status=current subject=Patient/1 title=prob",
    ),
    "QuestionnaireResponse": Example(
        {
            "author": refers("Device/1"),
            "authored": "2021-01-01",
            "basedOn": [refers("CarePlan/1")],
            "encounter": refers("Encounter/1"),
            "identifier": _i("I"),
            "status": "completed",
            "subject": refers("Patient/1"),
        },
        "author=Device/1 authored=2021-01 based-on=CarePlan/1 encounter=1 identifier=I patient=1"
        " status=completed subject=Patient/1",
    ),
    "Bundle": Example(
        {
            "entry": [{"resource": {"resourceType": "Observation", "subject": refers("Patient/1")}}],
            "identifier": _i("I"),
            "timestamp": "2021-01-01T00:00:00Z",
            "type": "collection",
        },
        "identifier=I patient=1 timestamp=2021-01-01 type=collection",
    ),
    "MolecularSequence": Example(
        {"identifier": [_i("I")], "patient": refers("Patient/1")}, "identifier=I patient=1"
    ),
    "Endpoint": Example(
        {
            "connectionType": {"system": _URN, "code": "con"},
            "identifier": [_i("I")],
            "managingOrganization": refers("Organization/1"),
            "name": "Inbox",
            "payloadType": [_c("pay")],
            "status": "active",
        },
        "connection-type=con identifier=I name=inb organization=1 payload-type=pay status=active",
    ),
}
