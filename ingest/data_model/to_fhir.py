"""`Results.New` as a FHIR message Bundle for the pipeline of messages. Pure."""

from __future__ import annotations

import binascii
import re
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote

from ingest.data_model import people
from ingest.data_model.codecs import CLASS, exact
from ingest.data_model.context import Context
from ingest.data_model.mapping import PLACE, RANGE, REPORT, REQUEST, RESULT, VISIT
from ingest.data_model.models import fault, unknown
from ingest.data_model.places import KINDS
from ingest.data_model.table import URN, is_empty
from ingest.data_model.values import DOCUMENTS, Valued, is_word, kind_of, write_value
from ingest.hl7v2.mapping.context import extension
from ingest.hl7v2.mapping.datatypes.documents import CONTENT_TYPES, DATA_URL
from ingest.hl7v2.mapping.systems import V2, V3
from ingest.pipeline.documents import pieces
from store.errors import Category, ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ingest.data_model.models import ResultsNew
    from ingest.data_model.places import Element
    from ingest.hl7v2.profile import SourceProfile
    from store.fhir.datatypes import JsonObject
    from store.fhir.issues import Issue

EVENTS: Final = ("New", "NewUnsolicited")
_ABSENT: Final = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
_DATA_ABSENT: Final = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
INTERPRETER: Final = f"{URN}PrimaryResultsInterpreter"
COPIES: Final = f"{URN}ResultCopyProviders"
FACILITY: Final = f"{URN}OrderingFacility"
SPECIMEN: Final = f"{URN}Specimen"
"""Extension of a report with the order's own specimen, where a result has the same."""
RESULT_OF: Final = f"{URN}Result"
"""Extension of a presented document with the result that it was sent as."""
EFFECTIVE: Final = f"{URN}effective"
"""Extension that says that the clinical time of a report is that of the transaction."""
FILE_TYPE: Final = f"{URN}FileType"
TIMED: Final = "TransactionDateTime"
CATEGORY: Final = "LAB"
PROCESSING: Final = "In Process"
EMBEDDED: Final = "Encapsulated Data"
CANCEL: Final = "Cancel"
UNAVAILABLE: Final = "Unavailable"
DELETED: Final = "entered-in-error"
_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S+")
_MEDIA: Final = re.compile(r"\s*data:([\w.+-]+/[\w.+-]+)[;,]", re.IGNORECASE)
"""Content type of a `data:` URL."""
_ENTRY: Final = re.compile(r"Bundle\.entry\[(\d+)\](?:\.resource)?\.?")


class Translation(NamedTuple):
    """A message in FHIR."""

    bundle: JsonObject
    origins: tuple[str, ...]
    """JSON path that each entry comes from."""
    unknown: tuple[str, ...]
    """JSON paths of what the message says and no row maps."""
    unread: tuple[str, ...]
    """JSON paths of what FHIR has no value for: kept as it was sent, and found by no search."""

    def at_origin(self, issue: Issue) -> Issue:
        """An issue of the pipeline as one of the message: its JSON path, and the rule."""
        paths = []
        for expression in issue.expression:
            match = _ENTRY.match(expression)
            number = int(match[1]) if match else len(self.origins)
            paths.append(self.origins[number] if number < len(self.origins) else "$")
        text = _ENTRY.sub("", issue.text)
        return replace(issue, text=text, expression=tuple(dict.fromkeys(paths)))


def translate(message: ResultsNew, profile: SourceProfile, organization: str) -> Translation:
    """Map a message to FHIR. Raises ServiceError with every fault: JSON path and rule."""
    issues = [*faults(message)]
    if issues:
        raise ServiceError(Category.INCORRECT, *issues)
    told: Any = message.model_dump()
    context = Context(message, profile, organization)
    context.add({})  # The header, once its focus is known.
    context.place = "$.Patient"
    subject = {"reference": context.add(people.patient(context, told["Patient"]))}
    context.place = "$.Visit"
    encounter = _visit(context, told["Visit"], subject)
    orders = _Orders(context, subject, encounter)
    for number, order in enumerate(told["Orders"]):
        orders.add(order, f"$.Orders[{number}]")
    context.entries[0]["resource"] = _header(context, told["Meta"], orders.focus)
    bundle: JsonObject = {
        "resourceType": "Bundle",
        "type": "message",
        **({"timestamp": sent} if (sent := exact(told["Meta"]["EventDateTime"] or "")) else {}),
        "entry": context.entries,
    }
    return Translation(bundle, tuple(context.origins), tuple(unknown(message)), tuple(context.unread))


def faults(message: ResultsNew) -> Iterator[Issue]:
    """Faults of a message that lacks what it cannot do without."""
    if message.Meta.EventDateTime and exact(message.Meta.EventDateTime) is None:
        rule = "must be a time with seconds and zone, such as `2026-11-29T12:00:00.000Z`"
        yield fault("$.Meta.EventDateTime", rule, "value")
    who = message.Patient.Demographics
    known = any(one.ID for one in message.Patient.Identifiers) or (who.LastName and who.DOB)
    if not known:
        rule = (
            "has no identifier with `ID`, nor `LastName` and `DOB`: nobody could tell whose results these are"
        )
        yield fault("$.Patient.Identifiers", rule, "required")
    if not message.Orders:
        yield fault("$.Orders", "has no order: there is nothing to store", "required")
    solicited = message.Meta.EventType == EVENTS[0]
    for number, order in enumerate(message.Orders):
        if solicited and order.ID is None:
            rule = (
                "is missing: `Results.New` names the order; results without one are `Results.NewUnsolicited`"
            )
            yield fault(f"$.Orders[{number}].ID", rule, "required")
        if order.ID is None and order.ApplicationOrderID is None and not solicited:
            rule = "is missing: an order has this number or `ID`"
            yield fault(f"$.Orders[{number}].ApplicationOrderID", rule, "required")
        for at, result in enumerate(order.Results):
            if result.Code is None and result.Description is None:
                rule = "is missing: without it nobody could tell what was observed"
                yield fault(f"$.Orders[{number}].Results[{at}].Code", rule, "required")
            if kind_of(result.ValueType) == EMBEDDED and result.Value and not _is_document(result.Value):
                rule = "must be Base64, or a URI: the document could never be read"
                yield fault(f"$.Orders[{number}].Results[{at}].Value", rule, "value")


def _is_document(value: str) -> bool:
    """Whether a value is the URI of a document, or the document in Base64."""
    value = value_of(value)
    if _URL.fullmatch(value):
        return True
    try:
        deque(pieces(value), maxlen=0)
    except (binascii.Error, ValueError):
        return False
    return True


def _header(context: Context, meta: Mapping[str, Any], focus: list[str]) -> Element:
    source: Element = {"endpoint": context.endpoint} if context.endpoint else {"endpoint": f"{URN}source"}
    if name := meta["Source"]["Name"]:
        source = {"name": name, **source}
    made: Element = {
        "resourceType": "MessageHeader",
        "eventCoding": {"system": f"{URN}event", "code": f"Results.{meta['EventType']}"},
        "source": source,
        "focus": [{"reference": url} for url in focus],
    }
    if named := [one for one in meta["Destinations"] if one["ID"]]:
        made["destination"] = [
            {
                **({"name": one["Name"]} if one["Name"] else {}),
                "endpoint": f"{URN}destination:{quote(one['ID'], safe='')}",
            }
            for one in named
        ]
    return made


def _visit(context: Context, told: Mapping[str, Any], subject: Element) -> Element | None:
    if is_empty(told):
        return None
    made: Element = {"resourceType": "Encounter", "status": "unknown"}
    numbers = [
        {
            "type": {"coding": [{"system": KINDS, "code": code}]},
            "system": context.system(name),
            "value": told[name],
        }
        for name, code in (("VisitNumber", "VN"), ("AccountNumber", "AN"))
        if told[name]
    ]
    if numbers:
        made["identifier"] = numbers
    made["class"] = _class(told["PatientClass"])
    VISIT.write(told, made, context.misread, **context.times)
    if not is_empty(told["Location"]):
        words = [told["Location"][one] for one in ("Facility", "Department", "Room", "Bed", "Type")]
        place = {"location": {"display": ", ".join(one for one in words if one)}}
        made["location"] = [PLACE.write(told["Location"], place)]
    for name, code in (("AttendingProvider", "ATND"), ("ReferringProvider", "REF")):
        if found := people.provider(context, told[name]):
            role = {"coding": [{"system": f"{V3}ParticipationType", "code": code}]}
            made.setdefault("participant", []).append({"type": [role], "individual": found})
    return {"reference": context.add({**made, "subject": subject})}


def _class(told: str | None) -> Element:
    if told is None:
        return {"system": f"{V3}NullFlavor", "code": "UNK"}
    code = CLASS.to_fhir(told)
    if code is None:
        return {"system": f"{URN}PatientClass", "code": quote(told, safe=""), "display": told}
    return {"system": f"{V3}ActCode", "code": code}


class _Orders:
    """The orders of one message."""

    def __init__(self, context: Context, subject: Element, encounter: Element | None) -> None:
        self.context = context
        self.around: Element = {"subject": subject, **({"encounter": encounter} if encounter else {})}
        self.focus: list[str] = []
        self._twins: dict[tuple[str, ...], int] = {}

    def add(self, told: Mapping[str, Any], place: str) -> None:
        """Make the report of an order, and all that it leads to."""
        context = self.context
        context.place = place
        report: Element = {"resourceType": "DiagnosticReport"}
        report["identifier"] = context.order_numbers(told["ID"], told["ApplicationOrderID"])
        category = context.profile.category or CATEGORY
        report["category"] = [{"coding": [{"system": f"{V2}0074", "code": category}]}]
        REPORT.write(told, report, context.misread, Codeset=context.codeset, **context.times)
        _require_code(report)
        self._set_status(told, report)
        report |= self.around
        request = self._request(told, report)
        report["basedOn"] = [{"reference": context.add(request)}]
        self._set_time(told, report, request)
        self._tell_apart(report)
        own = people.specimen(context, told["Specimen"], report["subject"])
        samples = [own]
        for number, result in enumerate(told["Results"]):
            context.place = f"{place}.Results[{number}]"
            samples.append(self._result(result, report))
        context.place = place
        if found := _unique(samples):
            report["specimen"] = found
        if own in samples[1:] and own:  # Else it is the one that no result names.
            report.setdefault("extension", []).append(extension(SPECIMEN, "Reference", own))
        self.focus.append(context.add(report))

    def _set_status(self, told: Mapping[str, Any], report: Element) -> None:
        said = told["ResultsStatus"]
        if said is None:
            report["status"] = "cancelled" if is_word(told["Status"], CANCEL) else "unknown"
        elif is_word(said, PROCESSING) and not told["Results"]:
            report["status"] = "registered"

    def _set_time(self, told: Mapping[str, Any], report: Element, request: Element) -> None:
        if told["CollectionDateTime"] is None and "authoredOn" in request:
            report["effectiveDateTime"] = request["authoredOn"]
            report.setdefault("extension", []).append(extension(EFFECTIVE, "Code", TIMED))

    def _tell_apart(self, report: Element) -> None:
        """An id of its own where nothing else tells two reports of one message apart."""
        numbers = (f"{one['system']}|{one['value']}" for one in report["identifier"])
        key = (*numbers, repr(report["code"]), report.get("effectiveDateTime", ""))
        turn = self._twins[key] = self._twins.get(key, 0) + 1
        if turn > 1:
            report["id"] = f"twin-{turn}"

    def _request(self, told: Mapping[str, Any], report: Element) -> Element:
        context = self.context
        made: Element = {"resourceType": "ServiceRequest", "intent": "order", "code": report["code"]}
        made["identifier"] = report["identifier"]
        REQUEST.write(told, made, context.misread, **context.times)
        made.setdefault("status", "unknown")
        if requester := people.provider(context, told["Provider"]):
            made["requester"] = requester
        copies = [found for one in told["ResultCopyProviders"] if (found := people.provider(context, one))]
        facility = people.organization(context, told["OrderingFacility"])
        further = [extension(COPIES, "Reference", one) for one in copies]
        further += [extension(FACILITY, "Reference", facility)] if facility else []
        if further:
            made.setdefault("extension", []).extend(further)
        return made | self.around

    def _result(self, told: Mapping[str, Any], report: Element) -> Element | None:
        context = self.context
        made: Element = {"resourceType": "Observation"}
        RESULT.write(told, made, context.misread, Codeset=context.codeset, **context.times)
        _require_code(made)
        made.setdefault("status", "unknown")
        bounds = RANGE.write(told["ReferenceRange"], {})
        if bounds:
            made["referenceRange"] = [bounds]
        if "effectiveDateTime" in report:
            made["effectiveDateTime"] = report["effectiveDateTime"]
        sample = people.specimen(context, told["Specimen"], report["subject"])
        if sample:
            made["specimen"] = sample
        self._people(told, made, report)
        is_document = bool(told["Value"]) and kind_of(told["ValueType"]) in DOCUMENTS
        is_deleted = is_document and made["status"] == DELETED
        document = _document(told, report) if is_document and not is_deleted else None
        if document is None:
            value = None if is_deleted else told["Value"]
            write_value(Valued(value, told["ValueType"], told["Units"]), made, context.zone)
            if told["FileType"]:
                made.setdefault("extension", []).append(extension(FILE_TYPE, "String", told["FileType"]))
        if is_word(told["Status"], UNAVAILABLE) and told["Value"] is None:
            made["dataAbsentReason"] = {"coding": [{"system": _ABSENT, "code": "unknown"}]}
        url = context.add(made | self.around)
        report.setdefault("result", []).append({"reference": url})
        if document is not None:
            document["extension"] = [
                extension(RESULT_OF, "Reference", {"reference": url}),
                *document.get("extension", ()),
            ]
            report.setdefault("presentedForm", []).append(document)
        return sample

    def _people(self, told: Mapping[str, Any], made: Element, report: Element) -> None:
        context = self.context
        producer = people.organization(context, told["Producer"])
        performer = people.provider(context, told["Performer"])
        interpreter = people.provider(context, told["PrimaryResultsInterpreter"])
        if performers := [one for one in (producer, performer) if one]:
            made["performer"] = performers
        if producer and producer not in report.setdefault("performer", []):
            report["performer"].append(producer)
        if not report.get("performer", True):
            del report["performer"]
        if interpreter:
            made.setdefault("extension", []).append(extension(INTERPRETER, "Reference", interpreter))
            if interpreter not in report.setdefault("resultsInterpreter", []):
                report["resultsInterpreter"].append(interpreter)


def value_of(sent: str) -> str:
    """A document as it was sent: its URI, or its Base64, of a `data:` URL too."""
    return DATA_URL.sub("", sent, count=1).strip()


def _document(told: Mapping[str, Any], report: Element) -> Element | None:
    """The Attachment that a result is; None: it is a pointer that is no URI."""
    made: Element = {}
    kind, value = told["FileType"], value_of(told["Value"])
    if kind:
        media = CONTENT_TYPES.get(kind.upper().lstrip(".")) or (kind if "/" in kind else None)
        if media:
            made["contentType"] = media
        made["extension"] = [extension(FILE_TYPE, "String", kind)]
    if _URL.fullmatch(value):
        made["url"] = value
    elif kind_of(told["ValueType"]) == EMBEDDED:
        made["data"] = value
        if match := _MEDIA.match(told["Value"]):
            made.setdefault("contentType", match[1].lower())
        made.setdefault("contentType", "application/octet-stream")
    else:
        return None
    title = told["Description"] or told["Code"] or report["code"].get("text")
    made["extension"] = [
        *made.get("extension", ()),
        extension(f"{URN}ValueType", "String", told["ValueType"]),
    ]
    return {**made, **({"title": title} if title else {})}


def _require_code(resource: Element) -> None:
    if not resource.get("code"):
        resource["code"] = {"extension": [extension(_DATA_ABSENT, "Code", "unknown")]}


def _unique(references: list[Element | None]) -> list[Element]:
    found: list[Element] = []
    for one in references:
        if one is not None and one not in found:
            found.append(one)
    return found
