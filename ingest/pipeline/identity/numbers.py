"""Business identifiers as evidence of who is who: which of them name one thing, and how surely.

One table by HL7 table 0203 and resource type decides. A number that cannot be evidence is still searched by.
https://terminology.hl7.org/CodeSystem-v2-0203.html
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from ingest.pipeline.placeholders import is_placeholder
from store.fhir.datatypes import listed
from store.fhir.instants import parse, to_datetime
from store.fhir.references import parse_conditional
from store.search.values.escapes import escape
from store.search.values.references import asked_identifier
from store.search.values.strings import folded_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from collections.abc import Set as AbstractSet
    from datetime import datetime

    from store.fhir.datatypes import JsonObject


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
    ending: tuple[tuple[str, str, str], ...] = ()
    """System, value and end of each current number whose period has one."""


_NO_NUMBER_OF_A_PATIENT: Final = frozenset(
    # Accounts, cards, visits, subscribers, members, employers, facilities and organizations, specimens and
    # orders, trials, serial numbers, temporary and anonymous ones, and numbers of whoever treats: v2-0203
    # says of none of these that it names one person, or that the person is the patient.
    "AN ANC AND ANON ANT AC ACSN AM AMA VN SN MB MBR FI XX NII NIIP GI GN GL WC WCN LI L&I FILL PLAC PGN"
    " FGN TN MRT PNT U VS ESN AIN ASID SB BA BC BCT CC DI DS MS DDS EN NE FAC FDR FDRFE HPLAN XV IND NCT"
    " LACSN SID USID OBI PHO PHE BSNR RI UDI VIN SAMN SNBSN SNO SRX STN APRN DEA DFN DN DO DP DPM LANR MCR"
    " MCT MD NP NPI NPI-N OD PA PIN PPIN PRN QA RN RPH SL UPIN".split()
)
_SHARED_IN_WORDS: Final = frozenset(
    "account accession encounter visit subscriber subscription member membership policy insurance insured"
    " insurer payer plan group household family guarantor employer facility organization organisation order"
    " specimen sample temporary temp anonymous practitioner provider physician doctor".split()
)
"""Words for such numbers of a Patient, in a type that is told in words or in codes of the source's own."""
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
UNNAMED: Final = "client "
"""Beginning of the name of a sender that names no endpoint."""
_FORMER: Final = "old"
_USES: Final = frozenset({"", "usual", "official"})
"""Uses of a number that is evidence, whatever the case; any other, also one that R4 does not have, takes it
out. https://hl7.org/fhir/R4/valueset-identifier-use.html
"""
LINKS: Final = frozenset({"replaced-by", "replaces"})
"""Types of `Patient.link` between records of one person, of which one was merged into the other."""


def numbers_of(
    resource: JsonObject, *, placeholders: AbstractSet[str], source: str, now: datetime | None
) -> Numbers:
    """The numbers of a resource, whatever may be wrong with its other elements.

    `source` stands for the system of a number that has none, with its assigner; without it such a number is
    no evidence.
    """
    resource_type = str(resource.get("resourceType"))
    current, former, ending = [], [], []
    for identifier in _identifiers(resource):
        value, system = identifier.get("value"), identifier.get("system") or _assigned(identifier, source)
        if not isinstance(value, str) or not isinstance(system, str) or not system:
            continue
        if is_placeholder(value, placeholders):
            continue
        kinds = kinds_of(identifier)
        if kinds & _UNFIT.get(resource_type, frozenset()) or _is_shared_in_words(
            resource_type, kinds, identifier
        ):
            continue
        rank = _rank(resource_type, kinds)
        if not identifier.get("system"):
            rank = max(rank, _within_a_source(resource_type, rank, source))
        number = Number(rank, system, value)
        use = _use(identifier)
        end = _end(identifier)
        if use == _FORMER:
            former.append(number)
        elif use in _USES and not has_ended(end, now):
            current.append(number)
            ending += [(system, value, end)] if end else []
    return Numbers(
        tuple(sorted(dict.fromkeys(current))), tuple(sorted(dict.fromkeys(former))), tuple(sorted(ending))
    )


def _use(identifier: JsonObject) -> str:
    """The use, without regard to case."""
    told = next(iter(listed(identifier.get("use"))), "")
    return told.strip().lower() if isinstance(told, str) else "?"


def _assigned(identifier: JsonObject, source: str) -> str:
    """Name that stands for a system: the source, and whom it names as the assigner of the number."""
    assigner = identifier.get("assigner")
    if not source or not isinstance(assigner, dict):
        return source
    number = assigner.get("identifier")
    own = number.get("value") if isinstance(number, dict) else None
    # Not a reference: it may be another one in each message.
    told = [" ".join(folded_words(one)) for one in (own, assigner.get("display")) if isinstance(one, str)]
    return " assigned by ".join([source, *told[:1]])


def _is_shared_in_words(resource_type: str, kinds: AbstractSet[str], identifier: JsonObject) -> bool:
    """Whether words say that a patient's number is an account's, a household's, an insurer's …"""
    if resource_type != "Patient" or kinds & _STRONG["Patient"]:
        return False
    return any(not _SHARED_IN_WORDS.isdisjoint(folded_words(text)) for text in _words_of(identifier))


def _words_of(identifier: JsonObject) -> Iterator[str]:
    """Texts that say what kind of number an identifier is."""
    for kind in listed(identifier.get("type")):
        if not isinstance(kind, dict):
            continue
        yield from (text for text in listed(kind.get("text")) if isinstance(text, str))
        for coding in listed(kind.get("coding")):
            if isinstance(coding, dict):
                told = (coding.get("code"), coding.get("display"))
                yield from (text for text in told if isinstance(text, str))


def _linked(patient: JsonObject) -> Iterator[JsonObject]:
    """The identifiers by which a Patient names a record that it replaces, or is replaced by."""
    for link in listed(patient.get("link")):
        other = link.get("other") if isinstance(link, dict) and link.get("type") in LINKS else None
        identifier = other.get("identifier") if isinstance(other, dict) else None
        if isinstance(identifier, dict):
            yield identifier


def _identifiers(resource: JsonObject) -> Iterator[JsonObject]:
    """Each identifier; of a Specimen without any, its accession's."""
    found = [one for one in listed(resource.get("identifier")) if isinstance(one, dict)]
    if not found and resource.get("resourceType") == "Specimen":
        found = [one for one in listed(resource.get("accessionIdentifier")) if isinstance(one, dict)]
    yield from found
    if resource.get("resourceType") == "Patient":
        yield from ({**one, "use": _FORMER} for one in _linked(resource))


def asked_for(reference: str, *, base: str) -> JsonObject:
    """The identifier that a search in place of a reference names a patient by; empty: it names none."""
    asked = parse_conditional(reference, base=base or None)
    found = asked_identifier(asked) if asked is not None and asked.type == "Patient" else None
    return {} if found is None else {"system": found[0], "value": found[1]}


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
    named = not source.startswith(UNNAMED)
    # A report never moves to another patient by such a number.
    return Rank.ORDER if resource_type == "DiagnosticReport" and (rank is Rank.WEAK or not named) else rank


def _end(identifier: JsonObject) -> str:
    """The end of an identifier's period as it was written; empty: there is none."""
    period = next(iter(listed(identifier.get("period"))), None)
    end = period.get("end") if isinstance(period, dict) else None
    return end if isinstance(end, str) else ""


def has_ended(end: str, now: datetime | None) -> bool:
    """Whether a number is no longer anybody's; an end that cannot be read is a doubt, which makes two."""
    if not end or now is None:
        return False
    try:
        return to_datetime(parse(end).end) <= now
    except (ValueError, OverflowError):
        return True
