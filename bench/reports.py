"""Made-up patients and reports: what the benchmark pushes and asks for. No real person is in here.

A report is about 2 kB of JSON, as a laboratory's panel with its text and twelve result references is.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

PATIENT_SYSTEM: Final = "urn:bench:patients"
REPORT_SYSTEM: Final = "urn:bench:reports"
PANELS: Final = (
    ("58410-2", "CBC panel - Blood by Automated count"),
    ("24323-8", "Comprehensive metabolic 2000 panel - Serum or Plasma"),
    ("57698-3", "Lipid panel with direct LDL - Serum or Plasma"),
    ("24356-8", "Urinalysis complete panel - Urine"),
)
ANALYTES: Final = (
    ("6690-2", "Leukocytes [#/volume] in Blood by Automated count", "10*3/uL"),
    ("789-8", "Erythrocytes [#/volume] in Blood by Automated count", "10*6/uL"),
    ("718-7", "Hemoglobin [Mass/volume] in Blood", "g/dL"),
    ("2823-3", "Potassium [Moles/volume] in Serum or Plasma", "mmol/L"),
    ("777-3", "Platelets [#/volume] in Blood by Automated count", "10*3/uL"),
)
_NUMBER: Final = b"#number#"
"""Mark where a template is open; no generated text holds it."""


def patient(number: int, site: str = "") -> dict[str, Any]:
    """A Patient with the identifier that `patient.identifier=` asks for; `site` sets its names apart."""
    return {
        "resourceType": "Patient",
        "id": patient_id(number, site),
        "identifier": [{"system": PATIENT_SYSTEM, "value": mrn(number, site)}],
        "name": [{"family": f"Family{number}", "given": ["Given"]}],
        "gender": ("female", "male")[number % 2],
        "birthDate": f"{1930 + number % 80}-{1 + number % 12:02}-{1 + number % 28:02}",
    }


def patient_id(number: int, site: str = "") -> str:
    """The id a patient is stored under."""
    return f"bench{site}-patient-{number:06}"


def mrn(number: int, site: str = "") -> str:
    """The patient's business identifier within `PATIENT_SYSTEM`."""
    return f"MRN{site}{number:08}"


def report(number: int | str, of_patient: int, site: str = "") -> dict[str, Any]:
    """A DiagnosticReport; `number` becomes its business identifier."""
    seed = of_patient if isinstance(number, str) else number
    code, display = PANELS[seed % len(PANELS)]
    effective = f"20{10 + seed % 15}-{1 + seed % 12:02}-{1 + seed % 28:02}T{seed % 24:02}:{seed % 60:02}:00Z"
    return {
        "resourceType": "DiagnosticReport",
        "text": {
            "status": "generated",
            "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><p>{display}, {effective}</p></div>',
        },
        "identifier": [
            {
                "type": {
                    "coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "FILL"}]
                },
                "system": REPORT_SYSTEM,
                "value": f"R{site}{number}",
            }
        ],
        "basedOn": [{"reference": f"ServiceRequest/bench{site}-order-{seed}"}],
        "status": "final",
        "category": [
            {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0074", "code": "LAB"}]}
        ],
        "code": {
            "coding": [{"system": "http://loinc.org", "code": code, "display": display}],
            "text": display,
        },
        "subject": {"reference": f"Patient/{patient_id(of_patient, site)}", "display": f"Family{of_patient}"},
        "encounter": {"reference": f"Encounter/bench{site}-encounter-{seed}"},
        "effectiveDateTime": effective,
        "issued": effective,
        "performer": [{"reference": "Organization/bench-laboratory", "display": "Benchmark Laboratory"}],
        "result": [
            {"reference": f"Observation/bench{site}-{seed}-{n}", "display": f"Component {n}"}
            for n in range(12)
        ],
        "conclusion": "All values lie within the reference range of this made-up laboratory. " * 3,
    }


def panel(number: int, of_patient: int, site: str, *, results: int) -> list[dict[str, Any]]:
    """A report and the Observations it refers to, each stored."""
    whole = report(number, of_patient, site)
    observations = [observation(f"bench{site}-{number}-{n}", whole, n) for n in range(results)]
    references = [{"reference": f"Observation/{one['id']}"} for one in observations]
    return [*observations, {**whole, "result": references}]


def observation(observation_id: str, of_report: dict[str, Any], number: int) -> dict[str, Any]:
    """Observation with a value of a report."""
    code, display, unit = ANALYTES[number % len(ANALYTES)]
    value = {"value": 4 + number, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit}
    taken = {name: of_report[name] for name in ("status", "subject", "encounter", "effectiveDateTime")}
    return {
        "resourceType": "Observation",
        "id": observation_id,
        "category": [
            {
                "coding": [
                    {
                        "system": "http://terminology.hl7.org/CodeSystem/observation-category",
                        "code": "laboratory",
                    }
                ]
            }
        ],
        "code": {
            "coding": [{"system": "http://loinc.org", "code": code, "display": display}],
            "text": display,
        },
        **taken,
        "valueQuantity": value,
        "referenceRange": [{"low": {**value, "value": 3}, "high": {**value, "value": 12}}],
    }


class Template:
    """Distinct reports at the price of one join: the load generator must be cheaper than the servers."""

    def __init__(self, of_patient: int) -> None:
        whole = orjson.dumps(report(_NUMBER.decode(), of_patient))
        self._head, self._tail = whole.split(_NUMBER)

    def body(self, number: int) -> bytes:
        """The report that carries this number, of the same length for all."""
        return b"%b%012d%b" % (self._head, number, self._tail)


class BundleTemplate:
    """Template of Bundles: every resource in it has the number in its id or identifier."""

    def __init__(self, whole: bytes) -> None:
        self._parts = whole.split(_NUMBER)

    def body(self, number: int) -> bytes:
        """The Bundle of this number, of the same length for all."""
        return (b"%012d" % number).join(self._parts)


def many(size: int, of_patient: int) -> BundleTemplate:
    """A batch of so many new reports."""
    return BundleTemplate(batch([report(f"{_NUMBER.decode()}-{n:03}", of_patient) for n in range(size)]))


def result_of_a_panel(results: int) -> list[dict[str, Any]]:
    """A patient, his report and its Observations, as a laboratory sends them together."""
    number = _NUMBER.decode()
    whole = report(number, 1)
    whole = {**whole, "id": f"message-{number}", "subject": {"reference": f"Patient/message-{number}"}}
    observations = [observation(f"message-{number}-{n}", whole, n) for n in range(results)]
    references = [{"reference": f"Observation/{one['id']}"} for one in observations]
    sick = {**patient(1), "id": f"message-{number}"}
    sick["identifier"] = [{"system": PATIENT_SYSTEM, "value": f"MRN{number}"}]
    return [sick, *observations, {**whole, "result": references}]


def as_message(resources: list[dict[str, Any]]) -> BundleTemplate:
    """Message Bundle of these."""
    header = {
        "resourceType": "MessageHeader",
        "id": f"header-{_NUMBER.decode()}",
        "eventUri": "urn:bench:report",
        # A header of its own for each message: of one content there is one.
        "source": {"endpoint": "urn:bench:laboratory", "name": _NUMBER.decode()},
    }
    entries = [{"resource": one} for one in (header, *resources)]
    return BundleTemplate(orjson.dumps({"resourceType": "Bundle", "type": "message", "entry": entries}))


def as_batch(resources: list[dict[str, Any]]) -> BundleTemplate:
    """Batch of these, each under its own id."""
    return BundleTemplate(batch(resources))


def batch(resources: list[dict[str, Any]]) -> bytes:
    """A batch Bundle that stores these: under their own ids where they have one, else under new ones."""
    entries = [
        {
            "resource": one,
            "request": {"method": "PUT", "url": f"{one['resourceType']}/{one['id']}"}
            if "id" in one
            else {"method": "POST", "url": one["resourceType"]},
        }
        for one in resources
    ]
    return orjson.dumps({"resourceType": "Bundle", "type": "batch", "entry": entries})
