"""Small made-up worlds in which nearly everything nearly matches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.oracle.search import words
from tests.oracle.search.datatypes import DatatypeMaker

if TYPE_CHECKING:
    from random import Random

Json = dict[str, Any]


class Maker(DatatypeMaker):
    """Makes resources."""

    def resource(self, type: str, id: str) -> Json:
        made = {"resourceType": type, "id": id, **getattr(self, f"_{type}")()}
        tag = {"system": self.one(("urn:tags", "urn:codes")), "code": self.one(words.TAGS)}
        meta = self.maybe(
            0.3,
            tag=lambda: [tag],
            security=lambda: self.some(self._coding),
            source=lambda: self.one(words.URLS),
            profile=lambda: self.some(lambda: self.one(words.PROFILES)),
        )
        made |= self.maybe(0.1, text=self._narrative)
        return {**made, "meta": meta} if meta else made

    def _Patient(self) -> Json:  # noqa: N802 -- named for the type
        dead = self.one(
            ({"deceasedBoolean": self.chance(0.5)}, {"deceasedDateTime": self.one(words.DATES)}, {}, {})
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
            name=lambda: self.one(words.FAMILIES),
            alias=lambda: self.some(lambda: self.one(words.FAMILIES)),
            type=self._concepts,
            address=lambda: self.some(self._address),
            partOf=lambda: self._reference("Organization"),
        )

    def _Encounter(self) -> Json:  # noqa: N802
        return {
            "status": self.one(("finished", "planned")),
            "class": {"system": "urn:codes", "code": self.one(words.CODES)},
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
                authoredOn=lambda: self.one(words.DATES),
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
                {"valueString": self.one(words.DISPLAYS)},
                self._when("value", "DateTime", "Period"),
            )
        )
        return {
            "status": self.one(words.STATUSES),
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
            0.7, contentType=lambda: self.one(("text/plain", "TEXT/plain")), url=lambda: self.one(words.URLS)
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
                date=lambda: self.one(words.INSTANTS),
                description=lambda: self.one(words.DISPLAYS),
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
            "content": {"title": self.one(words.DISPLAYS)},
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
            "recorded": self.one(words.INSTANTS),
            "agent": [agent],
            **self.maybe(0.5, occurredDateTime=lambda: self.one(words.DATES)),
        }

    def _DiagnosticReport(self) -> Json:  # noqa: N802
        when = self.one(
            (
                {"effectiveDateTime": self.one(words.DATES)},
                {"effectiveDateTime": self.one(words.DATES)},
                {"effectivePeriod": self._period()},
                {},
            )
        )
        made = {
            "status": self.one(words.STATUSES),
            "code": self._concept(),
            **when,
            **self.maybe(0.85, subject=self._subject),
            **self.maybe(
                0.5,
                identifier=self._identifiers,
                category=lambda: self.some(self._concept),
                issued=lambda: self.one(words.INSTANTS),
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
        for type, ids in words.IDS.items()
        for id in ids
        if type == "DiagnosticReport" or maker.chance(0.8)
    ]
    random.shuffle(made)
    return made


def change(random: Random) -> Json | tuple[str, str]:
    """Something new or changed, or the type and id of what is to be deleted."""
    type = random.choice([*words.IDS, "DiagnosticReport", "Patient"])
    id = random.choice(words.IDS[type])
    return (type, id) if random.random() < 0.3 else Maker(random).resource(type, id)
