"""A message read once: its entries with their facts, and where its references lead."""

from __future__ import annotations

from collections import defaultdict
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple

from ingest.pipeline.bundle_references import BundleReferences, is_dead, pointers_of
from ingest.pipeline.identity.facts import Facts, contained_patient, facts_of, patient_of, time_of
from ingest.pipeline.identity.likeness import SAID, is_of_its_message
from ingest.pipeline.identity.numbers import Number, Rank, asked_for, numbers_of
from ingest.pipeline.identity.wording import codes_of, title_of
from store.fhir.datatypes import JsonObject
from store.fhir.instants import ABSENT
from store.fhir.references import RELATIVE
from store.fhir.resource_types import RESOURCE_TYPES
from store.files import references_to_files
from store.resources.versions import SourceTime

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.pipeline.identity.facts import FactContext


PATIENT: Final = "Patient"


REPORT: Final = "DiagnosticReport"


_OF_PATIENTS: Final = frozenset({REPORT, "Observation"})
"""Types of which it is looked up whose they are by a number that they themselves name."""
_ABSOLUTE: Final = ("urn:", "http://", "https://")


class Entry(NamedTuple):
    """Resource of a message, as it came."""

    resource: JsonObject
    full_url: str | None
    content: bytes
    """Content without the id: equal content under one id is one resource sent twice."""
    sourced: SourceTime = ""
    ahead: bool = False
    """Whether its source says a time that is not believed."""

    @property
    def type(self) -> str:
        """The resource type."""
        return str(self.resource["resourceType"])


class Reader:
    """A message read once: its facts and its references."""

    def __init__(self, entries: Sequence[Entry], reading: FactContext, *, base: str) -> None:
        self.entries = entries
        self.reading = reading
        self.base = base
        self._digest = ""
        self.references = BundleReferences([(one.resource, one.full_url) for one in entries])
        pointers = [pointers_of(one.resource) for one in entries]
        self.texts = [one.texts for one in pointers]
        self.pointing = [one.elements for one in pointers]
        """For each entry, the elements that hold its references."""
        self.targets = [
            {text: self.references.resolve(n, text) for text in texts} for n, texts in enumerate(self.texts)
        ]
        self.leads = {
            n: [there for there in found.values() if there is not None]
            for n, found in enumerate(self.targets)
        }
        self.types = [one.type for one in entries]
        self.facts = [self._facts(n) for n in range(len(entries))]
        self.patients = [patient_of(one.resource) for one in entries]
        self.logical = {n: self._logical(n) for n, kind in enumerate(self.types) if kind in _OF_PATIENTS}
        self.by_type: defaultdict[str, list[int]] = defaultdict(list)
        for number, kind in enumerate(self.types):
            self.by_type[kind].append(number)

    def _facts(self, number: int) -> Facts:
        entry = self.entries[number]
        facts = facts_of(entry.resource, self.reading, base=self.base)
        own = self.references.own_id(number)
        if self.types[number] == REPORT and is_of_its_message(facts._replace(own=own or "")):
            # Another message is another report, though it may say the same.
            own = f"{SAID}{self.digest} {sha256(entry.content).hexdigest()}"
        own = f"{self.reading.source}|{own}" if own is not None and self.reading.source else ""
        return facts if facts.own == own else facts._replace(own=own)

    def _logical(self, number: int) -> tuple[Number, ...]:
        """The numbers by which a report or observation itself names its patient."""
        report = self.entries[number].resource
        if (inside := contained_patient(report)) is not None:
            return tuple(one for one in facts_of(inside, self.reading).numbers if one.rank is Rank.STRONG)
        subject = report.get("subject")
        if not isinstance(subject, dict):
            return ()
        identifier, text = subject.get("identifier"), subject.get("reference")
        if isinstance(text, str) and "?" in text:
            identifier = asked_for(text, base=self.base)
        if not isinstance(identifier, dict):
            return ()
        named: JsonObject = {"resourceType": PATIENT, "identifier": [identifier]}
        return facts_of(named, self.reading).numbers

    def only_patient(self, number: int) -> str:
        """The reference that is a report's only word of its patient; empty: there is no such one."""
        subject = self.entries[number].resource.get("subject")
        if not isinstance(subject, dict) or isinstance(subject.get("identifier"), dict):
            return ""
        text = subject.get("reference")
        if not isinstance(text, str) or (text.startswith("#") and "display" in subject):
            return ""
        return text

    @property
    def digest(self) -> str:
        """Digest of all that the message says, hexadecimal; made once, for those who ask for it."""
        if not self._digest:
            self._digest = sha256(b"".join(sorted([one.content for one in self.entries]))).hexdigest()
        return self._digest

    def is_dead(self, number: int, text: str) -> bool:
        """Whether a patient's reference leads nowhere by its form, or to nothing that the report contains."""
        if text.startswith("#"):
            return contained_patient(self.entries[number].resource) is None
        return is_dead(text)

    def leads_to(self, number: int) -> list[int]:
        """The entries that an entry refers to."""
        return self.leads[number]

    def specimens(self, number: int) -> tuple[str, ...]:
        """Names of the specimens of a report."""
        found: list[str] = []
        for there in self.leads_to(number):
            entry = self.entries[there]
            if entry.type == "Specimen":
                found += _specimen_names(entry.resource, self.reading)
        return tuple(sorted(dict.fromkeys(found)))

    def missing(self, number: int) -> list[str]:
        """References of an entry that lead out of the message, and not to this service by its address."""
        return [
            text
            for text, there in self.targets[number].items()
            if there is None
            and (self._leads_nowhere(text) if self.texts[number][text] else is_of_source(text))
        ]

    def _leads_nowhere(self, text: str) -> bool:
        if text.startswith(_ABSOLUTE):
            return not text.startswith(f"{self.base}/")
        return RELATIVE.fullmatch(text.partition("/_history/")[0]) is not None


def is_of_source(url: str) -> bool:
    """Whether the URL of an Attachment names a resource of its source, which none of ours may stand for.

    A file of ours was put there when the document was taken out of the message.
    """
    match = RELATIVE.fullmatch(url.partition("/_history/")[0])
    return match is not None and match[1] in RESOURCE_TYPES and not references_to_files(f'"{url}"'.encode())


def _specimen_names(specimen: JsonObject, reading: FactContext) -> tuple[str, ...]:
    """Names by which the specimens of two reports are told apart: `#number`, else `=` and what it is."""
    found = numbers_of(specimen, placeholders=reading.placeholders, source=reading.source, now=reading.now)
    if found.current:
        return tuple(f"#{one.name}" for one in found.current)
    collection = specimen.get("collection")
    site = collection.get("bodySite") if isinstance(collection, dict) else None
    told = [*codes_of(specimen.get("type")), title_of(specimen.get("type")), *codes_of(site), title_of(site)]
    time = time_of(specimen)
    words = [one for one in told if one] + ([f"{time.start}-{time.end}"] if time != ABSENT else [])
    return (f"={' '.join(words)}",) if words else ()
