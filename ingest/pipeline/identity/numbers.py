"""Business identifiers as evidence of who is who: which of them name one thing, and how surely.

One table by HL7 table 0203 and resource type decides. A number that cannot be evidence is still searched by.
https://terminology.hl7.org/CodeSystem-v2-0203.html
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from store.fhir.datatypes import listed
from store.fhir.instants import parse, to_datetime
from store.search.values.escapes import escape

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from collections.abc import Set as AbstractSet
    from datetime import datetime

    from store.fhir.datatypes import Json, JsonObject


class Rank(IntEnum):
    """Sureness with which a number names one thing; the lower, the surer."""

    STRONG = 0
    """The number that its issuer gives to this thing and no other."""
    SHARED = 1
    """A number of a step in the work, which several things may carry: an accession."""
    WEAK = 2
    """A number without a type, or one that people share or misquote."""
    ORDER = 3
    """A number of an order, which all that comes of the order carries."""


class Number(NamedTuple):
    """A business identifier that can be evidence."""

    rank: Rank
    system: str
    value: str

    @property
    def name(self) -> str:
        """`system|value`, escaped as in the index."""
        return f"{escape(self.system)}|{escape(self.value)}"


class Numbers(NamedTuple):
    """The numbers of a resource."""

    current: tuple[Number, ...] = ()
    """Evidence of who it is, the surest first."""
    former: tuple[Number, ...] = ()
    """Numbers with `use` `old`: those of a record that was merged into this one."""


_NO_NUMBER_OF_A_PATIENT: Final = frozenset(
    # Accounts, visits, subscribers, members, facilities and organizations, specimens and orders, temporary
    # and anonymous ones: v2-0203 says of none of these that it names one person.
    "AN ANC AND ANON ANT AC ACSN AM AMA VN SN MB MBR FI XX NII NIIP GI GN WC WCN FILL PLAC PGN FGN"
    " TN MRT U VS ESN AIN SB BC BCT CC DDS FAC HPLAN LACSN SID USID OBI PHO PHE BSNR RI UDI VIN".split()
)
_NO_NUMBER_OF_A_REPORT: Final = frozenset(
    "MR MRT PI PT PN PE AN ANC AND ANON ANT VN SS SN MB MBR NI HC MC MA FI XX NII NIIP DL PPN BA BC U".split()
)
_NO_NUMBER_OF_A_PERSON: Final = frozenset("AN ANC AND ANON ANT VN SN MB MBR FILL PLAC PGN ACSN TN U".split())

_STRONG: Final[Mapping[str, AbstractSet[str]]] = {
    "Patient": frozenset({"MR", "PI"}),
    "DiagnosticReport": frozenset({"FILL"}),
    "Observation": frozenset({"FILL"}),
    "ServiceRequest": frozenset({"PLAC"}),
    "Encounter": frozenset({"VN"}),
    # Not PRN, which may be a group's, nor TAX, which the parts of one company share.
    "Practitioner": frozenset({"NPI", "NPI-N", "DN", "MD"}),
    "Organization": frozenset({"NPI", "XX", "FI"}),
}
"""Types of numbers that name one thing by themselves."""
_UNFIT: Final[Mapping[str, AbstractSet[str]]] = {
    "Patient": _NO_NUMBER_OF_A_PATIENT,
    "DiagnosticReport": _NO_NUMBER_OF_A_REPORT,
    "Observation": _NO_NUMBER_OF_A_REPORT,
    "ServiceRequest": _NO_NUMBER_OF_A_REPORT,
    "Encounter": _NO_NUMBER_OF_A_REPORT - {"VN"},
    "Practitioner": _NO_NUMBER_OF_A_PERSON,
}
"""Types of numbers that never name one thing of the resource type."""
_SHARED: Final = frozenset({"ACSN", "LACSN", "SID", "USID"})
_ORDERS: Final = frozenset({"PLAC", "PGN", "FGN"})
_FORMER: Final = "old"
LINKS: Final = frozenset({"replaced-by", "replaces"})
"""Types of `Patient.link` between records of one person, of which one was merged into the other."""
_NOT_NOW: Final = frozenset({"old", "temp", "secondary"})
"""Uses that take a number out of the evidence. https://hl7.org/fhir/R4/valueset-identifier-use.html"""


def numbers_of(
    resource: JsonObject, *, placeholders: AbstractSet[str], source: str, now: datetime | None
) -> Numbers:
    """The numbers of a resource, whatever may be wrong with its other elements.

    `source` stands for the system of a number that has none; without it such a number is no evidence.
    """
    resource_type = str(resource.get("resourceType"))
    current, former = [], []
    for identifier in _identifiers(resource):
        value, system = identifier.get("value"), identifier.get("system") or source
        if not isinstance(value, str) or not isinstance(system, str) or not system:
            continue
        if is_placeholder(value, placeholders):
            continue
        kinds = kinds_of(identifier)
        if kinds & _UNFIT.get(resource_type, frozenset()):
            continue
        rank = _rank(resource_type, kinds)
        if not identifier.get("system"):
            rank = max(rank, _within_a_source(resource_type, rank, source))
        number = Number(rank, system, value)
        use = identifier.get("use")
        if use == _FORMER:
            former.append(number)
        elif use not in _NOT_NOW and not _ended(identifier.get("period"), now):
            current.append(number)
    return Numbers(tuple(sorted(dict.fromkeys(current))), tuple(sorted(dict.fromkeys(former))))


def _linked(patient: JsonObject) -> Iterator[JsonObject]:
    """The identifiers by which a Patient names a record that it replaces, or is replaced by."""
    for link in listed(patient.get("link")):
        other = link.get("other") if isinstance(link, dict) and link.get("type") in LINKS else None
        identifier = other.get("identifier") if isinstance(other, dict) else None
        if isinstance(identifier, dict):
            yield identifier


def is_placeholder(value: str, placeholders: AbstractSet[str]) -> bool:
    """Whether a value stands for "there is none": a word of the setting, or one character again and again."""
    bare = "".join(character for character in value if character.isalnum()).upper()
    return not bare or bare in placeholders or (len(bare) > 1 and len(set(bare)) == 1 and bare[0] in "0X9")


def placeholder_words(words: Iterable[str]) -> frozenset[str]:
    """The words of the setting as `is_placeholder` compares them: capitals, letters and digits alone."""
    return frozenset("".join(c for c in word if c.isalnum()).upper() for word in words)


def _identifiers(resource: JsonObject) -> Iterator[JsonObject]:
    """Each identifier; of a Specimen without any, its accession's."""
    found = [one for one in listed(resource.get("identifier")) if isinstance(one, dict)]
    if not found and resource.get("resourceType") == "Specimen":
        found = [one for one in listed(resource.get("accessionIdentifier")) if isinstance(one, dict)]
    yield from found
    if resource.get("resourceType") == "Patient":
        yield from ({**one, "use": _FORMER} for one in _linked(resource))


def kinds_of(identifier: JsonObject) -> AbstractSet[str]:
    """The codes of an identifier's type; a type that came as a list counts as its members."""
    return {
        str(coding["code"]).upper()
        for kind in listed(identifier.get("type"))
        if isinstance(kind, dict)
        for coding in listed(kind.get("coding"))
        if isinstance(coding, dict) and "code" in coding
    }


def _rank(resource_type: str, kinds: AbstractSet[str]) -> Rank:
    if kinds & _STRONG.get(resource_type, frozenset()):
        return Rank.STRONG
    if kinds & _SHARED:
        return Rank.SHARED
    return Rank.ORDER if kinds & _ORDERS else Rank.WEAK


def _within_a_source(resource_type: str, rank: Rank, source: str) -> Rank:
    """Rank of a number without a system: many hospitals may be behind one source."""
    if resource_type == "Patient":
        return Rank.WEAK
    named = not source.startswith("client ")
    # A report never moves to another patient by such a number.
    return Rank.ORDER if resource_type == "DiagnosticReport" and (rank is Rank.WEAK or not named) else rank


def _ended(period: Json, now: datetime | None) -> bool:
    end = period.get("end") if isinstance(period, dict) else None
    if not isinstance(end, str) or now is None:
        return False
    try:
        return to_datetime(parse(end).end) <= now
    except ValueError:
        return False  # Whether it may stand there is for the validation to say.
