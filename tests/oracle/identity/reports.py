"""Statements of a message about one report and all that it leads to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tests.oracle.identity.hospital import Hold, Said, coded, moment, number, to

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from tests.oracle.identity.hospital import Person

Json = dict[str, Any]

PANELS: Final = {"58410-2": ("718-7", "789-8"), "24323-8": ("2823-3", "2951-2"), "600-7": ("634-6",)}
"""Reports and the results that they bring."""
NAMES: Final = ("Reed", "Stone", "Lake")


class Result(NamedTuple):
    """A result within a report."""

    thing: str
    code: str
    value: str
    numbers: tuple[Json, ...] = ()
    hold: Hold = Hold.EXACT
    members: tuple[str, ...] = ()


class Version(NamedTuple):
    """Statement about a report at one time."""

    name: str
    """Name in the world: it stays when number, code or patient are corrected."""
    edition: int
    code: str
    status: str
    person: Person
    numbers: tuple[Json, ...]
    effective: int | None
    results: tuple[Result, ...]
    specimen: Json | None = None
    order: str | None = None


def marker(name: str, edition: int) -> str:
    """The conclusion of a report, by which the check knows it again."""
    return f"{name} edition {edition}"


class Companions:
    """Says what a report leads to; each source has its habits of numbers, each edition its own texts."""

    def __init__(self, rng: Random, *, numbered: bool, counted: bool = False) -> None:
        """`counted`: visits are counted for each patient, whom they do not name."""
        self._rng = rng
        self._numbered = numbered
        self._counted = counted

    def told(self, version: Version, minute: int, *, group: int) -> list[Said]:
        """The report and its companions, as a message of this minute has them."""
        person = version.person.at(minute, group=group)
        report: Json = {
            "resourceType": "DiagnosticReport",
            "status": version.status,
            "code": coded(version.code),
            "subject": to(person.thing),
            "conclusion": marker(version.name, version.edition),
        }
        if version.numbers:
            report["identifier"] = list(version.numbers)
        if version.effective is not None:
            report["effectiveDateTime"] = moment(version.effective)
        said = [person]
        said += self._results(report, version, group)
        for name, one in self._others(version, group):
            element: Any = {"link": to(one.thing)} if name == "media" else to(one.thing)
            report[name] = element if name == "encounter" else [element]
            said.append(one)
        if self._rng.random() < 0.3:
            report["presentedForm"] = [{"contentType": "text/plain", "data": "TWFkZSB1cA=="}]
        role = f"report-{version.code}"
        return [Said(f"DiagnosticReport {version.name}", report, Hold.EXACT, group, role), *said]

    def _results(self, report: Json, version: Version, group: int) -> list[Said]:
        made = [observed(one, version.person.thing, version.status, group) for one in version.results]
        inner = {member for one in version.results for member in one.members}
        if made:
            report["result"] = [to(one.thing) for one in made if one.thing not in inner]
        return made

    def _others(self, version: Version, group: int) -> Sequence[tuple[str, Said]]:
        rng, found = self._rng, []
        whose, subject = version.name, {"subject": to(version.person.thing)}
        if version.specimen is not None:
            body = {"resourceType": "Specimen", **subject, **version.specimen}
            own = body["identifier"][0]["value"] if "identifier" in body else None
            thing = f"Specimen {own} {version.person.name}" if own else f"Specimen of {whose}"
            hold = Hold.NEWER if own else Hold.EXACT
            found.append(("specimen", Said(thing, body, hold, group, "specimen")))
        if version.order is not None:
            found.append(("basedOn", self._order(version, group)))
        if rng.random() < 0.5:
            found.append(("resultsInterpreter", self._practitioner(group)))
        if rng.random() < 0.3:
            name = rng.choice(NAMES)
            body = {"resourceType": "Organization", "name": f"{name} Laboratory"}
            found.append(("performer", Said(f"Organization {name}", body, Hold.EXACT, group, "organization")))
        if rng.random() < 0.3:
            found.append(("encounter", self._encounter(version, group)))
        if rng.random() < 0.2:
            text = f"Scan {rng.randint(1, 99)} of {whose}"
            body = {"resourceType": "Media", "status": "completed", **subject, "content": {"title": text}}
            found.append(("media", Said(f"Media {text}", body, Hold.EXACT, group, "media")))
        return found

    def _order(self, version: Version, group: int) -> Said:
        body: Json = {
            "resourceType": "ServiceRequest",
            "status": self._rng.choice(("active", "completed")),
            "intent": "order",
            "subject": to(version.person.thing),
        }
        if not self._numbered:
            body["note"] = [{"text": f"For {version.name}"}]
            return Said(f"ServiceRequest of {version.name}", body, Hold.EXACT, group, "order")
        body["identifier"] = [number("placer", str(version.order), "PLAC")]
        thing = f"ServiceRequest {version.order} {version.person.name}"
        return Said(thing, body, Hold.NEWER, group, "order")

    def _practitioner(self, group: int) -> Said:
        name = self._rng.choice(NAMES)
        body: Json = {"resourceType": "Practitioner", "name": [{"family": name}]}
        if self._rng.random() < 0.4:
            body["identifier"] = [number("npi", f"NPI-{name}", "NPI")]
            return Said(f"Practitioner NPI {name}", body, Hold.NEWER, group, "practitioner")
        return Said(f"Practitioner {name}", body, Hold.EXACT, group, "practitioner")

    def _encounter(self, version: Version, group: int) -> Said:
        body: Json = {
            "resourceType": "Encounter",
            "status": "finished",
            "class": {"code": "AMB"},
            "subject": to(version.person.thing),
            "length": {"value": self._rng.randint(1, 99), "unit": "min"},
        }
        if self._counted:
            del body["subject"]
            body["identifier"] = [number("visit", "1", "VN")]
            return Said(f"Encounter of {version.name}", body, Hold.EXACT, group, "encounter")
        if self._numbered:
            body["identifier"] = [number("visit", f"V-{version.name}", "VN")]
        hold = Hold.NEWER if self._numbered else Hold.EXACT
        return Said(f"Encounter {version.name} {version.person.name}", body, hold, group, "encounter")


def observed(one: Result, subject: str, status: str, group: int) -> Said:
    """An observation as a message has it."""
    body: Json = {
        "resourceType": "Observation",
        "status": status if status in ("final", "corrected", "amended", "preliminary") else "final",
        "code": coded(one.code),
        "subject": to(subject),
        "valueString": one.value,
    }
    if one.numbers:
        body["identifier"] = list(one.numbers)
    if one.members:
        body["hasMember"] = [to(member) for member in one.members]
    return Said(one.thing, body, one.hold, group, f"obs-{one.code}")
