"""Patients, providers and organizations of the Data Model, both ways. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ingest.data_model.codecs import codings_of
from ingest.data_model.mapping import CONTACT, ORGANIZATION, PATIENT, PROVIDER, SPECIMEN
from ingest.data_model.places import KINDS, kind_of
from ingest.data_model.table import URN, is_empty
from ingest.hl7v2.mapping.context import extension
from ingest.hl7v2.mapping.systems import NPI, SSN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ingest.data_model.context import Context
    from ingest.data_model.places import Element
    from ingest.data_model.table import Told

_MIDDLE: Final = f"{URN}MiddleName"
LANGUAGES: Final = "urn:ietf:bcp:47"


def patient(context: Context, told: Mapping[str, Any]) -> Element:
    """The Patient of a message."""
    made: Element = {"resourceType": "Patient"}
    who = told["Demographics"]
    numbers = [
        context.number(one["ID"], one["IDType"], context.patient_system(one["IDType"]))
        for one in told["Identifiers"]
        if one["ID"]
    ]
    if who["SSN"]:
        kind = {"coding": [{"system": KINDS, "code": "SS"}]}
        numbers.append({"type": kind, "system": SSN, "value": who["SSN"]})
    if numbers:
        made["identifier"] = numbers
    PATIENT.write(told, made, context.misread, **context.times)
    if "deceasedDateTime" in made:
        made.pop("deceasedBoolean", None)
    for spoken in made.get("communication", ()):
        spoken["language"]["coding"][0]["system"] = LANGUAGES
    _keep_middle(made.get("name", ()), who)
    if contacts := [found for one in told["Contacts"] if (found := _contact(one))]:
        made["contact"] = contacts
    return made


def read_patient(resource: Element) -> Told:
    """A Patient of any source as an object of the Data Model."""
    told: Told = {"Identifiers": [], **PATIENT.read(resource)}
    who = told["Demographics"]
    _read_middle(resource.get("name", ()), who)
    who["SSN"] = None
    for number in resource.get("identifier", ()):
        if _is_ssn(number) and who["SSN"] is None:
            who["SSN"] = number.get("value")
        elif number.get("use") != "old" and isinstance(number.get("value"), str):
            told["Identifiers"].append({"ID": number["value"], "IDType": kind_in_words(number)})
    if who["DeathDateTime"] and not who["IsDeceased"]:
        who["IsDeceased"] = "true"
    told["Contacts"] = [_read_contact(one) for one in resource.get("contact", ())]
    return told


def kind_in_words(number: Element) -> str | None:
    """The IDType of an identifier: the source's words, the code of its type, or the end of its system.

    None: it has none of these.
    """
    kind = number.get("type")
    words = kind.get("text") if isinstance(kind, dict) else None
    system = str(number.get("system", ""))
    last = system.rpartition(":")[2] if system.startswith("urn:redox:") else ""
    return words or kind_of(number) or last or None


def _is_ssn(number: Element) -> bool:
    kind = number.get("type")
    in_words = isinstance(kind, dict) and "text" in kind
    return (number.get("system") == SSN or kind_of(number) == "SS") and not in_words


def _contact(told: Mapping[str, Any]) -> Element | None:
    made = CONTACT.write(told, {})
    _keep_middle([made["name"]] if "name" in made else (), told)
    return made or None


def _read_contact(element: Element) -> Told:
    told = CONTACT.read(element)
    _read_middle([element["name"]] if "name" in element else (), told)
    return told


def _keep_middle(names: Any, told: Mapping[str, Any]) -> None:  # noqa: ANN401 -- JSON
    """A middle name without a first one would be read as the first."""
    for name in names:
        given = name.get("given")
        if given and told["MiddleName"] and not told["FirstName"]:
            del name["given"]
            name.setdefault("extension", []).append(extension(_MIDDLE, "String", told["MiddleName"]))


def _read_middle(names: Any, told: Told) -> None:  # noqa: ANN401 -- JSON
    for name in names[:1]:
        for one in name.get("extension", ()):
            if one.get("url") == _MIDDLE:
                told["MiddleName"] = one.get("valueString")


def provider(context: Context, told: Mapping[str, Any]) -> Element | None:
    """A reference to the Practitioner that a provider is; None: nothing is said of one."""
    if is_empty(told):
        return None
    made: Element = {"resourceType": "Practitioner"}
    numbers = []
    if told["NPI"]:
        kind = {"coding": [{"system": KINDS, "code": "NPI"}]}
        numbers.append({"type": kind, "system": NPI, "value": told["NPI"]})
    if told["ID"]:
        numbers.append(context.other_number(told["ID"], told["IDType"]))
    if numbers:
        made["identifier"] = numbers
    PROVIDER.write(told, made)
    _keep_middle(made.get("name", ()), told)
    return context.shared(made) if len(made) > 1 else None


def read_provider(resource: Element | None) -> Told:
    """A Practitioner as an object of the Data Model."""
    told = PROVIDER.read(resource or {})
    told |= {"NPI": None, "ID": None, "IDType": None}
    if resource is None:
        return told
    _read_middle(resource.get("name", ()), told)
    for number in resource.get("identifier", ()):
        kind = number.get("type")
        in_words = isinstance(kind, dict) and "text" in kind
        if (number.get("system") == NPI or kind_of(number) == "NPI") and not in_words and not told["NPI"]:
            told["NPI"] = number.get("value")
        elif told["ID"] is None:
            told |= {"ID": number.get("value"), "IDType": kind_in_words(number)}
    return told


def organization(context: Context, told: Mapping[str, Any]) -> Element | None:
    """A reference to an Organization; None: nothing is said of one."""
    if is_empty(told):
        return None
    made: Element = {"resourceType": "Organization"}
    if told["ID"]:
        made["identifier"] = [context.other_number(told["ID"], told["IDType"])]
    ORGANIZATION.write(told, made)
    return context.shared(made) if len(made) > 1 else None


def read_organization(resource: Element | None) -> Told:
    """An Organization as an object of the Data Model."""
    told = ORGANIZATION.read(resource or {})
    number: Element = next(iter((resource or {}).get("identifier", ())), {})
    return {**told, "ID": number.get("value"), "IDType": kind_in_words(number)}


def specimen(context: Context, told: Mapping[str, Any], subject: Element) -> Element | None:
    """A reference to a Specimen; None: nothing is said of one."""
    if is_empty(told):
        return None
    made: Element = {"resourceType": "Specimen"}
    SPECIMEN.write(told, made)
    return context.shared({**made, "subject": subject})


def read_specimen(resource: Element | None) -> Told:
    """A Specimen of any source as an object of the Data Model."""
    told = SPECIMEN.read(resource or {})
    if resource is not None:
        told["Source"] = told["Source"] or _words(resource.get("type"))
        told["BodySite"] = told["BodySite"] or _words(resource.get("collection", {}).get("bodySite"))
        accession = resource.get("accessionIdentifier", {})
        told["ID"] = told["ID"] or accession.get("value")
    return told


def _words(concept: Any) -> str | None:  # noqa: ANN401 -- JSON
    """The words of a concept without text."""
    said = (one.get("display") or one.get("code") for one in codings_of(concept))
    return next((one for one in said if isinstance(one, str)), None)
