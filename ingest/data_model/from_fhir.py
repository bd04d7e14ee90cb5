"""Reports as orders of the Data Model, whatever they came as: the tables read backwards. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ingest.data_model import people
from ingest.data_model.codecs import CLASS, codings_of
from ingest.data_model.mapping import PLACE, RANGE, REPORT, REQUEST, RESULT, VISIT
from ingest.data_model.places import kind_of
from ingest.data_model.table import URN
from ingest.data_model.to_fhir import (
    COPIES,
    EFFECTIVE,
    FACILITY,
    FILE_TYPE,
    INTERPRETER,
    RESULT_OF,
    SPECIMEN,
    TIMED,
)
from ingest.data_model.values import read_value
from ingest.hl7v2.mapping.datatypes.documents import CONTENT_TYPES
from ingest.hl7v2.mapping.systems import V3

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.data_model.places import Element
    from ingest.data_model.table import Told

_FLAGS: Final = frozenset({"IsHispanic", "IsDeceased"})
_FILE_TYPES: Final = {media: name for name, media in reversed(list(CONTENT_TYPES.items()))}
"""The first name of each media type."""


class Reader:
    """Reads resources; `resolve` finds the one that a reference names, as far as the asker may see it."""

    def __init__(self, resolve: Callable[[str], Element | None]) -> None:
        self._resolve = resolve

    def order(self, report: Element) -> Told:
        """A report as an order, with its patient and visit."""
        request = self._first(report.get("basedOn"), "ServiceRequest") or {}
        told = REPORT.read(report) | REQUEST.read(request)
        told["ID"], told["ApplicationOrderID"] = _numbers(report, request)
        if any(one == TIMED for one in _extensions(report, EFFECTIVE, "Code")):
            told["CollectionDateTime"] = None
        told["Patient"] = self.patient(report.get("subject"))
        told["Visit"] = self._visit(self._first([report.get("encounter")], "Encounter"))
        told["Provider"] = people.read_provider(self._first([request.get("requester")], "Practitioner"))
        told["ResultCopyProviders"] = [
            people.read_provider(self._first([one], "Practitioner"))
            for one in _extensions(request, COPIES, "Reference")
        ]
        facility = next(iter(_extensions(request, FACILITY, "Reference")), None)
        told["OrderingFacility"] = people.read_organization(self._first([facility], "Organization"))
        results = self._results(report)
        told["Results"] = [one for one, _ in results]
        told["Specimen"] = self._specimen(report, [sample for _, sample in results])
        return told

    def patient(self, reference: Any) -> Told:  # noqa: ANN401 -- JSON
        """The patient that a report names; what is contained or logical, as far as it says something."""
        found = self._first([reference], "Patient")
        if found is not None:
            return people.read_patient(found)
        identifier = reference.get("identifier") if isinstance(reference, dict) else None
        return people.read_patient({"identifier": [identifier]} if isinstance(identifier, dict) else {})

    def _first(self, references: Any, kind: str) -> Element | None:  # noqa: ANN401 -- JSON
        for one in references or ():
            reference = one.get("reference") if isinstance(one, dict) else None
            found = self._resolve(reference) if isinstance(reference, str) else None
            if found is not None and found.get("resourceType") == kind:
                return found
        return None

    def _visit(self, encounter: Element | None) -> Told:
        resource = encounter or {}
        told: Told = {"VisitNumber": None, "AccountNumber": None, **VISIT.read(resource)}
        for number in resource.get("identifier", ()):
            name = "AccountNumber" if kind_of(number) == "AN" else "VisitNumber"
            told[name] = told[name] or number.get("value")
        told["PatientClass"] = _class(resource.get("class"))
        place: Element = next(iter(resource.get("location", ())), {})
        told["Location"] = PLACE.read(place)
        if not any(told["Location"].values()) and (words := place.get("location", {}).get("display")):
            told["Location"]["Facility"] = words
        for name, code in (("AttendingProvider", "ATND"), ("ReferringProvider", "REF")):
            who = [
                one.get("individual")
                for one in resource.get("participant", ())
                if any(
                    coding.get("code") == code for kind in one.get("type", ()) for coding in codings_of(kind)
                )
            ]
            told[name] = people.read_provider(self._first(who, "Practitioner"))
        return told

    def _results(self, report: Element) -> list[tuple[Told, str | None]]:
        """Results, each with the reference of its specimen; other documents are results of their own."""
        documents: dict[str, Element] = {}
        loose = []
        for one in report.get("presentedForm", ()):
            of = next(iter(_extensions(one, RESULT_OF, "Reference")), None)
            if isinstance(of, dict) and isinstance(of.get("reference"), str):
                documents[of["reference"]] = one
            else:
                loose.append(one)
        told: list[tuple[Told, str | None]] = []
        found = [
            (str(one.get("reference")), result)
            for one in report.get("result", ())
            if (result := self._first([one], "Observation")) is not None
        ]
        each = any(_extensions(one, INTERPRETER, "Reference") for _, one in found)
        interpreters = [] if each else report.get("resultsInterpreter", [])
        for url, one in found:
            sample = one.get("specimen", {}).get("reference")
            told.append((self._result(one, documents.get(url), interpreters), sample))
        told += [(self._loose(one, report), None) for one in loose]
        return told

    def _result(self, observation: Element, document: Element | None, interpreters: list[Element]) -> Told:
        told = RESULT.read(observation)
        told["ReferenceRange"] = RANGE.read(next(iter(observation.get("referenceRange", ())), {}))
        told["FileType"] = next(iter(_extensions(observation, FILE_TYPE, "String")), None)
        if document is None:
            told["Value"], told["ValueType"], told["Units"] = read_value(observation)
        else:
            told |= _document(document)
        told["Specimen"] = people.read_specimen(self._first([observation.get("specimen")], "Specimen"))
        told["Producer"] = people.read_organization(self._first(observation.get("performer"), "Organization"))
        told["Performer"] = people.read_provider(self._first(observation.get("performer"), "Practitioner"))
        who = _extensions(observation, INTERPRETER, "Reference") or interpreters
        told["PrimaryResultsInterpreter"] = people.read_provider(self._first(who, "Practitioner"))
        return told

    def _loose(self, document: Element, report: Element) -> Told:
        """Result of the Data Model, with the report's own code, for a document that no result stands for."""
        told = RESULT.read({"code": report.get("code", {}), "status": report.get("status")})
        told |= {"Units": None, "ReferenceRange": RANGE.read({}), **_document(document)}
        told["Specimen"], told["Producer"] = people.read_specimen(None), people.read_organization(None)
        told["Performer"] = people.read_provider(None)
        interpreters = report.get("resultsInterpreter", [])
        told["PrimaryResultsInterpreter"] = people.read_provider(self._first(interpreters, "Practitioner"))
        return told

    def _specimen(self, report: Element, of_results: list[str | None]) -> Told:
        """The specimen of the order itself: one that none of its results names, else none."""
        own = _extensions(report, SPECIMEN, "Reference")
        own = own or [one for one in report.get("specimen", ()) if one.get("reference") not in of_results]
        return people.read_specimen(self._first(own, "Specimen"))


def _extensions(element: Element, url: str, kind: str) -> list[Any]:
    found = element.get("extension", ())
    return [one[f"value{kind}"] for one in found if one.get("url") == url and f"value{kind}" in one]


def _numbers(report: Element, request: Element) -> tuple[str | None, str | None]:
    """The order's number and that of the filler: by type, by upstream's names of systems, else the first."""
    placer = filler = None
    loose = []
    for number in (*report.get("identifier", ()), *request.get("identifier", ())):
        kind, system, value = kind_of(number), str(number.get("system", "")), number.get("value")
        if kind == "FILL" or system.endswith(":ApplicationOrderID"):
            filler = filler or value
        elif kind == "PLAC" or system.endswith(":OrderID"):
            placer = placer or value
        elif not kind:
            loose.append(value)
    return placer or next(iter(loose), None), filler


def _class(coding: Any) -> str | None:  # noqa: ANN401 -- JSON
    if not isinstance(coding, dict) or coding.get("system") == f"{V3}NullFlavor":
        return None
    return CLASS.to_model(coding.get("code")) or coding.get("display") or coding.get("code")


def _document(attachment: Element) -> Told:
    """A presented document as a result's value: its base64, else where it is."""
    kind = next(iter(_extensions(attachment, f"{URN}ValueType", "String")), None)
    file_type = next(iter(_extensions(attachment, FILE_TYPE, "String")), None)
    media = str(attachment.get("contentType", "")).partition(";")[0]
    return {
        "Value": attachment.get("data") or attachment.get("url"),
        "ValueType": kind or "Encapsulated Data",
        "FileType": file_type or _FILE_TYPES.get(media),
        "Units": None,
    }


def outgoing(told: Any) -> Any:  # noqa: ANN401 -- JSON
    """An object as it leaves: flags are booleans."""
    if isinstance(told, dict):
        return {
            name: {"true": True, "false": False}.get(value) if name in _FLAGS else outgoing(value)
            for name, value in told.items()
        }
    return [outgoing(one) for one in told] if isinstance(told, list) else told


__all__ = ["Reader", "outgoing"]
