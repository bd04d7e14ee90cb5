"""An audit record as a FHIR AuditEvent, by a profile of IHE Basic Audit Log Patterns (BALP) where one fits.

Pure. https://profiles.ihe.net/ITI/BALP/content.html
"""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from store.audit.records import Deed
from store.fhir.references import RELATIVE
from store.fhir.resource_types import RESOURCE_TYPES
from store.resources.versions import instant
from store.search.values.escapes import split, unescape

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from store.audit.records import AuditRecord

Json = dict[str, Any]

PROFILES: Final = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit."
_REST: Final = "http://terminology.hl7.org/CodeSystem/audit-event-type"
INTERACTIONS: Final = "http://hl7.org/fhir/restful-interaction"
_DICOM: Final = "http://dicom.nema.org/resources/ontology/DCM"
_LIFECYCLE: Final = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle"
_ENTITY: Final = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
_ROLE: Final = "http://terminology.hl7.org/CodeSystem/object-role"
_BALP_ENTITY: Final = "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType"
_PARTICIPANT: Final = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
_SOURCES: Final = "http://terminology.hl7.org/CodeSystem/security-source-type"
OUR_DEEDS: Final = "urn:dod:audit"

_APPLICATION: Final = {"system": _DICOM, "code": "110150", "display": "Application"}
_CUSTODIAN: Final = {"system": _PARTICIPANT, "code": "custodian", "display": "Custodian"}
_DESTINATION: Final = {"system": _DICOM, "code": "110152", "display": "Destination Role ID"}
_SOURCE: Final = {"system": _DICOM, "code": "110153", "display": "Source Role ID"}


class Pattern(NamedTuple):
    """The fixed part of the events of one interaction."""

    subtype: str
    action: str
    profile: str = ""
    """Name of a profile of BALP; `Patient` is put before it for an event about a patient."""
    client: Mapping[str, str] = _SOURCE
    """Role of the client."""
    server: Mapping[str, str] = _DESTINATION


def _read(subtype: str, profile: str = "") -> Pattern:
    """A pattern of data that flows from the server to the client."""
    return Pattern(subtype, "R", profile, _DESTINATION, _SOURCE)


_SEARCH: Final = Pattern("search-type", "E", "Query")
_CREATE: Final = Pattern("create", "C", "Create")
_UPDATE: Final = Pattern("update", "U", "Update")
_PATCH: Final = Pattern("patch", "U", "Update")
_DELETE: Final = Pattern("delete", "D", "Delete", _APPLICATION, _CUSTODIAN)
OPERATION: Final = "operation"
_OPERATION: Final = Pattern(OPERATION, "E")
PATTERNS: Final[Mapping[str, Pattern]] = {
    "search": _SEARCH,
    "search-get": _SEARCH,
    "search-post": _SEARCH,
    "search-compartment": _SEARCH,
    "read": _read("read", "Read"),
    "vread": _read("vread", "Read"),
    "read-binary": _read("read", "Read"),
    "vread-binary": _read("vread", "Read"),
    "history-instance": _read("history-instance"),
    "history-type": _read("history-type"),
    "everything": _OPERATION,
    "everything-post": _OPERATION,
    "create": _CREATE,
    "create-binary": _CREATE,
    "update": _UPDATE,
    "update-binary": _UPDATE,
    "update-conditional": _UPDATE,
    "patch": _PATCH,
    "patch-conditional": _PATCH,
    "delete": _DELETE,
    "delete-conditional": _DELETE,
    "batch": Pattern("batch", "E"),
}
"""Patterns by the name of the route; a route that is not here is an operation."""

_SECURITY: Final = (_DICOM, "110131", "Security Configuration")
_USERS: Final = (_DICOM, "110137", "User Security Attributes Changed")
_EXPORT: Final = (_DICOM, "110106", "Export")
_AUDIT_USED: Final = (_DICOM, "110101", "Audit Log Used")
DEEDS: Final[Mapping[str, tuple[str, str, str, str]]] = {
    Deed.POLICY_SET: (*_SECURITY, "U"),
    Deed.HOLD_PLACED: (_LIFECYCLE, "hold", "Add Legal Hold Record Lifecycle Event", "U"),
    Deed.HOLD_RELEASED: (_LIFECYCLE, "unhold", "Remove Legal Hold Record Lifecycle Event", "U"),
    Deed.PATIENT_ERASED: (_LIFECYCLE, "destroy", "Destroy/Delete Record Lifecycle Event", "D"),
    Deed.ERASURE_LIFTED: (*_SECURITY, "U"),
    Deed.TENANT_CREATED: (*_SECURITY, "C"),
    Deed.TENANT_CHANGED: (*_SECURITY, "U"),
    Deed.TENANT_CLOSED: (_LIFECYCLE, "destroy", "Destroy/Delete Record Lifecycle Event", "D"),
    Deed.REPORT_MOVED: (_LIFECYCLE, "amend", "Amend (Update) Record Lifecycle Event", "U"),
    Deed.TOKEN_ISSUED: (*_USERS, "C"),
    Deed.TOKEN_GRANTED: (_DICOM, "110114", "User Authentication", "E"),
    Deed.TOKEN_REVOKED: (*_USERS, "D"),
    Deed.VERIFICATION_SET: (*_USERS, "C"),
    Deed.VERIFICATION_REMOVED: (*_USERS, "D"),
    Deed.CLIENT_CREATED: (*_USERS, "C"),
    Deed.CLIENT_CHANGED: (*_USERS, "U"),
    Deed.SUBSCRIPTION_CHANGED: (*_SECURITY, "U"),
    Deed.NOTIFICATIONS_SET: (*_SECURITY, "C"),
    Deed.CLIENT_DISABLED: (*_USERS, "D"),
    Deed.SEARCHED: (_REST, "rest", "RESTful Operation", "E"),
    Deed.EXPORTED: (*_EXPORT, "R"),
    Deed.LETTER_SHOWN: (_REST, "rest", "RESTful Operation", "R"),
    Deed.AUDIT_SHOWN: (*_AUDIT_USED, "R"),
}
"""Type (system, code, display) and action of each deed."""


class Where(NamedTuple):
    """The server that an event tells of."""

    base: str
    """The tenant's base URL."""
    site: str
    """Our public origin."""


def audit_event(record: AuditRecord, where: Where, *, patients: Sequence[str] | None = None) -> Json:
    """The AuditEvent of a record; `patients` are those to be told of, where not all are."""
    told = record.patients if patients is None else tuple(patients)
    pattern = PATTERNS.get(record.did, _OPERATION)
    deed = DEEDS.get(record.did)
    event: Json = {"resourceType": "AuditEvent", "id": record.id, "meta": _meta(record, pattern, told, deed)}
    event |= _kind(record, pattern, deed)
    event["recorded"] = instant(record.at).decode()
    event |= _outcome(record)
    event["agent"] = _agents(record, pattern, where, deed is None)
    event["source"] = {
        "site": where.site,
        "observer": {"display": "data on demand"},
        "type": [_coding(_SOURCES, "4", "Application Server")],
    }
    entities = _entities(record, pattern, told)
    return {**event, "entity": entities} if entities else event


def _meta(record: AuditRecord, pattern: Pattern, told: Sequence[str], deed: object) -> Json:
    meta: Json = {"versionId": "1", "lastUpdated": instant(record.at).decode()}
    if deed is None and pattern.profile and record.succeeded and record.by:
        # The profiles are those of accesses that succeeded, one patient each.
        about = "Patient" if len(told) == 1 else ""
        meta["profile"] = [f"{PROFILES}{about}{pattern.profile}"]
    return meta


def _kind(record: AuditRecord, pattern: Pattern, deed: tuple[str, str, str, str] | None) -> Json:
    if deed is not None:
        system, code, display, action = deed
        subtype = {"system": OUR_DEEDS, "code": record.did.replace(" ", "-"), "display": record.did}
        return {"type": _coding(system, code, display), "subtype": [subtype], "action": action}
    subtypes = [_coding(INTERACTIONS, pattern.subtype, pattern.subtype)]
    if record.did not in PATTERNS:
        subtypes.append({"system": OUR_DEEDS, "code": record.did})
    return {
        "type": _coding(_REST, "rest", "RESTful Operation"),
        "subtype": subtypes,
        "action": pattern.action,
    }


def _outcome(record: AuditRecord) -> Json:
    """https://hl7.org/fhir/R4/valueset-audit-event-outcome.html"""
    if record.succeeded:
        return {"outcome": "0"}
    refused = record.status < 500  # noqa: PLR2004 -- the first status of a failure of ours
    return {"outcome": "4" if refused else "8", "outcomeDesc": f"HTTP {record.status}"}


def _agents(record: AuditRecord, pattern: Pattern, where: Where, over_http: bool) -> list[Json]:  # noqa: FBT001
    client: Json = {
        "type": {"coding": [dict(pattern.client)]},
        "who": {"identifier": {"value": record.by}} if record.by else {"display": "unknown"},
        "requestor": True,
    }
    if record.token:
        client["altId"] = record.token
    if record.address:
        client["network"] = {"address": record.address, "type": "2"}
    if not over_http:
        return [{**client, "type": {"coding": [_APPLICATION]}}]
    server: Json = {
        "type": {"coding": [dict(pattern.server)]},
        "who": {"display": "data on demand"},
        "requestor": False,
        "network": {"address": where.base, "type": "5"},
    }
    return [client, server]


def _entities(record: AuditRecord, pattern: Pattern, told: Sequence[str]) -> list[Json]:
    entities = [_patient(one) for one in told]
    if pattern.profile == "Query" and record.did in PATTERNS:
        entities.append(_query(record))
    elif record.resource:
        entities.append(
            {
                "what": _what(record.resource),
                "type": _coding(_ENTITY, "2", "System Object"),
                "role": _coding(_ROLE, "4", "Domain Resource"),
            }
        )
        if record.query:
            entities.append(_query(record))
    if record.of:
        entities.append(
            {"what": {"identifier": {"value": record.of}}, "type": _coding(_ENTITY, "2", "System Object")}
        )
    if record.reason:
        entities.append({"type": _coding(_ENTITY, "4", "Other"), "description": record.reason})
    if record.request_id:
        entities.append(
            {
                "what": {"identifier": {"value": record.request_id}},
                "type": _coding(_BALP_ENTITY, "XrequestId", "X-Request-Id"),
            }
        )
    return entities


def _what(path: str) -> Json:
    """The resource that a path names: a reference; of a path that names none, as `Patient`, its text."""
    named = "/".join(path.split("/", 2)[:2])
    is_one = RELATIVE.fullmatch(named) is not None and named.partition("/")[0] in RESOURCE_TYPES
    what = {"reference": named} if is_one else {}
    return what if path == named and is_one else {**what, "display": path}


def _patient(name: str) -> Json:
    what: Json
    if name.startswith("Patient/"):
        what = {"reference": name}
    elif "|" in name:
        system, value = (unescape(part) for part in split(name, "|"))
        what = {"identifier": {"system": system, "value": value}}
    else:  # The keyed digest of somebody who was erased.
        what = {"identifier": {"value": name}, "display": "(erased)"}
    return {
        "what": {**what, "type": "Patient"},
        "type": _coding(_ENTITY, "1", "Person"),
        "role": _coding(_ROLE, "1", "Patient"),
    }


def _query(record: AuditRecord) -> Json:
    sent = f"{record.resource}?".encode() + record.query
    return {
        "type": _coding(_ENTITY, "2", "System Object"),
        "role": _coding(_ROLE, "24", "Query"),
        "query": b64encode(sent).decode(),
    }


def _coding(system: str, code: str, display: str) -> Json:
    return {"system": system, "code": code, "display": display}
