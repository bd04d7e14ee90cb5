"""State of one message on its way to FHIR: its source, its entries, and the place that each comes from."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Final
from urllib.parse import quote
from uuid import UUID, uuid5

from ingest.data_model.codecs import codeset, datetimes, instants
from ingest.data_model.places import KINDS
from ingest.data_model.table import URN
from ingest.hl7v2.dates import zone_of
from ingest.hl7v2.mapping.systems import IDENTIFIER_TYPES, NPI, SSN
from ingest.pipeline.stamp import dump

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ingest.data_model.codecs import Codec
    from ingest.data_model.models import ResultsNew
    from ingest.data_model.places import Element
    from ingest.hl7v2.profile import SourceProfile
    from store.fhir.datatypes import JsonObject

_NAMESPACE: Final = UUID("3f1b6a0e-7d0c-5f0e-9a41-0b8f7c2d6e11")
_DATETIMES: Final = ("CollectionDateTime", "TransactionDateTime", "VisitDateTime", "DeathDateTime")
_RECORDS: Final = frozenset({"MR", "PI"})
ORIGIN: Final = "https://fhir.redoxengine.com/StructureDefinition/identifier-origin"


class Context:
    """State that the functions of the mapping share."""

    def __init__(self, message: ResultsNew, profile: SourceProfile, organization: str) -> None:
        source = message.Meta.Source
        self.profile = profile
        self.organization = organization
        self.sender = source.ID or source.Name or ""
        told = f"{URN}source:{quote(self.sender, safe='')}" if self.sender else ""
        self.endpoint = profile.endpoint or told
        self.codeset = codeset(self.sender)
        zone = zone_of(profile.zone) or UTC
        self.times: Mapping[str, Codec] = {
            **dict.fromkeys(_DATETIMES, datetimes(zone)),
            "CompletionDateTime": instants(zone),
        }
        """Codecs of times, by the name of the field: those without a zone are in that of the profile."""
        self.zone = zone
        self.unread: list[str] = []
        """JSON paths of what FHIR has no value for."""
        self.entries: list[Element] = []
        self.origins: list[str] = []
        """JSON path of each entry."""
        self.place = "$"
        """Path of what is being mapped."""
        self._known: dict[bytes, str] = {}
        name = dump(_name(message))
        self._uuids: Final = f"urn:uuid:{str(uuid5(_NAMESPACE, f'{self.endpoint} {name.hex()}'))[:24]}"

    def misread(self, path: str) -> None:
        """Note a value, below the place that is being mapped, that FHIR has no value for."""
        self.unread.append(f"{self.place}.{path}")

    def add(self, resource: Element) -> str:
        """Make an entry of the Bundle; the reference to it."""
        url = f"{self._uuids}{len(self.entries):012x}"
        self.entries.append({"fullUrl": url, "resource": resource})
        self.origins.append(self.place)
        return url

    def shared(self, resource: Element) -> Element:
        """A reference to an entry that several places of the message name."""
        key = dump(resource)
        if key not in self._known:
            self._known[key] = self.add(resource)
        return {"reference": self._known[key]}

    def system(self, kind: str) -> str:
        """The identifier system of a type of numbers: the profile's, else upstream's name for it."""
        return f"urn:redox:{self.organization}:{quote(kind, safe='')}"

    def patient_system(self, kind: str | None) -> str:
        """The system of a patient's numbers of a type."""
        known = _code(self.profile, kind)
        if kind and (told := self.profile.authorities.get(kind)):
            return told
        if known == "SS":
            return SSN
        if known in _RECORDS or kind is None:
            return self.profile.default_authority or (self.system(kind) if kind else "")
        return self.system(kind)

    def number(self, value: str, kind: str | None, system: str) -> Element:
        """An identifier whose type is said in the source's words."""
        made: Element = {}
        if kind:
            made["type"] = {"coding": [{"system": KINDS, "code": _code(self.profile, kind)}], "text": kind}
        if system:
            made["system"] = system
        return {**made, "value": value}

    def other_number(self, value: str, kind: str | None) -> Element:
        """The identifier of a person or organization."""
        if kind == "NPI":
            return self.number(value, kind, NPI)
        system = (self.profile.authorities.get(kind) or self.system(kind)) if kind else ""
        return self.number(value, kind, system)

    def order_numbers(self, order_id: str | None, application_id: str | None) -> list[Element]:
        """The numbers of an order, that of the filler first."""
        own = self.profile.default_order_authority
        made = []
        if application_id:
            made.append(_order_number("FILL", own or self.system("ApplicationOrderID"), application_id))
        if order_id:
            made.append(_order_number("PLAC", own or self.system("OrderID"), order_id))
        return made


def _order_number(code: str, system: str, value: str) -> Element:
    return {
        "extension": [{"url": ORIGIN, "valueString": "RedoxAPI"}],
        "type": {"coding": [{"system": KINDS, "code": code}]},
        "system": system,
        "value": value,
    }


def _code(profile: SourceProfile, kind: str | None) -> str:
    """The type of numbers in HL7 table 0203, as far as it is known."""
    return (
        profile.identifier_types.get(kind or "") or IDENTIFIER_TYPES.get((kind or "").upper()) or kind or ""
    )


def _name(message: ResultsNew) -> JsonObject:
    """The message's name, for the ids of its entries: they mean something within it alone."""
    orders: Mapping[str, object] = {
        f"{number}": one.ID or one.ApplicationOrderID or "" for number, one in enumerate(message.Orders)
    }
    return {"at": message.Meta.EventDateTime or "", **orders}  # type: ignore[dict-item]
