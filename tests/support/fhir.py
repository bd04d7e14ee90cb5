"""Made-up resources."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

LOINC = "http://loinc.org"
CATEGORY = "http://terminology.hl7.org/CodeSystem/v2-0074"
MRN = "urn:example:mrn"
ORDERS = "urn:example:orders"


def coded(code: str, system: str | None = LOINC) -> Json:
    return {"coding": [{"code": code} if system is None else {"system": system, "code": code}]}


def refers(text: str) -> Json:
    return {"reference": text}


def identified(system: str, value: str) -> Json:
    return {"system": system, "value": value}


def report(id: str = "r1", patient: str | None = "p1", **elements: Any) -> Json:
    """A DiagnosticReport; `patient` is the id of its subject."""
    subject = {} if patient is None else {"subject": refers(f"Patient/{patient}")}
    return {
        "resourceType": "DiagnosticReport",
        "id": id,
        "status": "final",
        "code": coded("58410-2"),
        **subject,
        **elements,
    }


def patient(id: str = "p1", *identifiers: Json, **elements: Any) -> Json:
    carried = {"identifier": list(identifiers)} if identifiers else {}
    return {"resourceType": "Patient", "id": id, **carried, **elements}


def resource(type: str, id: str, **elements: Any) -> Json:
    return {"resourceType": type, "id": id, **elements}


def message(*resources: Json, source: str = "urn:example:lab", header: bool = True, **elements: Any) -> Json:
    """A message Bundle; entries carry the source's own RESTful URLs."""
    headed = [{"resource": message_header(source)}] if header else []
    return {
        "resourceType": "Bundle",
        "type": "message",
        **elements,
        "entry": [
            *headed,
            *(
                {"fullUrl": f"https://lab.example/{one['resourceType']}/{one['id']}", "resource": one}
                for one in resources
            ),
        ],
    }


def message_header(source: str = "urn:example:lab") -> Json:
    return {
        "resourceType": "MessageHeader",
        "id": "header",
        "eventUri": "https://example.org/events/report-created",
        "source": {"name": "Example laboratory", "endpoint": source},
    }


def batch(*requests: tuple[str, str, Json | None], **elements: Any) -> Json:
    """A batch Bundle of (method, url, resource)."""
    return {
        "resourceType": "Bundle",
        "type": "batch",
        "entry": [
            {
                "request": {"method": method, "url": url, **elements},
                **({} if inner is None else {"resource": inner}),
            }
            for method, url, inner in requests
        ],
    }


def product_page_report() -> Json:
    """The report of upstream's product page, as it stands there: `category` is an object."""
    return {
        "resourceType": "DiagnosticReport",
        "id": "27894d07-e072-4969-ab7c-12f175be32c2",
        "meta": {"lastUpdated": "2022-10-03T20:10:27.555Z"},
        "status": "final",
        "category": coded("LAB", "http://hl7.org/fhir/v2/0074"),
        "code": {
            "text": "First trimester maternal screen with nuchal translucency panel",
            "coding": [{"code": "49086-2"}],
        },
        "subject": refers("Patient/81c2f5eb-f99f-40c4-b504-59483e6148d7"),
        "effectiveDateTime": "2015-05-06T06:00:58.872Z",
        "issued": "2015-05-06T06:00:58.872Z",
        "identifier": [
            {
                "system": "urn:redox:redox-fhir-sandbox:OrderID",
                "value": "157968301",
                "extension": [
                    {
                        "url": "https://fhir.redoxengine.com/StructureDefinition/identifier-origin",
                        "valueString": "RedoxAPI",
                    }
                ],
            }
        ],
        "result": [
            refers("Observation/649503a3-dcce-43be-9bb8-482e56d0a166"),
            refers("Observation/3673e6ea-d644-4bf8-ae8e-0d7072fb65fd"),
        ],
    }
