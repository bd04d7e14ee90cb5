"""Facts that decide who a resource is: read from its JSON, kept beside the stored one, compared by the rules.

What is not there is empty. Nothing here refuses: a wrong shape is for the validation to name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ingest.pipeline.identity.numbers import Number, Rank, asked_for, has_ended, numbers_of
from ingest.pipeline.identity.wording import codes_of, folded, name_of, names_of, parent_of, title_of
from ingest.pipeline.placeholders import is_placeholder, placeholder_words
from store.fhir.datatypes import Path, listed
from store.fhir.instants import ABSENT, OPEN_END, OPEN_START, Interval, parse
from store.search.values.escapes import escape

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from store.fhir.datatypes import Json, JsonObject


NO_LIST: Final = "-"
"""Time of a list of results that has not come, before any."""


class FactContext(NamedTuple):
    """Circumstances in which facts are read: the source, and what counts as no number."""

    placeholders: frozenset[str]
    """Values that stand for "there is no number", as `placeholder_words` makes them."""
    source: str = ""
    """The source within which local ids, and numbers without a system, are compared; empty: nobody's."""
    stable: bool = False
    """Whether the tenant declares the ids of this source stable."""
    now: datetime | None = None


PLAIN: Final = FactContext(placeholder_words(()))
"""Context for what nobody sent as a message."""


class Given(NamedTuple):
    """The numbers that one source gives a patient."""

    source: str
    """Empty: it was put."""
    sourced: str
    """Time of its newest list."""
    numbers: tuple[Number, ...]


class Facts(NamedTuple):
    """Evidence of who a resource is."""

    numbers: tuple[Number, ...] = ()
    former: tuple[Number, ...] = ()
    """Numbers of records that were merged into this one."""
    names: tuple[str, ...] = ()
    """Folded names, each the sorted words of one."""
    born: str = ""
    sex: str = ""
    codes: tuple[str, ...] = ()
    """`system|code` of each coding."""
    title: str = ""
    """The folded text of the code."""
    patient: str = ""
    """`Patient/id` of the stored patient, or the number that the resource itself names the patient by."""
    own: str = ""
    """The source's own id, within the source."""
    stable: bool = False
    """Whether the source's ids are declared stable."""
    time: Interval = ABSENT
    """The clinical time."""
    specimens: tuple[str, ...] = ()
    """Names of its specimens: their numbers, else what they are."""
    status: str = ""
    apart: bool = False
    """Whether it is told apart from a twin of one message by its own id alone."""
    within: tuple[str, ...] = ()
    """Ids of the reports that an observation lies within; empty: it was pushed by itself."""
    kin: tuple[str, ...] = ()
    """Ids of the stored records of the same patient, merged or doubted."""
    ending: tuple[tuple[str, str, str], ...] = ()
    """System, value and end of each number whose period has one: it ends, while the resource stays stored."""
    parent: str = ""
    """The result that a report goes on from, as the susceptibilities of one organism do: HL7 v2's OBR-26."""
    source: str = ""
    """The source that told of a patient or report last; empty: nobody's, as what is put."""
    corrected: str = ""
    """Source's time of a report's newest correction: what is older was mended, whatever came since."""
    since: str = ""
    mended_since: str = ""
    moved_here: bool = False
    """First news of a report of its patient (`reports.incoming.FirstNews`); none: the latest is the first."""
    met: tuple[str, ...] = ()
    """Ids of reports that had just come when it was decided who a report is, and that are others."""
    beneath: str = ""
    """Source's time of the whole list of results beneath those that came alone; empty: all is whole."""
    given: tuple[Given, ...] = ()
    """Lists of numbers of a patient by their sources, the newest first; empty: one source alone."""

    def stored(self) -> dict[str, Any]:
        """The facts as they are kept, without what is empty."""
        told: dict[str, Any] = {}
        values: tuple[Any, ...] = self
        for name, value in zip(_FIELDS, values, strict=True):
            if not value or (name == "time" and value == ABSENT):
                continue
            if name in _NUMBERS:
                told[name] = _told(value)
            elif name == "given":
                told[name] = [[one.source, one.sourced, _told(one.numbers)] for one in value]
            else:
                told[name] = list(value) if isinstance(value, tuple) else value
        return told


def from_stored(told: Mapping[str, Any]) -> Facts:
    """The facts that were kept; unknown names are those of a newer release and left out."""
    known: dict[str, Any] = {}
    for name, value in told.items():
        if name in _NUMBERS:
            known[name] = _read(value)
        elif name == "given":
            known[name] = tuple(Given(source, sourced, _read(numbers)) for source, sourced, numbers in value)
        elif name == "time":
            known[name] = Interval(*value)
        elif name == "ending":
            known[name] = tuple((system, number, end) for system, number, end in value)
        elif name in _NAMES:
            known[name] = tuple(value) if isinstance(value, list) else value
    return Facts(**known)


def _told(numbers: Iterable[Number]) -> list[list[Any]]:
    return [[int(one.rank), one.system, one.value] for one in numbers]


def _read(told: Iterable[Any]) -> tuple[Number, ...]:
    return tuple(Number(Rank(rank), system, value) for rank, system, value in told)


def as_evidence(facts: Facts, reading: FactContext) -> Facts:
    """Facts of what is stored, without numbers that have ended since, or that were never anybody's.

    Whoever pushed them otherwise than in a message was not asked.
    """
    ended = {(system, value) for system, value, end in facts.ending if has_ended(end, reading.now)}
    current = (one for one in facts.numbers if (one.system, one.value) not in ended)
    left = tuple(one for one in current if not is_placeholder(one.value, reading.placeholders))
    return facts if len(left) == len(facts.numbers) else facts._replace(numbers=left)


_FIELDS: Final = Facts._fields
_NAMES: Final = frozenset(_FIELDS)
_NUMBERS: Final = frozenset({"numbers", "former"})
"""Fields that hold numbers, which are stored as lists of their parts."""
_PATIENTS: Final = ("subject", "patient", "beneficiary", "individual", "for")
"""Elements that say whom a resource is about."""
_TIMES: Final = (
    "effectiveDateTime",
    "effectivePeriod",
    "effectiveInstant",
    "occurrenceDateTime",
    "occurrencePeriod",
    "authoredOn",
    "performedDateTime",
    "performedPeriod",
    "createdDateTime",
    "started",
    "onsetDateTime",
)
"""Elements with the clinical time of a resource, the first counts."""
_COLLECTED: Final = (Path("collection.collectedDateTime"), Path("collection.collectedPeriod"))
_CODES: Final[Mapping[str, str]] = {
    "Specimen": "type",
    "Encounter": "class",
    "DocumentReference": "type",
    "Composition": "type",
    "Media": "type",
}
"""The element that says what a resource is, where it is not `code`."""


def facts_of(resource: JsonObject, reading: FactContext, *, base: str = "") -> Facts:
    """The facts of a resource whose references are those of the store."""
    resource_type = str(resource.get("resourceType"))
    found = numbers_of(resource, placeholders=reading.placeholders, source=reading.source, now=reading.now)
    own = resource.get("id")
    code = resource.get(_CODES.get(resource_type, "code"))
    status, born, sex = (resource.get(name) for name in ("status", "birthDate", "gender"))
    return Facts(
        numbers=found.current,
        former=found.former,
        names=tuple(one for one in names_of(name_of(resource)) if not _nobody(one, resource_type, reading)),
        born=born if isinstance(born, str) else "",
        sex=sex if isinstance(sex, str) else "",
        codes=tuple(dict.fromkeys(codes_of(code))),
        title=title_of(code),
        patient=patient_of(resource, reading, base=base),
        own=f"{reading.source}|{own}" if reading.source and isinstance(own, str) else "",
        stable=reading.stable,
        time=time_of(resource),
        status=status if isinstance(status, str) else "",
        ending=found.ending,
        parent=parent_of(resource) if resource_type == "DiagnosticReport" else "",
        source=reading.source if resource_type in ("Patient", "DiagnosticReport") else "",
    )


def patient_of(resource: JsonObject, reading: FactContext = PLAIN, *, base: str = "") -> str:
    """Patient of a resource: `Patient/id`, else the number or the words that it names the patient by."""
    for name in _PATIENTS:
        reference = next(iter(listed(resource.get(name))), None)  # An Account may have several.
        if not isinstance(reference, dict):
            continue
        text, identifier = reference.get("reference"), reference.get("identifier")
        if isinstance(text, str) and not text.startswith("#"):
            named = _identified(asked_for(text, base=base), reading) if "?" in text else ""
            return named or (text.removeprefix(f"{base}/") if base else text)
        if (inside := contained_patient(resource)) is not None:
            return _described(facts_of(inside, reading))
        words = f"#{folded(display)}" if isinstance(display := reference.get("display"), str) else ""
        if isinstance(identifier, dict) and isinstance(identifier.get("value"), str):
            return _identified(identifier, reading) or (
                f"{escape(str(identifier.get('system') or ''))}|{escape(str(identifier['value']))}{words}"
            )
        if words:
            return words
    return ""


def patient_number(resource: JsonObject, reading: FactContext) -> str:
    """Number that a resource names its patient by, beside a reference; empty: there is none."""
    identifier = _about(resource).get("identifier")
    return _identified(identifier, reading) if isinstance(identifier, dict) else ""


def _about(resource: JsonObject) -> JsonObject:
    """The reference that says whom a resource is about."""
    about = (next(iter(listed(resource.get(name))), None) for name in _PATIENTS)
    return next((one for one in about if isinstance(one, dict)), {})


def _identified(identifier: JsonObject, reading: FactContext) -> str:
    """Number that names a patient; empty: it is nobody's, as a placeholder, and the words count with it."""
    named: JsonObject = {"resourceType": "Patient", "identifier": [identifier]}
    found = numbers_of(named, placeholders=reading.placeholders, source=reading.source, now=reading.now)
    return next((one.name for one in (*found.current, *found.former)), "")


def contained_patient(resource: JsonObject) -> JsonObject | None:
    """The contained Patient that a resource is about; None: it is about another one, or about nobody.

    The id of a contained resource says nothing beyond the resource.
    """
    text = _about(resource).get("reference")
    if not isinstance(text, str) or not text.startswith("#"):
        return None
    inside = (one for one in listed(resource.get("contained")) if isinstance(one, dict))
    return next((one for one in inside if one.get("id") == text[1:]), None)


def _described(patient: Facts) -> str:
    """Name of a contained patient: the record number, else all that is said; a doubt makes two."""
    sure = [one.name for one in patient.numbers if one.rank is Rank.STRONG]
    told = [*(one.name for one in patient.numbers), *patient.names, patient.born, patient.sex]
    return sure[0] if sure else "#" + " ".join(told)


def _nobody(name: str, resource_type: str, reading: FactContext) -> bool:
    """Whether a patient's name stands for "there is none"; two unknown people are two."""
    words = name.split()
    return resource_type == "Patient" and all(is_placeholder(one, reading.placeholders) for one in words)


def time_of(resource: JsonObject) -> Interval:
    """The clinical time of a resource, as far as it can be read."""
    found = [resource[name] for name in _TIMES if name in resource]
    if resource.get("resourceType") == "Specimen":
        found = [one for path in _COLLECTED for one in path.values(resource)]
    try:
        return _interval(found[0]) if found else ABSENT
    except (ValueError, OverflowError):
        return ABSENT  # Whether it may stand there is for the validation to say.


def _interval(value: Json) -> Interval:
    if isinstance(value, str):
        return parse(value)
    if not isinstance(value, dict):
        return ABSENT
    start, end = value.get("start"), value.get("end")
    first = parse(start).start if isinstance(start, str) else OPEN_START
    last = parse(end).end if isinstance(end, str) else OPEN_END
    return Interval(first, last) if first < last and (start or end) else ABSENT
