"""A Data Model order read from FHIR without the mapping's tables: by R4 and the published conversion.

It knows the elements, not the extensions that keep words as sent; what is not in an element is not seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

Json = dict[str, Any]
CORE = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-"
R4 = "http://hl7.org/fhir/StructureDefinition/"
OWN = "urn:dod:data-model:"
SYSTEMS = {"http://loinc.org": "LOINC", "http://snomed.info/sct": "SNOMED-CT"}
GENDERS = {"male": "Male", "female": "Female", "other": "Other", "unknown": "Unknown"}
REPORTS = {
    "final": "Final",
    "preliminary": "Preliminary",
    "corrected": "Corrected",
    "cancelled": "Canceled",
    "partial": "In Process",
    "unknown": "Unavailable",
}
RESULTS = {
    "final": "Final",
    "preliminary": "Preliminary",
    "corrected": "Corrected",
    "cancelled": "Canceled",
    "entered-in-error": "Deleted",
    "registered": "Incomplete",
    "unknown": "None Specified",
}
FLAGS = {
    "N": {"Normal"},
    "L": {"Low"},
    "LL": {"Very Low", "Critically Low"},
    "H": {"High"},
    "HH": {"Very High", "Critically High"},
    "A": {"Abnormal"},
    "AA": {"Very Abnormal", "Critically Abnormal"},
    "IND": {"Inconclusive"},
    "I": {"Intermediate"},
    "MS": {"Moderately Susceptible"},
    "S": {"Susceptible"},
    "VS": {"Very Susceptible"},
    "NS": {"Not Susceptible"},
    "R": {"Resistant"},
}
ORDERS = {"active": {"New", "Update"}, "completed": {"Resulted"}, "revoked": {"Cancel"}}
PRIORITIES = {
    "asap": {"ASAP"},
    "stat": {"Stat"},
    "routine": {"Routine"},
    "urgent": {"Timing Critical", "Preoperative"},
}
CLASSES = {
    "IMP": "Inpatient",
    "AMB": "Outpatient",
    "EMER": "Emergency",
    "OBSENC": "Observation",
    "PRENC": "Preadmit",
}
MARITAL = {"M": "Married", "S": "Single", "D": "Divorced", "W": "Widowed", "T": "Domestic Partner"}


def first(values: Any) -> Any:
    return next(iter(values or ()), None)


def extensions(element: Json, url: str) -> list[Json]:
    return [one for one in element.get("extension", ()) if one["url"] == url]


def own(element: Json, path: str) -> str | None:
    found: str | None = (first(extensions(element, OWN + path)) or {}).get("valueString")
    return found


def text_in(element: Json, url: str, inner: str) -> str | None:
    found = first(extensions(first(extensions(element, url)) or {}, inner)) or {}
    text: str | None = found.get("valueString")
    return text


def address(element: Json) -> Json:
    return {
        "StreetAddress": first(element.get("line")),
        "City": element.get("city"),
        "State": element.get("state"),
        "ZIP": element.get("postalCode"),
        "County": element.get("district"),
        "Country": element.get("country"),
    }


def reached(element: Json) -> tuple[Json, list[str]]:
    """Numbers to call, and addresses of e-mail."""
    points = element.get("telecom", ())
    by_use = {one.get("use"): one["value"] for one in points if one["system"] == "phone"}
    numbers = {"Home": by_use.get("home"), "Office": by_use.get("work"), "Mobile": by_use.get("mobile")}
    return numbers, [one["value"] for one in points if one["system"] == "email"]


def name(element: Json) -> Json:
    given = [*element.get("given", ()), None, None]
    return {"FirstName": given[0], "MiddleName": given[1], "LastName": element.get("family")}


def coded(concept: Json | None) -> Json:
    coding = first((concept or {}).get("coding")) or {}
    system = coding.get("system")
    return {
        "Code": coding.get("code"),
        "Codeset": SYSTEMS.get(system or "") or (system and system.rpartition(":")[2]),
        "Description": (concept or {}).get("text"),
    }


def numbered(number: Json | None) -> Json:
    told = number or {}
    return {"ID": told.get("value"), "IDType": told.get("type", {}).get("text")}


def patient(resource: Json) -> Json:
    numbers, mails = reached(resource)
    ssn = [one for one in resource["identifier"] if one.get("system") == "http://hl7.org/fhir/sid/us-ssn"]
    ethnicity = text_in(resource, f"{CORE}ethnicity", "text")
    countries = [
        first(extensions(one, "code"))["valueCodeableConcept"]["text"]
        for one in extensions(resource, f"{R4}patient-citizenship")
    ]
    married = first(resource.get("maritalStatus", {}).get("coding")) or {}
    spoken = first(resource.get("communication")) or {}
    return {
        "Identifiers": [numbered(one) for one in resource["identifier"] if one not in ssn],
        "Demographics": {
            **name(resource["name"][0]),
            "DOB": resource.get("birthDate"),
            "SSN": (first(ssn) or {}).get("value"),
            "Sex": GENDERS.get(resource.get("gender", "")),
            "Race": text_in(resource, f"{CORE}race", "text"),
            "IsHispanic": {"Hispanic or Latino": "true", "Not Hispanic or Latino": "false"}.get(
                ethnicity or ""
            ),
            "MaritalStatus": MARITAL.get(married.get("code", "")),
            "IsDeceased": "true"
            if "deceasedDateTime" in resource
            else {"True": "true", "False": "false"}.get(str(resource.get("deceasedBoolean"))),
            "DeathDateTime": resource.get("deceasedDateTime"),
            "PhoneNumber": numbers,
            "EmailAddresses": mails,
            "Language": (first(spoken.get("language", {}).get("coding")) or {}).get("code"),
            "Citizenship": countries,
            "Address": address(first(resource.get("address")) or {}),
        },
        "Notes": [one["valueString"] for one in extensions(resource, f"{OWN}Notes")],
        "Contacts": [contact(one) for one in resource.get("contact", ())],
    }


def contact(element: Json) -> Json:
    numbers, mails = reached(element)
    return {
        **name(element["name"]),
        "Address": address(element.get("address", {})),
        "PhoneNumber": numbers,
        "RelationToPatient": (first(element.get("relationship")) or {}).get("text"),
        "EmailAddresses": mails,
        "Roles": [one["valueString"] for one in extensions(element, f"{OWN}Roles")],
    }


class Oracle:
    """The entries of a Bundle, read."""

    def __init__(self, bundle: Json) -> None:
        self._of: dict[str, Json] = {one["fullUrl"]: one["resource"] for one in bundle["entry"]}

    def orders(self) -> list[Json]:
        found = [one for one in self._of.values() if one["resourceType"] == "DiagnosticReport"]
        return [self.order(one) for one in found]

    def at(self, reference: Json | None) -> Json:
        return self._of[reference["reference"]] if reference else {}

    def person(self, reference: Json | None) -> Json:
        resource = self.at(reference)
        numbers, mails = reached(resource)
        npi = [
            one
            for one in resource.get("identifier", ())
            if one.get("system") == "http://hl7.org/fhir/sid/us-npi"
        ]
        others = [one for one in resource.get("identifier", ()) if one not in npi]
        named = first(resource.get("name")) or {}
        return {
            "NPI": (first(npi) or {}).get("value"),
            **numbered(first(others)),
            **name(named),
            "Credentials": named.get("suffix", []),
            "Address": address(first(resource.get("address")) or {}),
            "EmailAddresses": mails,
            "PhoneNumber": numbers,
            "Location": {
                part: own(resource, f"Location.{part}") for part in ("Type", "Facility", "Department", "Room")
            },
        }

    def organization(self, reference: Json | None) -> Json:
        resource = self.at(reference)
        return {
            **numbered(first(resource.get("identifier"))),
            "Name": resource.get("name"),
            "Address": address(first(resource.get("address")) or {}),
            "PhoneNumber": reached(resource)[0],
        }

    def specimen(self, reference: Json | None) -> Json:
        resource = self.at(reference)
        return {
            "Source": resource.get("type", {}).get("text"),
            "BodySite": resource.get("collection", {}).get("bodySite", {}).get("text"),
            "ID": (first(resource.get("identifier")) or {}).get("value"),
        }

    def visit(self, resource: Json) -> Json:
        kinds = {one["type"]["coding"][0]["code"]: one["value"] for one in resource["identifier"]}
        roles = {one["type"][0]["coding"][0]["code"]: one["individual"] for one in resource["participant"]}
        place = first(resource.get("location")) or {}
        return {
            "VisitDateTime": resource.get("period", {}).get("start"),
            "VisitNumber": kinds.get("VN"),
            "AccountNumber": kinds.get("AN"),
            "PatientClass": CLASSES.get(resource["class"]["code"]),
            "Location": {
                part: own(place, part) for part in ("Type", "Facility", "Department", "Room", "Bed")
            },
            "AttendingProvider": self.person(roles.get("ATND")),
            "ReferringProvider": self.person(roles.get("REF")),
        }

    def order(self, report: Json) -> Json:
        request = self.at(first(report["basedOn"]))
        numbers = {one["type"]["coding"][0]["code"]: one["value"] for one in report["identifier"]}
        note = "http://hl7.org/fhir/5.0/StructureDefinition/extension-DiagnosticReport.note"
        results = [self.at(one) for one in report.get("result", ())]
        theirs = [one.get("specimen") for one in results]
        copies = [one["valueReference"] for one in extensions(request, f"{OWN}ResultCopyProviders")]
        facility = first(extensions(request, f"{OWN}OrderingFacility")) or {}
        return {
            "ID": numbers.get("PLAC"),
            "ApplicationOrderID": numbers.get("FILL"),
            "TransactionDateTime": request.get("authoredOn"),
            "CollectionDateTime": report.get("effectiveDateTime"),
            "CompletionDateTime": report.get("issued"),
            "Notes": [one["valueAnnotation"]["text"] for one in extensions(report, note)],
            "ResultsStatus": REPORTS[report["status"]],
            "Procedure": coded(report["code"]),
            "Provider": self.person(request.get("requester")),
            "ResultCopyProviders": [self.person(one) for one in copies],
            "OrderingFacility": self.organization(facility.get("valueReference")),
            "Specimen": self.specimen(
                first([one for one in report.get("specimen", ()) if one not in theirs])
            ),
            "Status": ORDERS[request["status"]],
            "ResponseFlag": own(request, "ResponseFlag"),
            "Priority": PRIORITIES[request["priority"]],
            "Results": [self.result(one, report) for one in results],
            "Patient": patient(self.at(report["subject"])),
            "Visit": self.visit(self.at(report["encounter"])),
        }

    def result(self, observation: Json, report: Json) -> Json:
        performers = {self.at(one)["resourceType"]: one for one in observation.get("performer", ())}
        interpreter = first(extensions(observation, f"{OWN}PrimaryResultsInterpreter")) or {}
        if interpreter:
            assert interpreter["valueReference"] in report["resultsInterpreter"]
        if "Organization" in performers:
            assert performers["Organization"] in report["performer"]
        limits = first(observation.get("referenceRange")) or {}
        flag = first(first(observation.get("interpretation"))["coding"])["code"]
        return {
            **coded(observation["code"]),
            "RelatedGroupID": text_in(observation, f"{R4}observation-v2-subid", "original-sub-identifier"),
            "Specimen": self.specimen(observation.get("specimen")),
            **value(observation),
            "CompletionDateTime": observation.get("issued"),
            "FileType": own(observation, "FileType"),
            "Notes": [one["text"] for one in observation.get("note", ())],
            "AbnormalFlag": FLAGS[flag],
            "Status": RESULTS[observation["status"]],
            "PrimaryResultsInterpreter": self.person(interpreter.get("valueReference")),
            "Producer": self.organization(performers.get("Organization")),
            "Performer": self.person(performers.get("Practitioner")),
            "ReferenceRange": {
                "Low": digits(limits.get("low")),
                "High": digits(limits.get("high")),
                "Text": limits.get("text"),
            },
            "ObservationMethod": coded(observation.get("method")),
        }


def digits(quantity: Json | None) -> str | None:
    return quantity["value"].text if quantity else None


def value(observation: Json) -> Json:
    """Value, ValueType and Units of a value[x], for types that it tells apart."""
    kinds: dict[str, Callable[[Any], tuple[str | None, str, str | None]]] = {
        "valueQuantity": lambda it: (
            it.get("comparator", "") + (digits(it) or ""),
            "Structured Numeric" if "comparator" in it else "Numeric",
            it.get("unit"),
        ),
        "valueRange": lambda it: (
            f"{digits(it['low'])}-{digits(it['high'])}",
            "Structured Numeric",
            it["low"].get("unit"),
        ),
        "valueRatio": lambda it: (
            f"{digits(it['numerator'])}:{digits(it['denominator'])}",
            "Structured Numeric",
            it["numerator"].get("unit"),
        ),
        "valueCodeableConcept": lambda it: (it["text"], "Coded Entry", None),
        "valueDateTime": lambda it: (it, "DateTime" if "T" in it else "Date", None),
        "valueTime": lambda it: (it, "Time", None),
        "valueString": lambda it: (it, "String", None),
    }
    [name] = [one for one in observation if one in kinds]
    told = kinds[name](observation[name])
    return dict(zip(("Value", "ValueType", "Units"), told, strict=True))
