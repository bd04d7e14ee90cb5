"""Aims of an erasure, and its result. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol
from urllib.parse import unquote_plus

import orjson

from store.fhir.resource_types import NOT_ABOUT_PATIENTS
from store.retention.bodies import er7
from store.retention.bodies.mentions import names_in
from store.retention.bodies.plain import in_utf8, unescaped
from store.retention.erased_names import KEY, NUMBER, PATIENT, Name, identifiers_in, patients_of, references
from store.retention.subjects import identifier as spelled
from store.retention.subjects import value_of
from store.search.bundled import people
from store.search.index import index, key
from store.search.parameters import TYPES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from store.retention.receipts import Receipt
    from store.retention.subjects import Subject
    from store.tenancy import Tenant

ERASED: Final = "(erased)"
"""Subject of an ended hold once its patient was erased."""


class Demand(NamedTuple):
    """Demand for an erasure: the subject, and why."""

    tenant: Tenant
    subject: Subject
    reason: str
    by: str
    every: bool = False
    """Whether to erase all Patients when several carry the identifier."""
    absent: bool = False
    """Whether to erase when nothing is stored: what comes later is refused."""


@dataclass(frozen=True, slots=True)
class Erased:
    """Result of an erasure."""

    receipt: Receipt
    shared: int = 0
    """Count of what is kept, because it is about another patient too."""
    again: bool = False
    """Whether it was erased before, and nothing was left."""


class Erasing(Protocol):
    """The verbs of privacy officers that delete at once."""

    async def erase(self, demand: Demand) -> Erased:
        """Erase one patient. Safe to repeat, and after a crash it goes on where it was.

        Raises ServiceError: `not-found` when nothing is stored of the patient, `conflict` when several
        Patients carry the identifier or the same erasure is under way, `incorrect` for the reason.
        """

    async def lift(self, tenant: Tenant, subject: Subject, *, reason: str, by: str) -> int:
        """Let come again what was erased; how many erased names went. Raises ServiceError `not-found`."""


class Offboarding(Protocol):
    """Off-boarding of a tenant that leaves."""

    async def close(self, tenant: Tenant, *, reason: str, by: str, wait_seconds: float) -> Receipt:
        """Close a tenant to clients and delete all it has. Safe to repeat: it goes on where it was.

        `wait_seconds` is how long replicas may take the tenant for open, and write for it.
        Raises ServiceError `not-found`,
        `conflict` when something is held, `incorrect` for the reason.
        """


@dataclass(slots=True)
class KnownAs:
    """Identifiers and references by which a patient is known."""

    references: set[str] = field(default_factory=set)
    """`Patient/id`, and other spellings of references to a patient who is not here."""
    identifiers: set[str] = field(default_factory=set)
    """`system|value`."""
    numbers: set[str] = field(default_factory=set)
    """Values of identifiers that came without a system: they lead to nobody, and name the patient."""

    @property
    def names(self) -> set[Name]:
        """Names that identifiers and references make."""
        values = self.numbers | {value_of(one) for one in self.identifiers}
        numbers = {Name(NUMBER, one) for one in values}
        by_system = {Name(PATIENT, one) for one in self.identifiers}
        return {Name(KEY, one) for one in self.references} | by_system | numbers

    @property
    def keys(self) -> list[str]:
        """Entries of the `keyed` index of what is about the patient."""
        return sorted(
            [key("patient", one) for one in self.references]
            + [key("patient.identifier", one) for one in self.identifiers]
        )

    def needles(self) -> tuple[bytes, ...]:
        """Bytes of which what is about the patient holds at least one."""
        tails = [f'{one.rpartition("/")[2]}"' for one in self.references]
        tails += [f"{one.rpartition('/')[2]}/_history" for one in self.references]
        values = [value_of(one) for one in self.identifiers]
        spelled = {orjson.dumps(one) for one in values} | {_escaped(one) for one in values}
        return tuple(sorted({one.encode() for one in tails} | spelled))


def _escaped(text: str) -> bytes:
    """The text as a JSON string of ASCII alone."""
    inner = "".join(one if " " <= one <= "~" and one not in '"\\' else _surrogates(one) for one in text)
    return f'"{inner}"'.encode()


def _surrogates(character: str) -> str:
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[n]:02x}{units[n + 1]:02x}" for n in range(0, len(units), 2))


class About(NamedTuple):
    """Finding on whom a version is about, by its bytes."""

    own: bool
    others: bool
    """Whether it names another patient."""


def about(resource_type: str, raw: bytes, own: KnownAs, *, base: str | None = None) -> About:
    """Finding on a version whose search side is not stored."""
    names: set[Name]
    if resource_type == "Patient":
        names = {Name(PATIENT, one) for one in identifiers_in(raw)}
        return About(not names.isdisjoint(own.names), others=False)
    if "patient" in TYPES[resource_type].by_name:
        return told(resource_type, raw, index(orjson.loads(raw), resource_type, base=base).keys, own)
    names = {Name(KEY, one) for one in references(raw) if one.startswith("Patient/")}
    names |= {Name(PATIENT, one) for one in identifiers_in(raw) if one in own.identifiers}
    return whose(names, own)


def told(resource_type: str, raw: bytes, keys: Iterable[str], own: KnownAs) -> About:
    """Finding on a version whose entries of the `keyed` index are known."""
    said = whose(patients_of(keys), own)
    if resource_type == "Bundle" and said.own and raw:  # Several patients, and not one by several names.
        return said._replace(others=_tells_of_others(orjson.loads(raw), own))
    return said


def _tells_of_others(bundle: dict[str, Any], own: KnownAs) -> bool:
    """Whether a Bundle has a Patient in it who is not ours by any name, or refers to one."""
    for person in people(bundle):
        known = {str(one["reference"]) for one in person.references if "reference" in one}
        ids = {"/".join(one.split("/")[-2:]) for one in known}  # At whatever base.
        numbers = {_number(one["identifier"]) for one in person.references if "identifier" in one}
        ours = not own.references.isdisjoint(known | ids) or not own.identifiers.isdisjoint(numbers)
        if not ours and (person.inside or known):
            return True
    return False


def _number(identifier: Any) -> str:  # noqa: ANN401 -- JSON
    return spelled(identifier.get("system", ""), identifier.get("value", ""))


def whose(names: Iterable[Name], own: KnownAs) -> About:
    """Whether patients that something names are our own, and whether another is among them."""
    mine, named = own.names, set(names)
    others = {one.text for one in named - mine if one.kind == KEY and one.text.startswith("Patient/")}
    # An identifier beside our own reference is another name of our own.
    return About(not named.isdisjoint(mine), bool(others) and not _only_identified(named, own))


def _only_identified(named: set[Name], own: KnownAs) -> bool:
    """Ours by the identifier alone: then a reference beside it is to somebody who is not here."""
    by_reference = any(one.kind == KEY and one.text in own.references for one in named)
    by_identifier = any(one.kind == PATIENT and one.text in own.identifiers for one in named)
    return by_identifier and not by_reference


def is_about_patients(resource_type: str) -> bool:
    """Whether a resource of this type can be part of a patient's record."""
    return resource_type not in NOT_ABOUT_PATIENTS


class FullName(NamedTuple):
    """A patient's name, to be found in what was never taken apart."""

    family: str
    """The family name; without given names the text of the whole name."""
    given: tuple[str, ...]
    born: str

    def is_in_message(self, body: bytes) -> bool:
        """Whether an HL7 v2 message holds all of it; with another date of birth it is a namesake's."""
        named = all(er7.holds(body, part) for part in (self.family, *self.given))
        return named and not (self.born and er7.is_born_otherwise(body, self.born))

    def is_in(self, folded: str) -> bool:
        """Whether JSON in one case holds all of it; with another date of birth it is a namesake's."""
        if not all(_holds(folded, part) for part in (self.family, *self.given)):
            return False
        has_date = any(name in folded for name in _BIRTH_DATES)
        return not (self.born and has_date) or _holds(folded, self.born)


_BIRTH_DATES: Final = ('"birthdate"', '"dob"')
"""Names of a date of birth in FHIR and in upstream's Data Model, in one case."""


def _holds(folded: str, text: str) -> bool:
    return orjson.dumps(text).decode().casefold() in folded


def full_names(raw: bytes) -> list[FullName]:
    """The names of a stored Patient that have a family name and a given one, or a text."""
    resource: dict[str, Any] = orjson.loads(raw)
    born = resource.get("birthDate")
    found = []
    named = resource.get("name")
    for one in named if isinstance(named, list) else ():
        if not isinstance(one, dict):
            continue
        family, given, text = one.get("family"), one.get("given"), one.get("text")
        parts = tuple(part for part in given if isinstance(part, str)) if isinstance(given, list) else ()
        birth = born if isinstance(born, str) else ""
        if isinstance(family, str) and family and parts:
            found.append(FullName(family, parts, birth))
        if isinstance(text, str) and len(text.split()) > 1:
            found.append(FullName(" ".join(text.split()), (), birth))
    return found


class Wanted(NamedTuple):
    """Texts looked for in bodies that were never taken apart, and in remembered answers."""

    names: frozenset[Name]
    """Own names, and of all that is erased."""
    full_names: tuple[FullName, ...] = ()

    def in_letter(self, body: bytes, path: str, headers: Mapping[str, str]) -> bool:
        """Whether a refused push is about the patient."""
        if not names_in(body, path).isdisjoint(self.names):
            return True
        said = unquote_plus(path) + "\n" + unquote_plus("\n".join(headers.values()))
        numbers = self._numbers()
        if any(re.search(rf"[=|]{re.escape(number)}(?=[&,\n]|$)", said) for number in numbers):
            return True
        body = in_utf8(body)
        if er7.is_er7(body):
            named = any(name.is_in_message(body) for name in self.full_names)
            return named or any(er7.holds(body, number) for number in numbers)
        folded = unescaped(body).decode(errors="replace").casefold() if self.full_names else ""
        return any(name.is_in(folded) for name in self.full_names)

    def _numbers(self) -> set[str]:
        numbers = {one.text for one in self.names if one.kind == NUMBER}
        return numbers | {value_of(one.text) for one in self.names if one.kind == PATIENT}

    def in_query(self, query: bytes) -> bool:
        """Whether a search holds a value or a part of a name of the patient."""
        said = unquote_plus(query.decode(errors="replace")).casefold()
        parts = sorted(self._numbers())
        parts += [one.text.rpartition("/")[2] for one in self.names if one.text.startswith("Patient/")]
        parts += [part for name in self.full_names for part in (name.family, *name.given)]
        return any(re.search(rf"(?<!\w){re.escape(part.casefold())}(?!\w)", said) for part in parts if part)

    def in_answer(self, body: bytes, headers: Iterable[Iterable[str]], shown: Iterable[str]) -> bool:
        """Whether a remembered answer tells of what is erased."""
        quoted = b" ".join(b'"' + value.encode() + b'"' for _, value in headers)
        told = {Name(KEY, one) for one in shown}
        return not told.isdisjoint(self.names) or self._refers(body) or self._refers(quoted)

    def _refers(self, body: bytes) -> bool:
        return any(Name(KEY, one) in self.names for one in references(body))
