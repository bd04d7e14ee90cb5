"""HL7 v2 messages as FHIR message Bundles, by the tables of `ingest/hl7v2/mapping`. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ingest.hl7v2.faults import Fault
from ingest.hl7v2.profile import SourceProfile
from ingest.hl7v2.reader import Message
from store.fhir.datatypes import JsonObject


class Merge(NamedTuple):
    """A number that another one replaces (ADT A34, A40, A47), as FHIR identifiers.

    They hold a patient's numbers: never to be logged.
    """

    surviving: JsonObject
    retired: JsonObject


@dataclass(frozen=True, slots=True)
class Translation:
    """A message in FHIR."""

    bundle: JsonObject | None
    """A Bundle of type `message` for the message pipeline; None: there is nothing to store."""
    faults: tuple[Fault, ...] = ()
    """The reader's faults and the mapping's; of severity `E`: the message is refused, AE."""
    merges: tuple[Merge, ...] = ()
    """For the audit: the Bundle says the same, so that the pipeline links the records."""
    unsupported: bool = False
    """The type or event is not for this service: AR."""

    @property
    def refused(self) -> bool:
        """Whether a fault refuses the message."""
        return any(one.severity == "E" for one in self.faults)


def translate(message: Message, profile: SourceProfile) -> Translation:
    """Map a message to FHIR. Nothing raises: faults say what is wrong."""
    raise NotImplementedError
