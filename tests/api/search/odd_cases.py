"""Odd resources and odd searches, with the answers that R4's text gives by hand: a row is a search."""

from __future__ import annotations

from typing import Final, NamedTuple

from tests.support.fhir import Json, coded, identified, refers, resource

_V2: Final = "http://terminology.hl7.org/CodeSystem/v2-0203"
UCUM: Final = "http://unitsofmeasure.org"


class Odd(NamedTuple):
    """Row: the type, the query, the ids of its matches in any order."""

    type: str
    query: str
    found: str


def _report(id: str, **elements: object) -> Json:
    return resource("DiagnosticReport", id, **{"status": "final", "code": coded("58410-2"), **elements})


def _result(id: str, value: object = None, **elements: object) -> Json:
    measured = {} if value is None else {"valueQuantity": {"value": value, "unit": "mg/dL", **elements}}
    return resource("Observation", id, status="final", code=coded("718-7"), **(measured or elements))


def _role(id: str, **elements: object) -> Json:
    return resource("PractitionerRole", id, practitioner=refers("Practitioner/doc"), **elements)


_ABSENT: Final = {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason"}]}
_JANUARY: Final = {"start": "2020-01-01", "end": "2020-01-31"}
_MARCH: Final = {"start": "2020-03-01", "end": "2020-03-31"}

NAMES: Final = (
    resource("Patient", "pole", name=[{"family": "Łukasz", "given": ["Søren", "Ægir"]}]),
    resource("Patient", "isle", name=[{"family": "Ka\u02bbahumanu"}, {"text": "O\u00b4Brien"}]),
    resource(
        "Patient", "soft", name=[{"family": "ﬁnch"}, {"family": "Stra\u00adße"}, {"text": "\u0130stanbul"}]
    ),
    resource(
        "Patient", "old", name=[{"use": "old", "family": "Maiden"}, {"family": "Smith-Ng", "suffix": ["III"]}]
    ),
    resource("Patient", "two", birthDate="1990-05", active=False, deceasedDateTime="2020"),
    resource("Patient", "one", birthDate="1990-05-17", deceasedBoolean=False, gender="unknown"),
    resource(
        "Patient", "met", deceasedBoolean=True, link=[{"other": refers("Patient/one"), "type": "seealso"}]
    ),
    resource(
        "Patient",
        "home",
        address=[{"line": ["12 Main St."], "city": "São Paulo", "postalCode": "01000-000", "use": "home"}],
        telecom=[{"system": "email", "value": "A@b.c"}, {"system": "phone", "value": "555 1"}],
    ),
)
NAME_CASES: Final = tuple(
    Odd("Patient", query, found)
    for query, found in (
        *(("name=lukasz", "pole"), ("name=Ł", "pole"), ("name=soren", "pole"), ("given=aegir", "pole")),
        *(("name=kaahumanu", "isle"), ("name=o'brien", "isle"), ("name:exact=obrien", "")),
        *(("name=finch", "soft"), ("name=STRASSE", "soft"), ("name=istanbul", "soft")),
        *(("name=maiden", "old"), ("family=ng", "old"), ("name=iii", "old"), ("name:contains=mith", "old")),
        *(
            ("birthdate=1990", "two one"),
            ("birthdate=1990-05-17", "one"),
            ("birthdate=ge1990-05-17", "two one"),
        ),
        *(("birthdate=sa1990-05-16", "one"), ("birthdate:missing=false", "two one")),
        *(
            ("deceased=true", "two met"),
            ("deceased:not=true&birthdate=1990", "one"),
            ("death-date=2020", "two"),
        ),
        *(("active=false", "two"), ("active:not=false&birthdate=1990", "one"), ("gender=UNKNOWN", "one")),
        *(
            ("link=one", "met"),
            ("link:Patient.gender=unknown", "met"),
            ("_has:Patient:link:deceased=true", "one"),
        ),
        *(("address=sao", "home"), ("address=12 main", "home"), ("address-postalcode=01000", "home")),
        *(
            ("address-use=HOME", "home"),
            ("telecom=a@B.c", "home"),
            ("phone=a@b.c", ""),
            ("phone=555 1", "home"),
        ),
    )
)

VALUES: Final = (
    _result("exact", 5.4, system=UCUM, code="mg/dL"),
    _result("below", 5.35, comparator="<"),
    _result("least", 5, comparator=">="),
    _result("above", 5, comparator=">"),
    _result("seven", 7),
    _result("tiny", 1e-9),
    _result("huge", 1e20),
    _result("zero", 0),
    _result("minus", -3),
    _result("why", dataAbsentReason=coded("unknown", "urn:why")),
    _result("unsaid", valueQuantity={"_value": _ABSENT, "unit": "mg"}),
    _result(
        "parts",
        component=[
            {"code": coded("8480-6"), "valueQuantity": {"value": 120}},
            {"code": coded("8462-4"), "valueQuantity": {"value": 80}},
        ],
    ),
    _result("events", effectiveTiming={"event": ["2019-01-01", "2019-06-01"]}),
    _result("since", effectiveTiming={"repeat": {"boundsPeriod": {"start": "2018-01-01"}}}),
    _result("often", effectiveTiming={"code": {"text": "BID"}}),
)
VALUE_CASES: Final = tuple(
    Odd("Observation", query, found)
    for query, found in (
        *(
            ("value-quantity=5.4", "exact"),
            ("value-quantity=5.4||mg/dL", "exact"),
            ("value-quantity=0", "tiny zero"),
        ),
        *(("value-quantity=lt-2", "below minus"), ("value-quantity=eb5.35&_id=below,zero", "below zero")),
        *(
            ("value-quantity=sa5", "exact above seven huge"),
            ("value-quantity=ge5&_id=least,above", "least above"),
        ),
        *(("value-quantity=le5&_id=least,above", "least"), ("value-quantity=5&_id=least,above,below", "")),
        *(
            ("value-quantity=1e-9", "tiny"),
            ("value-quantity=0.000000001", "tiny"),
            ("value-quantity=1e20", "huge"),
            ("value-quantity=100000000000000000000", "huge"),
        ),
        *((f"value-quantity=gt5|{UCUM}|mg/dL", "exact"), (f"value-quantity=5.4|{UCUM}|", "exact")),
        ("value-quantity:missing=true&_id=exact,why,unsaid,zero", "why unsaid"),
        ("value-quantity=ne0&_id=exact,unsaid,zero", "exact"),
        *(
            ("component-code-value-quantity=8480-6$120", "parts"),
            ("component-code-value-quantity=8480-6$80", ""),
        ),
        ("combo-code-value-quantity=8480-6$gt100,718-7$7", "parts seven"),
        (f"code-value-quantity=http://loinc.org|718-7$5.4|{UCUM}|mg/dL", "exact"),
        *(("date=2019", "events"), ("date=eb2018-06", ""), ("date=ge2019-06-02", "since")),
        ("date:missing=true&_id=events,since,often", "often"),
    )
)

REPORTS: Final = (
    resource("Patient", "1", name=[{"family": "Real"}], identifier=[identified("urn:m", "1")]),
    resource("Practitioner", "doc", name=[{"family": "House"}], identifier=[identified("urn:npi", "77")]),
    _role("role"),
    _report("inner", subject=refers("#1"), contained=[resource("Patient", "1", name=[{"family": "Other"}])]),
    _report("plain", subject=refers("Patient/1"), performer=[refers("PractitionerRole/role")]),
    _report("version", subject=refers("Patient/1/_history/1")),
    _report("mine", subject=refers("{BASE}/Patient/1")),
    _report("theirs", subject=refers("http://other.example/fhir/Patient/1")),
    _report("both", subject={**refers("Patient/1"), "identifier": identified("urn:m", "5")}),
    _report("urn", subject={**refers("urn:uuid:7d2b0c1e-0000-4000-8000-000000000001"), "type": "Patient"}),
    _report("said", subject={"display": "John"}),
    _report("codes", category=[{"coding": [{"system": "urn:c", "code": "A"}]}, {"coding": [{"code": "C"}]}]),
    _report("bare", category=[{"coding": [{"system": "urn:c"}]}], meta={"profile": ["http://x/p|1.0"]}),
    _report(
        "words", category=[{"text": "Only words"}], code={"coding": [{"system": "urn:c", "display": "Shown"}]}
    ),
    _report(
        "numbers",
        identifier=[
            {"type": coded("FILL", _V2), "value": "F1"},
            {"type": coded("PLAC", _V2), "value": "P1"},
        ],
    ),
    _report("first", effectiveDateTime="0001"),
    _report("last", effectiveDateTime="9999-12-31T23:59:59Z"),
    _report("leap", effectiveDateTime="2016-12-31T23:59:60Z"),
    _report("east", effectivePeriod={"start": "2020-03-01T10:00:00+14:00"}),
    _report("west", effectivePeriod={"end": "2020-03-01T10:00:00-12:00"}),
    resource(
        "Encounter",
        "stay",
        status="finished",
        **{"class": {"code": "IMP"}},
        location=[
            {"location": refers("Location/a"), "period": _JANUARY},
            {"location": refers("Location/b"), "period": _MARCH},
        ],
    ),
    resource("Encounter", "none", status="finished", **{"class": {"code": "AMB"}}),
    resource(
        "List", "list", status="current", mode="working", entry=[{"item": refers("DiagnosticReport/first")}]
    ),
    resource(
        "Provenance",
        "note",
        target=[refers("DiagnosticReport/first/_history/1")],
        recorded="2020-01-01T00:00:00Z",
        agent=[{"who": refers("Practitioner/doc")}],
    ),
)
REPORT_CASES: Final = (
    *(
        Odd("DiagnosticReport", query, found)
        for query, found in (
            ("patient._id=1", "plain version mine both"),
            ("patient=1", "plain version mine both"),
            ("patient=Patient/1/_history/1", "version"),
            ("patient={BASE}/Patient/1", "plain version mine both"),
            ("patient=http://other.example/fhir/Patient/1", "theirs"),
            ("patient=urn:uuid:7d2b0c1e-0000-4000-8000-000000000001", "urn"),
            *(("patient.name=real", "plain version mine both"), ("patient.name=other", "inner")),
            *(("patient.identifier=urn:m|5", "both"), ("subject:identifier=urn:m|5", "both")),
            *(("patient.identifier=urn:m|1", "plain version mine both"), ("patient.identifier=|1", "")),
            ("subject:missing=true&_id=said,urn,theirs,codes", "codes"),
            *(("performer.practitioner.name=house", "plain"), ("performer.name=house", "")),
            *(("category=urn:c|a", "codes"), ("category=|C", "codes"), ("category=a&category=c", "codes")),
            *(("category=urn:c|C", ""), ("category=urn:c|", "codes bare"), ("category:text=only", "words")),
            ("category:not=A&_id=codes,bare,plain", "bare plain"),
            ("category:missing=true&_id=codes,bare,words,plain", "plain"),
            *(("code=urn:c|", "words"), ("code:text=shown", "words"), ("code=shown", "")),
            *(
                ("_profile=http://x/p", "bare"),
                ("_profile=http://x/p|1.0", "bare"),
                ("_profile=http://x/p|2", ""),
            ),
            *(("identifier=|F1", "numbers"), (f"identifier:of-type={_V2}|fill|F1", "numbers")),
            (f"identifier:of-type={_V2}|FILL|P1", ""),
            *(("date=0001", "first"), ("date=lt0002", "first west"), ("date=9999-12-31", "last")),
            *(("date=2017-01-01T00:00:00Z", "leap"), ("date=2016-12-31", "")),
            *(
                ("date=sa2020-02-29T19:59:59Z", "east last"),
                ("date=eb2020-03-01T22:00:01Z", "first leap west"),
            ),
            *(("_has:List:item:_id=list", "first"), ("_has:Provenance:target:_id=note", "first")),
            *(("_id=FIRST", ""), ("_id=first,first", "first"), ("_id=first&_id=last", "")),
            ("status=http://hl7.org/fhir/diagnostic-report-status|final&_id=first", "first"),
            ("status=|final", ""),
        )
    ),
    Odd("List", "item:DiagnosticReport.date=0001", "list"),
    Odd("Provenance", "target=DiagnosticReport/first", "note"),
    Odd("Provenance", "target=DiagnosticReport/first/_history/2", ""),
    # Each stay at a place is asked for by itself.
    *(
        Odd("Encounter", f"location-period={date}", found)
        for date, found in (
            *(("2020-01", "stay"), ("2020-03", "stay"), ("2020-02", ""), ("sa2020-02", "stay")),
            *(("eb2020-02", "stay"), ("ap2020-02-15T00:00:00Z", "stay"), ("ne2020", ""), ("ge2020-04", "")),
        )
    ),
    Odd("Encounter", "location-period:missing=true", "none"),
    Odd("Encounter", "location-period=sa2019-12&location-period=eb2020-02", "stay"),
)
RESOURCES: Final = (*NAMES, *VALUES, *REPORTS)
CASES: Final = (*NAME_CASES, *VALUE_CASES, *REPORT_CASES)
