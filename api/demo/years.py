"""Eight years of reports about a made-up patient, for the demo, screenshots and tests. Pure.

Values are numbers as text (`Decimal`), so that a laboratory's 1.10 is pushed as 1.10.
"""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from api.demo.analytes import ANTIBIOTICS, PANELS
from api.demo.pdf import page

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from api.demo.analytes import Analyte, Panel

Json = dict[str, Any]

PATIENT: Final = "ada-muster"
NUMBER: Final = "MADE-UP-1961"
SYSTEM: Final = "urn:redox:redox-fhir-sandbox:MR"
CORRECTED: Final = "ada-corrected"
"""Id of the report with a history: preliminary, final, corrected."""
VISITS: Final = 32
DAYS: Final = 91.3
"""Time from a visit to the next."""
_LOINC: Final = "http://loinc.org"
_FLAGS: Final = "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation"
_SECTIONS: Final = "http://terminology.hl7.org/CodeSystem/v2-0074"
_FINAL: Final[Mapping[str, Any]] = {"status": "final"}


class Number(NamedTuple):
    """Number with the digits that it is written with."""

    text: str


def to_json(value: object) -> str:
    """JSON of plain values and Numbers."""
    if isinstance(value, Number):
        return value.text
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{to_json(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(to_json, value)) + "]"
    return json.dumps(value)


def steps(
    today: datetime, *, visits: int = VISITS, days: float = DAYS, seed: int = 7
) -> Iterator[list[Json]]:
    """Resources to be put one step after another; a later step has newer versions of earlier ones."""
    random = Random(seed)  # noqa: S311 -- made-up values, the same each time.
    yield [_patient(), *_people()]
    for visit in range(visits):
        at = (today - timedelta(days=days * (visits - visit))).replace(hour=8, minute=10 + visit % 40)
        share = visit / max(1, visits - 1)
        for panel in PANELS:
            if visit % panel.every == 0:
                yield _panel(panel, f"ada-{panel.loinc}-{visit}", at, share, random)
    yield _culture(today - timedelta(days=410))
    yield _pathology(today - timedelta(days=1_330))
    yield from _images(today)
    yield from _corrected((today - timedelta(days=2)).replace(hour=8, minute=20), random)


def without_status(today: datetime) -> Json:
    """A report that R4 does not allow, as a source with a fault in its mapping sends it."""
    made = _report(
        "ada-refused", today, _loinc("24323-8", "Comprehensive metabolic panel"), PANELS[0].category
    )
    return {name: value for name, value in made.items() if name not in ("id", "status")}


# --- who and where


def _patient() -> Json:
    return {
        "resourceType": "Patient",
        "id": PATIENT,
        "identifier": [{"type": _coded("v2-0203", "MR"), "system": SYSTEM, "value": NUMBER}],
        "name": [{"use": "official", "family": "Muster", "given": ["Ada"]}],
        "gender": "female",
        "birthDate": "1961-04-17",
    }


def _people() -> list[Json]:
    return [
        {"resourceType": "Organization", "id": "demo-laboratory", "name": "Made-up Laboratory"},
        {"resourceType": "Organization", "id": "demo-imaging", "name": "Made-up Imaging Centre"},
        {"resourceType": "Practitioner", "id": "demo-doctor", "name": [{"text": "Dr. Robin Beispiel"}]},
    ]


def _coded(system: str, code: str) -> Json:
    return {"coding": [{"system": f"http://terminology.hl7.org/CodeSystem/{system}", "code": code}]}


def _loinc(code: str, name: str) -> Json:
    return {"coding": [{"system": _LOINC, "code": code, "display": name}], "text": name}


def _to(reference: str) -> Json:
    return {"reference": reference}


def _text(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# --- laboratory


def _report(
    id: str,
    at: datetime,
    code: Json,
    section: tuple[str, str],
    *,
    by: str = "demo-laboratory",
    **more: object,
) -> Json:
    issued = at + timedelta(hours=3, minutes=20)
    category = {"coding": [{"system": _SECTIONS, "code": section[0], "display": section[1]}]}
    return {
        "resourceType": "DiagnosticReport",
        "id": id,
        "identifier": [{"system": "urn:example:made-up-laboratory:accession", "value": id.upper()}],
        **_FINAL,
        "category": [category],
        "code": code,
        "subject": _to(f"Patient/{PATIENT}"),
        "effectiveDateTime": _text(at),
        "issued": _text(issued),
        "performer": [_to(f"Organization/{by}")],
        **more,
    }


def _observation(id: str, at: datetime, code: Json, **more: object) -> Json:
    return {
        "resourceType": "Observation",
        "id": id,
        **_FINAL,
        "category": [_coded("observation-category", "laboratory")],
        "code": code,
        "subject": _to(f"Patient/{PATIENT}"),
        "effectiveDateTime": _text(at),
        **more,
    }


def _specimen(id: str, at: datetime, kind: str) -> Json:
    return {
        "resourceType": "Specimen",
        "id": id,
        "type": {"text": kind},
        "subject": _to(f"Patient/{PATIENT}"),
        "collection": {"collectedDateTime": _text(at)},
    }


def _panel(panel: Panel, id: str, at: datetime, share: float, random: Random) -> list[Json]:
    values = [random.gauss(one.course(share), one.noise) for one in panel.analytes]
    results = [
        measured(f"{id}-{one.loinc}", at, one, value)
        for one, value in zip(panel.analytes, values, strict=True)
    ]
    specimen = _specimen(f"{id}-specimen", at, panel.specimen)
    report = _report(
        id,
        at,
        _loinc(panel.loinc, panel.name),
        panel.category,
        specimen=[_to(f"Specimen/{specimen['id']}")],
        result=[_to(f"Observation/{one['id']}") for one in results],
    )
    return [specimen, *results, report]


def measured(id: str, at: datetime, analyte: Analyte, value: float, **more: object) -> Json:
    """A result with its range and flag."""
    unit = {"unit": analyte.unit, "system": "http://unitsofmeasure.org", "code": analyte.ucum}
    ends = {"low": analyte.low, "high": analyte.high}
    limits = {
        name: {"value": Number(f"{end:.{analyte.digits}f}"), **unit}
        for name, end in ends.items()
        if end is not None
    }
    quantity = {"value": Number(f"{value:.{analyte.digits}f}"), **unit}
    flag = _flag(analyte, round(value, analyte.digits))
    return _observation(
        id,
        at,
        _loinc(analyte.loinc, analyte.name),
        valueQuantity=quantity,
        interpretation=[{"coding": [{"system": _FLAGS, "code": flag}]}],
        referenceRange=[limits],
        **more,
    )


def _flag(analyte: Analyte, value: float) -> str:
    if analyte.critical is not None and value >= analyte.critical:
        return "HH"
    if analyte.high is not None and value > analyte.high:
        return "H"
    return "L" if analyte.low is not None and value < analyte.low else "N"


def _corrected(at: datetime, random: Random) -> Iterator[list[Json]]:
    """A report as it comes to be: some results, all of them, and one that was wrong."""
    panel = PANELS[0]
    note = [{"text": "Specimen haemolysed: potassium may be too high."}]
    values = {one.loinc: random.gauss(one.course(1.0), one.noise) for one in panel.analytes}
    tested = {one.loinc: one for one in panel.analytes}

    def result(code: str, value: float, **more: object) -> Json:
        return measured(f"{CORRECTED}-{code}", at, tested[code], value, **more)

    def version(codes: Sequence[str], **more: object) -> Json:
        results = [_to(f"Observation/{CORRECTED}-{code}") for code in codes]
        of = _loinc(panel.loinc, panel.name)
        specimen = [_to(f"Specimen/{CORRECTED}-specimen")]
        return _report(CORRECTED, at, of, panel.category) | {"specimen": specimen, "result": results, **more}

    codes = [one.loinc for one in panel.analytes]
    early = codes[:7]
    potassium = "2823-3"
    values[potassium] = 6.2
    specimen = _specimen(f"{CORRECTED}-specimen", at, panel.specimen)
    yield [
        specimen,
        *(result(code, values[code], status="preliminary") for code in early),
        version(early, status="preliminary"),
    ]
    wrong = result(potassium, values[potassium], note=note)
    rest = [result(code, values[code]) for code in codes if code != potassium]
    yield [*rest, wrong, version(codes, conclusion="Potassium critically high; haemolysis seen.")]
    right = result(
        potassium, 4.4, status="corrected", note=[{"text": "Repeated on a new specimen. Was 6.2."}]
    )
    conclusion = "Potassium within its range on a new specimen; the value of the first was due to haemolysis."
    interpreter = [_to("Practitioner/demo-doctor")]
    form = _form(
        "Laboratory report",
        "Comprehensive metabolic panel",
        [
            "*Corrected report",
            "Potassium 4.4 mmol/L (3.5 - 5.1), was 6.2",
            "The first specimen was haemolysed.",
            "All other results unchanged.",
        ],
    )
    last = version(
        codes, status="corrected", conclusion=conclusion, resultsInterpreter=interpreter, presentedForm=[form]
    )
    yield [right, last, _provenance()]


def _provenance() -> Json:
    laboratory = {"who": {"reference": "Organization/demo-laboratory"}, "type": {"text": "Author"}}
    return {
        "resourceType": "Provenance",
        "id": f"{CORRECTED}-provenance",
        "target": [_to(f"DiagnosticReport/{CORRECTED}")],
        "recorded": "2026-03-02T10:00:00Z",
        "activity": {"text": "Correction after a repeated measurement"},
        "agent": [laboratory, {"who": {"display": "Interface engine of the made-up hospital"}}],
    }


def _culture(at: datetime) -> list[Json]:
    id = "ada-culture"
    members = [
        _observation(
            f"{id}-{code}",
            at,
            _loinc(code, f"{name} susceptibility"),
            valueString=f"{concentration} µg/mL",
            interpretation=[{"coding": [{"system": _FLAGS, "code": flag}]}],
        )
        for code, (name, flag, concentration) in ANTIBIOTICS.items()
    ]
    organism = _observation(
        f"{id}-organism",
        at,
        _loinc("630-4", "Bacteria identified in urine by culture"),
        valueCodeableConcept={"text": "Escherichia coli, > 100 000 CFU/mL"},
        interpretation=[{"coding": [{"system": _FLAGS, "code": "POS"}]}],
        hasMember=[_to(f"Observation/{one['id']}") for one in members],
    )
    specimen = _specimen(f"{id}-specimen", at, "Urine, midstream")
    report = _report(
        id,
        at,
        _loinc("630-4", "Bacteria identified in urine by culture"),
        ("MB", "Microbiology"),
        specimen=[_to(f"Specimen/{specimen['id']}")],
        result=[_to(f"Observation/{organism['id']}")],
        conclusion="Significant growth of Escherichia coli.",
    )
    return [specimen, *members, organism, report]


# --- what is read, not measured


def _pathology(at: datetime) -> list[Json]:
    rows = "".join(
        f"<tr><td>{part}</td><td>{finding}</td></tr>"
        for part, finding in (
            ("Antrum", "Mild chronic gastritis"),
            ("Corpus", "Unremarkable"),
            ("H. pylori", "Not seen"),
        )
    )
    div = f'<div xmlns="http://www.w3.org/1999/xhtml"><h2>Gastric biopsies</h2><table>{rows}</table></div>'
    return [
        _report(
            "ada-pathology",
            at,
            _loinc("60568-3", "Pathology synoptic report"),
            ("SP", "Surgical pathology"),
            text={"status": "generated", "div": div},
            conclusion="Mild chronic gastritis. No Helicobacter pylori, no dysplasia.",
        )
    ]


def _form(title: str, subject: str, lines: Sequence[str]) -> Json:
    about = [f"Patient: Muster, Ada, born 17 Apr 1961, MR {NUMBER}", "", f"*{subject}", *lines, ""]
    content = page(title, [*about, "Made up for a demonstration: no such patient ever lived."])
    return {"contentType": "application/pdf", "title": title, "data": base64.b64encode(content).decode()}


def _images(today: datetime) -> Iterator[list[Json]]:
    """Radiology and cardiology, each with a letter as PDF."""
    studies = (
        ("30746-2", "XR Chest 2 views", ("RAD", "Radiology"), 2_480, "No acute cardiopulmonary finding."),
        ("24558-9", "US Abdomen", ("RUS", "Ultrasound"), 1_720, "Mild hepatic steatosis. No gallstones."),
        (
            "34552-0",
            "Echocardiogram, 2D",
            ("CUS", "Cardiac ultrasound"),
            960,
            "Normal systolic function, EF 62 %.",
        ),
        (
            "24627-2",
            "CT Chest with contrast",
            ("CT", "Computed tomography"),
            430,
            "No embolism. A 4 mm nodule: follow up.",
        ),
        ("30746-2", "XR Chest 2 views", ("RAD", "Radiology"), 60, "Nodule unchanged. No acute finding."),
    )
    for number, (code, name, section, days, finding) in enumerate(studies):
        form = _form(
            "Imaging report", name, ["*Finding", finding, "*Technique", "Standard views, made-up device."]
        )
        at = today - timedelta(days=days)
        more = {"conclusion": finding, "presentedForm": [form]}
        yield [
            _report(f"ada-image-{number}", at, _loinc(code, name), section, by="demo-imaging", **more),
        ]
