"""`Results.Query` and `PatientSearch.Query` as FHIR searches. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import BeforeValidator, Field

from ingest.data_model.codecs import DATE, DATETIME
from ingest.data_model.lenient import Texts, Word, an_object, several, some_text
from ingest.data_model.models import AMeta, APatient, Patient, Shape, fault
from ingest.data_model.people import kind_in_words
from ingest.data_model.places import kind_of
from ingest.data_model.table import at
from ingest.hl7v2.mapping.systems import IDENTIFIER_TYPES, SSN
from store.errors import Category, ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ingest.data_model.models import Identifier
    from ingest.data_model.places import Element
    from store.fhir.issues import Issue

    Pair = tuple[str, str]

_WORD: Final = re.compile(r"\w")
_BESIDE_NAMES: Final = frozenset({"birthdate", "phone", "email"})
"""Parameters of which a name needs one beside it."""
PATIENTS_MAX: Final = 50
"""Patients of one query; one with several identifiers is a search of its own."""
STATUSES: Final[Mapping[str, str]] = {
    "Final": "final",
    "Preliminary": "preliminary",
    "Corrected": "corrected,amended,appended",
    "Canceled": "cancelled,entered-in-error",
    "In Process": "registered,partial",
    "Unavailable": "unknown",
    "Other": "unknown",
}
"""Statuses of reports by ResultStatuses."""
INCLUDES: Final = (
    ("_include", "DiagnosticReport:subject"),
    ("_include", "DiagnosticReport:encounter"),
    ("_include", "DiagnosticReport:based-on"),
    ("_include", "DiagnosticReport:result"),
)
DEMOGRAPHICS: Final = (
    ("LastName", "family"),
    ("FirstName", "given"),
    ("DOB", "birthdate"),
)
"""Demographics that are asked for; the others are compared afterwards."""


class Window(Shape):
    """A time of completion."""

    StartDateTime: Word = None
    EndDateTime: Word = None


class ResultsQuery(Shape):
    """`Results.Query`."""

    Meta: AMeta
    Patients: Annotated[list[Patient], BeforeValidator(several)] = Field(default_factory=list)
    Completion: Annotated[Window, BeforeValidator(an_object)] = Field(default_factory=Window)
    ResultStatuses: Texts = Field(default_factory=list)
    OrderIDs: Texts = Field(default_factory=list)
    Procedures: Annotated[list[Any], BeforeValidator(several)] = Field(default_factory=list)


class PatientQuery(Shape):
    """`PatientSearch.Query`."""

    Meta: AMeta
    Patient: APatient = Field(default_factory=Patient)


def escaped(text: str) -> str:
    """A text as one value of a search parameter."""
    for mark in "\\,|$":
        text = text.replace(mark, f"\\{mark}")
    return text


def fits(number: Element, asked: Identifier) -> bool:
    """Whether a stored identifier is the one that a query names: its value, and its type if it says one."""
    if number.get("value") != asked.ID:
        return False
    if asked.IDType is None:
        return True
    code = IDENTIFIER_TYPES.get(asked.IDType.upper()) or asked.IDType
    return asked.IDType == kind_in_words(number) or code == kind_of(number)


def tokens(asked: Identifier, known: Iterable[Element], organization: str) -> list[str]:
    """The search tokens of an identifier: with the systems that stored patients have it in, and ours."""
    value = escaped(asked.ID or "")
    systems = {str(one.get("system", "")) for one in known if fits(one, asked)}
    if asked.IDType:
        systems.add(f"urn:redox:{organization}:{asked.IDType}")
    return [f"{escaped(system)}|{value}" for system in sorted(systems)]


def faults(query: ResultsQuery) -> Iterator[Issue]:
    """Faults of a query that nothing could be found by."""
    if len(query.Patients) > PATIENTS_MAX:
        yield fault(
            "$.Patients", f"are more than {PATIENTS_MAX}: ask for them in several queries", "too-costly"
        )
    for number, one in enumerate(query.Patients):
        if not one.Identifiers or any(each.ID is None for each in one.Identifiers):
            rule = (
                "names no patient: each has `ID`, and `IDType` where it is known; see `PatientSearch.Query`"
            )
            yield fault(f"$.Patients[{number}].Identifiers", rule, "required")
    for number, word in enumerate(query.ResultStatuses):
        if word not in STATUSES:
            rule = f"is none of {', '.join(STATUSES)}"
            yield fault(f"$.ResultStatuses[{number}]", rule, "value")
    for name in ("StartDateTime", "EndDateTime"):
        text = getattr(query.Completion, name)
        if text is not None and DATETIME.to_fhir(text) is None:
            rule = "must be a date, or a time with seconds and zone"
            yield fault(f"$.Completion.{name}", rule, "value")


def report_pairs(query: ResultsQuery) -> list[Pair]:
    """The parameters of all searches of a query; they leave out the patients. Raises ServiceError."""
    pairs: list[Pair] = []
    if query.ResultStatuses:
        pairs.append(("status", ",".join(STATUSES[word or ""] for word in query.ResultStatuses)))
    if query.OrderIDs:
        pairs.append(("order", ",".join(escaped(one or "") for one in query.OrderIDs)))
    if query.Procedures:
        pairs.append(("code", ",".join(_code(one, number) for number, one in enumerate(query.Procedures))))
    if query.Completion.StartDateTime:
        pairs.append(("issued", f"ge{query.Completion.StartDateTime}"))
    if query.Completion.EndDateTime:
        pairs.append(("issued", f"le{query.Completion.EndDateTime}"))
    return [*pairs, *INCLUDES]


def _code(procedure: Any, number: int) -> str:  # noqa: ANN401 -- JSON
    code = procedure.get("Code") if isinstance(procedure, dict) else procedure
    try:
        text = some_text(code)
    except ValueError:
        text = None
    if text is None:
        rule = "must be a code, or an object with `Code`"
        raise ServiceError(Category.INCORRECT, fault(f"$.Procedures[{number}]", rule))
    return escaped(text)


def patient_groups(query: ResultsQuery, known: Sequence[Element], organization: str) -> list[list[Pair]]:
    """Parameters of the patients: those with one identifier together, one with several by all of them."""
    alone: list[str] = []
    groups: list[list[Pair]] = []
    for one in query.Patients:
        spelled = [tokens(each, known, organization) for each in one.Identifiers]
        if any(not each for each in spelled):
            continue  # Nobody has such a number.
        if len(spelled) == 1:
            alone += spelled[0]
        else:
            groups.append([("patient.identifier", ",".join(each)) for each in spelled])
    together = [[("patient.identifier", ",".join(dict.fromkeys(alone)))]] if alone else []
    return [*together, *groups]


def person_pairs(query: PatientQuery) -> list[Pair]:
    """Parameters that find a person: identifiers, else name and birth. Raises ServiceError for too little."""
    numbers = [one for one in query.Patient.Identifiers if one.ID]
    if numbers:
        return [("identifier", escaped(one.ID or "")) for one in numbers]
    who = query.Patient.Demographics
    if who.DOB and DATE.to_fhir(who.DOB) is None:
        rule = "must be a date: `YYYY-MM-DD`"
        raise ServiceError(Category.INCORRECT, fault("$.Patient.Demographics.DOB", rule, "value"))
    if who.SSN:
        return [("identifier", f"{SSN}|{escaped(who.SSN)}")]
    pairs = [(name, getattr(who, word)) for word, name in DEMOGRAPHICS if getattr(who, word)]
    pairs += [("phone", one) for one in (who.PhoneNumber.Home, who.PhoneNumber.Mobile) if one]
    pairs += [("email", one) for one in who.EmailAddresses[:1] if one]
    named = any(_WORD.search(one or "") for one in (who.LastName, who.FirstName))
    if not (named and any(name in _BESIDE_NAMES for name, _ in pairs)):
        rule = (
            "names nobody: it has an identifier with `ID`, an `SSN`, or a name with `DOB`, phone number or"
            " e-mail address"
        )
        raise ServiceError(Category.INCORRECT, fault("$.Patient", rule, "required"))
    return [(name, escaped(text)) for name, text in pairs]


def is_the_person(asked: Mapping[str, Any], found: Mapping[str, Any], patient: Element) -> bool:
    """Whether a patient has all that a query says: identifiers as they are, the rest whatever its case."""
    for one in asked["Identifiers"]:
        number = _Asked(one["ID"], one["IDType"])
        if one["ID"] and not any(fits(each, number) for each in patient.get("identifier", ())):  # type: ignore[arg-type]
            return False
    return all(
        _same(text, at(found["Demographics"], path)) for path, text in _said(asked["Demographics"], ())
    )


class _Asked:
    """An identifier of a query."""

    def __init__(self, number: str | None, kind: str | None) -> None:
        self.ID, self.IDType = number, kind


def _said(told: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in told.items():
        if isinstance(value, dict):
            yield from _said(value, (*path, name))
        elif value:
            yield (*path, name), value


def _same(asked: Any, found: Any) -> bool:  # noqa: ANN401 -- JSON
    if isinstance(asked, list):
        have = {str(one).casefold() for one in found or ()}
        return all(str(one).casefold() in have for one in asked)
    return str(asked).casefold() == str(found).casefold()
