"""Small made-up worlds in which nearly everything nearly matches: few words, and evil ones among them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tests.oracle.values import span

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

Json = dict[str, Any]

BASE: Final = "https://dod.example/fhir/R4/lab/Production"
ELSEWHERE: Final = "https://elsewhere.example/fhir"
LOINC: Final = "http://loinc.org"
V2: Final = ("http://terminology.hl7.org/CodeSystem/v2-0074", "http://hl7.org/fhir/v2/0074")
# Alike but for the system, the case, or a character that a query must escape.
IDENTIFIER_SYSTEMS: Final = ("urn:ids", "urn:IDS", "urn:ids:more", None)
IDENTIFIER_VALUES: Final = ("A1", "a1", "A", "1", "A,1", "A|1", "urn:ids|A1", "A\\1", "A$1", "p1", "ö 1")
CODE_SYSTEMS: Final = (LOINC, "urn:codes", *V2, None)
FEW_CODES: Final = ("LAB", "lab", "58410-2")
"""Codes of what is observed: a composite asks for a code together with a value."""
CODES: Final = ("LAB", "lab", "58410-2", "8410-2", "a,b", "a|b", "a\\b", "a$b", "\\")
DISPLAYS: Final = ("Blood count", "blood  Count, automated", "Zählung", "O'Count", "Lab, count")
FAMILIES: Final = ("Müller", "Muller", "mull", "O'Brien", "Carreño Quiñones", "Smith-Jones", "Smith, J")
CITIES: Final = ("Köln", "St. John's", "koln", "Frankfurt am Main")
PHONES: Final = ("555-1", "a@b.example", "A@B.example", "555|1")
URLS: Final = ("urn:file", "urn:File", "Binary/1")
NARRATIVES: Final = ("<b>Blood</b>&amp;Count", "Z&#228;hlung, O'Count", "<p>Smith</p><p>Jones</p>", "final")
GIVENS: Final = ("Ana", "Ánna", "José", "Jo", "Mary Ann")
STATUSES: Final = ("final", "preliminary", "amended", "entered-in-error")
DATES: Final = (
    "2019",
    "2020",
    "2020-01",
    "2020-02",
    "2020-02-29",
    "2019-12-31",
    "2020-01-01",
    "2020-01-01T00:00:00Z",
    "2020-01-01T00:00:00.000Z",
    "2020-01-01T01:00:00+01:00",
    "2019-12-31T23:59:59.999Z",
    "2019-12-31T23:59:59Z",
    "2019-12-31T22:30:00-05:00",
    "2020-01-31T23:59:59.999-02:00",
    "2020-02-29T12:00:00.5Z",
)
INSTANTS: Final = tuple(date for date in DATES if "T" in date)
TAGS: Final = ("t1", "t2", "a|b")
PROFILES: Final = ("http://example.org/p", "http://example.org/P", "http://example.org/p,q")
NUMBERS: Final = (5, 5.4, 5.35, 5.45, 5.0, 100, 99.5, 0, -5.4)
UNITS: Final = ("mg", "mL", "mg/dL")
UCUM: Final = "http://unitsofmeasure.org"
IDS: Final[dict[str, Sequence[str]]] = {
    "Patient": ("p1", "p2", "p3", "p4", "P1", "x1"),
    "Organization": ("g1", "g2", "x1"),
    "Practitioner": ("d1", "d2", "x1"),
    "Encounter": ("e1", "e2", "e3"),
    "ServiceRequest": ("o1", "o2", "o3", "A1"),
    "Specimen": ("s1", "s2"),
    "Observation": tuple(f"b{n}" for n in range(1, 13)),
    "DocumentReference": ("f1", "f2", "f3", "f4", "f5"),
    "Media": ("m1", "m2"),
    "Provenance": ("v1", "v2", "v3", "v4"),
    "DiagnosticReport": tuple(f"r{n}" for n in range(1, 26)),
}
"""Ids of what may be stored; a reference may also name what never arrives."""
REFERRED: Final = {
    **{type: (*ids, "absent") for type, ids in IDS.items()},
    "Group": ("x1",),
    "Device": ("p1",),
}


class Maker:
    """Makes resources from one source of chance."""

    def __init__(self, random: Random) -> None:
        self.random = random

    def one(self, choices: Sequence[Any]) -> Any:
        return self.random.choice(choices)

    def chance(self, likelihood: float) -> bool:
        return self.random.random() < likelihood

    def some(self, make: Callable[[], Any], most: int = 2) -> list[Any]:
        return [make() for _ in range(self.random.randint(1, most))]

    def maybe(self, likelihood: float, **elements: Callable[[], Any]) -> Json:
        """Each element is there or not."""
        return {name: make() for name, make in elements.items() if self.chance(likelihood)}

    def resource(self, type: str, id: str) -> Json:
        made = {"resourceType": type, "id": id, **getattr(self, f"_{type}")()}
        tag = {"system": self.one(("urn:tags", "urn:codes")), "code": self.one(TAGS)}
        meta = self.maybe(
            0.3,
            tag=lambda: [tag],
            security=lambda: self.some(self._coding),
            source=lambda: self.one(URLS),
            profile=lambda: self.some(lambda: self.one(PROFILES)),
        )
        made |= self.maybe(0.1, text=self._narrative)
        return {**made, "meta": meta} if meta else made

    # --- data types

    def _identifier(self) -> Json:
        system = self.one(IDENTIFIER_SYSTEMS)
        made = {"value": self.one(IDENTIFIER_VALUES), **({"system": system} if system else {})}
        if self.chance(0.3):
            made["type"] = {
                "coding": [{"system": self.one(V2), "code": self.one(("MR", "mr", "a|b"))}],
                **self.maybe(0.5, text=lambda: self.one(DISPLAYS)),
            }
        return made

    def _coding(self) -> Json:
        system = self.one(CODE_SYSTEMS)
        made = {"code": self.one(CODES)} if system is None or self.chance(0.95) else {}
        if system:
            made["system"] = system
        return {**made, **self.maybe(0.3, display=lambda: self.one(DISPLAYS))}

    def _concept(self) -> Json:
        if self.chance(0.08):
            return {"text": self.one(DISPLAYS)}
        return {"coding": self.some(self._coding), **self.maybe(0.3, text=lambda: self.one(DISPLAYS))}

    def _reference(self, *types: str) -> Json:
        type = self.one(types)
        relative = f"{type}/{self.one(REFERRED[type])}"
        shape = self.random.random()
        if shape < 0.08:
            made = {"identifier": self._identifier()}
            return {**made, "type": type} if self.chance(0.5) else made
        text = relative
        if shape < 0.16:
            text = f"{BASE}/{relative}"
        elif shape < 0.22:
            text = f"{ELSEWHERE}/{relative}"
        elif shape < 0.30:
            text = f"{relative}/_history/{self.one('12')}"
        elif shape < 0.33:
            return {"display": "Somebody"}
        elif shape < 0.35:
            text = "urn:uuid:0c2ff5eb-0000-4000-8000-000000000001"
        more = self.maybe(0.1, identifier=self._identifier)
        return {"reference": text, **more}

    def _observed(self) -> Json:
        concept = self._concept()
        return {**concept, "coding": [{"system": LOINC, "code": self.one(FEW_CODES)}]}

    def _narrative(self) -> Json:
        div = f'<div xmlns="http://www.w3.org/1999/xhtml">{self.one(NARRATIVES)}</div>'
        return {"status": "generated", "div": div}

    def _timing(self) -> Json:
        bounds = {"repeat": {"boundsPeriod": self._period()}}
        events = {"event": self.some(lambda: self.one(DATES))}
        return dict(self.one((bounds, events, bounds | events)))

    def _when(self, name: str, *kinds: str) -> Json:
        """Value of one of the kinds of a choice, or nothing."""
        made: dict[str, Callable[[], Any]] = {
            "DateTime": lambda: self.one(DATES),
            "Instant": lambda: self.one(INSTANTS),
            "Period": self._period,
            "Timing": self._timing,
        }
        kind = self.one((*kinds, kinds[0], ""))
        return {f"{name}{kind}": made[kind]()} if kind else {}

    def _concepts(self) -> list[Json]:
        return self.some(self._concept)

    def _address(self) -> Json:
        return self.maybe(
            0.6,
            use=lambda: self.one(("home", "work")),
            text=lambda: "1 Köln-Straße",
            line=lambda: self.some(lambda: self.one(CITIES)),
            city=lambda: self.one(CITIES),
            state=lambda: self.one(("NY", "ny", "N Y")),
            postalCode=lambda: self.one(("12345", "12345-6")),
            country=lambda: self.one(("DE", "de")),
        ) or {"city": "Köln"}

    def _telecom(self) -> Json:
        system = self.one(("phone", "email", "fax", None))
        return {"value": self.one(PHONES), **({"system": system} if system else {})}

    def _person(self) -> Json:
        return self.maybe(
            0.6,
            identifier=self._identifiers,
            name=lambda: self.some(self._name),
            gender=lambda: self.one(("male", "female")),
            active=lambda: self.chance(0.5),
            telecom=lambda: self.some(self._telecom),
            address=lambda: self.some(self._address),
        )

    def _references(self, *types: str) -> Callable[[], list[Json]]:
        return lambda: self.some(lambda: self._reference(*types))

    def _period(self) -> Json:
        first, last = sorted((self.one(DATES), self.one(DATES)), key=span)
        if "T" in last and span(first)[1] > span(last)[1]:
            last = first  # A day that ends at a time of it is refused: per-1 does not hold.
        return dict(self.one(({"start": first, "end": last}, {"start": first}, {"end": last})))

    def _name(self) -> Json:
        return {
            "family": self.one(FAMILIES),
            **self.maybe(0.6, given=lambda: self.some(lambda: self.one(GIVENS))),
            **self.maybe(0.1, text=lambda: "Dr. Ana Muller", prefix=lambda: ["Dr."]),
        }

    def _identifiers(self) -> list[Json]:
        return self.some(self._identifier)

    def _subject(self) -> Json:
        return self._reference("Patient", "Patient", "Patient", "Patient", "Group", "Device")

    # --- resources

    def _Patient(self) -> Json:  # noqa: N802 -- named for the type
        dead = self.one(
            ({"deceasedBoolean": self.chance(0.5)}, {"deceasedDateTime": self.one(DATES)}, {}, {})
        )
        return {
            **self._person(),
            **dead,
            **self.maybe(
                0.5,
                birthDate=lambda: self.one(("1980", "1980-05", "1980-05-05", "1990-01-01")),
                managingOrganization=lambda: self._reference("Organization"),
                generalPractitioner=self._references("Practitioner", "Organization"),
                communication=lambda: [{"language": self._concept()}],
                link=lambda: [{"type": "seealso", "other": self._reference("Patient")}],
            ),
        }

    def _Practitioner(self) -> Json:  # noqa: N802
        return {**self._person(), **self.maybe(0.3, communication=self._concepts)}

    def _Organization(self) -> Json:  # noqa: N802
        return self.maybe(
            0.6,
            identifier=self._identifiers,
            active=lambda: self.chance(0.5),
            name=lambda: self.one(FAMILIES),
            alias=lambda: self.some(lambda: self.one(FAMILIES)),
            type=self._concepts,
            address=lambda: self.some(self._address),
            partOf=lambda: self._reference("Organization"),
        )

    def _Encounter(self) -> Json:  # noqa: N802
        return {
            "status": self.one(("finished", "planned")),
            "class": {"system": "urn:codes", "code": self.one(CODES)},
            **self.maybe(
                0.6,
                identifier=self._identifiers,
                period=self._period,
                subject=lambda: self._reference("Patient"),
                serviceProvider=lambda: self._reference("Organization"),
                type=self._concepts,
                reasonCode=self._concepts,
                partOf=lambda: self._reference("Encounter"),
                participant=lambda: self.some(self._participant),
                length=self._quantity,
            ),
        }

    def _participant(self) -> Json:
        return self.maybe(0.8, type=self._concepts, individual=lambda: self._reference("Practitioner")) or {
            "type": self._concepts()
        }

    def _ServiceRequest(self) -> Json:  # noqa: N802
        return {
            "status": self.one(("active", "completed")),
            "intent": self.one(("order", "plan")),
            "subject": self._subject(),
            **self._when("occurrence", "DateTime", "Period", "Timing"),
            **self.maybe(
                0.5,
                identifier=self._identifiers,
                requisition=self._identifier,
                code=self._concept,
                category=self._concepts,
                bodySite=self._concepts,
                priority=lambda: self.one(("stat", "routine")),
                authoredOn=lambda: self.one(DATES),
                encounter=lambda: self._reference("Encounter"),
                requester=lambda: self._reference("Practitioner", "Organization"),
                basedOn=self._references("ServiceRequest"),
                specimen=self._references("Specimen"),
            ),
        }

    def _Specimen(self) -> Json:  # noqa: N802
        collection = {
            **self._when("collected", "DateTime", "Period"),
            **self.maybe(0.5, collector=lambda: self._reference("Practitioner"), bodySite=self._concept),
        }
        return {
            **({"collection": collection} if collection else {}),
            **self.maybe(
                0.6,
                identifier=self._identifiers,
                accessionIdentifier=self._identifier,
                status=lambda: self.one(("available", "unavailable")),
                type=self._concept,
                subject=lambda: self._reference("Patient"),
                parent=self._references("Specimen"),
                container=lambda: [{"type": self._concept(), "identifier": self._identifiers()}],
            ),
        }

    def _value(self) -> Json:
        return dict(
            self.one(
                (
                    {"valueQuantity": self._quantity()},
                    {"valueQuantity": self._quantity()},
                    {"valueCodeableConcept": self._concept()},
                    {"dataAbsentReason": self._concept()},
                    {},
                )
            )
        )

    def _Observation(self) -> Json:  # noqa: N802
        value = self.one(
            (
                self._value(),
                self._value(),
                {"valueString": self.one(DISPLAYS)},
                self._when("value", "DateTime", "Period"),
            )
        )
        return {
            "status": self.one(STATUSES),
            "code": self._observed(),
            **value,
            **self._when("effective", "DateTime", "Period", "Instant", "Timing"),
            **self.maybe(0.8, subject=self._subject),
            **self.maybe(
                0.4,
                identifier=self._identifiers,
                category=self._concepts,
                method=self._concept,
                encounter=lambda: self._reference("Encounter"),
                performer=self._references("Practitioner", "Organization"),
                specimen=lambda: self._reference("Specimen"),
                basedOn=self._references("ServiceRequest"),
                hasMember=self._references("Observation"),
                component=lambda: self.some(lambda: {"code": self._observed(), **self._value()}),
            ),
        }

    def _DocumentReference(self) -> Json:  # noqa: N802
        attachment = self.maybe(
            0.7, contentType=lambda: self.one(("text/plain", "TEXT/plain")), url=lambda: self.one(URLS)
        )
        context = self.maybe(
            0.5,
            encounter=self._references("Encounter"),
            event=self._concepts,
            period=self._period,
            related=self._references("DiagnosticReport", "Observation"),
        )
        relation = ("replaces", "transforms", "appends")
        return {
            "status": "current",
            "content": [
                {"attachment": attachment or {"title": "Scan"}, **self.maybe(0.3, format=self._coding)}
            ],
            **({"context": context} if context else {}),
            **self.maybe(
                0.6,
                masterIdentifier=self._identifier,
                identifier=self._identifiers,
                type=self._concept,
                category=self._concepts,
                subject=lambda: self._reference("Patient"),
                date=lambda: self.one(INSTANTS),
                description=lambda: self.one(DISPLAYS),
                author=self._references("Practitioner", "Patient"),
                custodian=lambda: self._reference("Organization"),
                relatesTo=lambda: self.some(
                    lambda: {"code": self.one(relation), "target": self._reference("DocumentReference")}
                ),
            ),
        }

    def _Media(self) -> Json:  # noqa: N802
        return {
            "status": "completed",
            "content": {"title": self.one(DISPLAYS)},
            **self._when("created", "DateTime", "Period"),
            **self.maybe(
                0.5,
                identifier=self._identifiers,
                type=self._concept,
                modality=self._concept,
                view=self._concept,
                bodySite=self._concept,
                subject=lambda: self._reference("Patient", "Specimen"),
                operator=lambda: self._reference("Practitioner"),
                basedOn=self._references("ServiceRequest"),
                encounter=lambda: self._reference("Encounter"),
            ),
        }

    def _Provenance(self) -> Json:  # noqa: N802
        agent = {
            "who": self._reference("Practitioner", "Organization"),
            **self.maybe(0.5, type=self._concept, role=self._concepts),
        }
        return {
            "target": self.some(
                lambda: self._reference("DiagnosticReport", "DiagnosticReport", "Observation", "Patient")
            ),
            "recorded": self.one(INSTANTS),
            "agent": [agent],
            **self.maybe(0.5, occurredDateTime=lambda: self.one(DATES)),
        }

    def _quantity(self) -> Json:
        unit = self.one(UNITS)
        return {
            "value": self.one(NUMBERS),
            **self.one(({}, {"unit": unit}, {"system": UCUM, "code": unit}, {"unit": "mg", "code": unit})),
        }

    def _DiagnosticReport(self) -> Json:  # noqa: N802
        when = self.one(
            (
                {"effectiveDateTime": self.one(DATES)},
                {"effectiveDateTime": self.one(DATES)},
                {"effectivePeriod": self._period()},
                {},
            )
        )
        made = {
            "status": self.one(STATUSES),
            "code": self._concept(),
            **when,
            **self.maybe(0.85, subject=self._subject),
            **self.maybe(
                0.5,
                identifier=self._identifiers,
                category=lambda: self.some(self._concept),
                issued=lambda: self.one(INSTANTS),
                basedOn=self._references("ServiceRequest"),
                encounter=lambda: self._reference("Encounter"),
                result=self._references("Observation"),
            ),
            **self.maybe(
                0.3,
                conclusionCode=lambda: self.some(self._concept),
                specimen=self._references("Specimen"),
                media=lambda: [{"link": self._reference("Media")}],
                performer=self._references("Practitioner", "Organization"),
                resultsInterpreter=self._references("Practitioner", "Organization"),
            ),
        }
        return self._containing(made) if self.chance(0.15) else made

    def _containing(self, report: Json) -> Json:
        """A subject, or an order, within the report itself."""
        inner = {"resourceType": "Patient", "id": "c1", **self._Patient()}
        order = {"resourceType": "ServiceRequest", "id": "c2", **self._ServiceRequest()}
        more = self.maybe(0.3, basedOn=lambda: [{"reference": "#c2"}])
        return {**report, "contained": [inner, order], "subject": {"reference": "#c1"}, **more}


def first(random: Random) -> list[Json]:
    """Resources pushed to begin with; some of the targets come later, or never."""
    maker = Maker(random)
    made = [
        maker.resource(type, id)
        for type, ids in IDS.items()
        for id in ids
        if type == "DiagnosticReport" or maker.chance(0.8)
    ]
    random.shuffle(made)
    return made


def change(random: Random) -> Json | tuple[str, str]:
    """Something new or changed, or the type and id of what is to be deleted."""
    type = random.choice([*IDS, "DiagnosticReport", "Patient"])
    id = random.choice(IDS[type])
    return (type, id) if random.random() < 0.3 else Maker(random).resource(type, id)
