"""Parameters as a client wrote them → SearchQuery. Pure; the clock and the limits are passed in.

The order of refusals does not matter: all issues are collected. What is unknown is dropped under lenient
handling and refused under strict; an unsupported modifier is refused always, for dropping it would answer
another question. https://hl7.org/fhir/R4/search.html#errors
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, assert_never

from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.fhir.resource_types import NOT_ABOUT_PATIENTS
from store.near import near
from store.search.criteria import (
    PAGE_BYTES_MAX,
    All,
    AnyOf,
    Chain,
    Clause,
    Dates,
    Has,
    Missing,
    Quantities,
    References,
    SearchQuery,
    SortKey,
    Strings,
    Summary,
    Together,
    Tokens,
    Total,
    Words,
    flat,
)
from store.search.parameters import TYPES, Parameter, SearchType
from store.search.parsing import includes, subsets
from store.search.values import content, dates, quantities, references, strings, tokens
from store.search.values.escapes import split, unescape
from store.search.values.strings import Match

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from store.search.criteria import Include

Pair = tuple[str, str]

CHAIN_STEPS_MAX: Final = 3
"""References a chain may follow; each one is a look-up before the search."""
CHAIN_TYPES_MAX: Final = 12
"""Types an untyped chain is tried on: enough for every reference but those to any resource."""
_SILENT: Final = frozenset({"_format", "_pretty"})
"""Say nothing about what matches; the HTTP edge looks at them."""
_NEVER_DROPPED: Final = frozenset({"_query", "_filter", "_list", "_contained"})
"""R4: an unknown `_query` shall be refused; the others say what to search for as a whole."""
_SPELLED: Final = (
    "a parameter is `name=value`, with the prefix of a date or number in the value: `date=ge2026`"
)
_HINTS_MAX: Final = 5
"""Unknown names for which a near one is looked for."""
_COUNT: Final = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one search may ask for; each is a setting."""

    count_default: int = 50
    count_max: int = 1_000
    bytes_max: int = PAGE_BYTES_MAX
    clauses_max: int = 50
    values_max: int = 300


class Context(NamedTuple):
    """What parsing needs beside the text."""

    limits: Limits
    base: str | None
    """The tenant's own base URL: an absolute reference under it is one of ours."""
    now: int
    """Microseconds since 1970, for the prefix `ap`."""
    strict: bool = False


@dataclass(frozen=True, slots=True)
class Understood:
    """A query, the parameters that went into it (for `self`), and what was left out."""

    query: SearchQuery
    pairs: tuple[Pair, ...]
    ignored: tuple[Issue, ...] = ()


class _Unknown(Exception):  # noqa: N818 -- decides between lenient and strict, never leaves
    def __init__(self, text: str, rest: str = "", *, word: str = "", names: Iterable[str] = ()) -> None:
        super().__init__(text)
        self.text = text
        self.rest = rest
        """What was understood of the value all the same."""
        self.word = word
        """The name that nobody knows; `names` are those that may be meant."""
        self.names = names


class _Refused(Exception):  # noqa: N818 -- becomes an Issue of the parameter
    def __init__(self, text: str, code: str = "invalid") -> None:
        super().__init__(text)
        self.text = text
        self.code = code


class _Unfit(_Refused):
    """What is asked does not fit the type, whatever the value: another target of a chain it may fit."""


@dataclass(slots=True)
class _Draft:
    """A SearchQuery while its parameters are read."""

    clauses: list[Clause] = field(default_factory=list)
    sort: tuple[SortKey, ...] = ()
    count: int | None = None
    total: Total | None = None
    includes: list[Include] = field(default_factory=list)
    summary: Summary | None = None
    elements: list[str] = field(default_factory=list)


def parse(resource_type: str, pairs: Sequence[Pair], context: Context) -> Understood:
    """Read all parameters of a search on one type. Raises ServiceError `incorrect` with every issue."""
    draft = _Draft()
    understood: list[Pair] = []
    ignored: list[Issue] = []
    refused: list[Issue] = []
    for name, text in pairs:
        if name in _SILENT or not text.strip(",") or (name, text) == ("_contained", "false"):
            continue  # Logically empty (decision D15), or not about matching.
        try:
            _read(draft, resource_type, name, text, context)
            understood.append((name, text))
        except _Unknown as error:
            hint = near(error.word, error.names) if len(ignored) + len(refused) < _HINTS_MAX else ""
            if context.strict:
                refused.append(Issue("not-supported", f"{error.text}{hint}", (shown(name),)))
            else:
                said = f"{error.text}{hint}; it was left out"
                ignored.append(Issue("not-supported", said, (shown(name),), "information"))
                understood += [(name, error.rest)] if error.rest else []
        except _Refused as error:
            refused.append(Issue(error.code, f"`{shown(name)}`: {error.text}", (shown(name),)))
    if len(draft.clauses) > context.limits.clauses_max:
        text = f"a search may have at most {context.limits.clauses_max} parameters"
        refused.append(Issue("too-costly", text))
    for name, rule in subsets.contradictions(draft.summary, draft.elements, draft.includes):
        refused.append(Issue("invalid", f"`{name}`: {rule}", (name,)))
    if refused:
        raise ServiceError(Category.INCORRECT, *refused)
    limits = context.limits
    count = limits.count_default if draft.count is None else min(draft.count, limits.count_max)
    query = SearchQuery(
        resource_type,
        tuple(draft.clauses),
        draft.sort,
        0 if draft.summary is Summary.COUNT else count,
        # Who asks for the count alone wants it whatever it takes.
        Total.ACCURATE if draft.summary is Summary.COUNT else draft.total or Total.BOUNDED,
        bytes_max=limits.bytes_max,
        includes=tuple(draft.includes),
        summary=draft.summary or Summary.FALSE,
        elements=tuple(draft.elements),
    )
    used = dict.fromkeys((name, str(count) if name == "_count" else text) for name, text in understood)
    return Understood(query, tuple(used), tuple(ignored))


_NAME: Final = re.compile(r"[A-Za-z_$][A-Za-z0-9_:.\-]{0,127}")


def shown(name: str) -> str:
    """A parameter's name as it may be repeated to the client: a value in its place is not."""
    return name if _NAME.fullmatch(name) else "(unreadable name)"


def is_known(resource_type: str, name: str) -> bool:
    """Whether a parameter, by its name without modifier or chain, says something to a search on the type."""
    listed = name in _RESULT or name in includes.NAMES or name == "_has"
    return listed or (resource_type in TYPES and name in TYPES[resource_type].by_name)


def _read(draft: _Draft, resource_type: str, name: str, text: str, context: Context) -> None:
    base, colon, _ = name.partition(":")
    reader = _RESULT.get(base)
    if reader is not None and colon:
        message = f"this modifier is not supported here; `{base}` takes none"
        raise _Refused(message, "not-supported")
    if reader is not None:
        reader(draft, resource_type, text)
    elif base in includes.NAMES:
        _read_include(draft, name, text)
    else:
        draft.clauses.append(_clause(resource_type, name, text, context))


# --- parameters that shape the result


def _read_count(draft: _Draft, _: str, text: str) -> None:
    if not _COUNT.fullmatch(text):
        message = "must be a whole number, 0 or more"
        raise _Refused(message)
    # Of several none may be exceeded: R4 lets a page be smaller, never larger.
    draft.count = int(text) if draft.count is None else min(draft.count, int(text))


def _read_total(draft: _Draft, _: str, text: str) -> None:
    totals = {"none": Total.NONE, "estimate": Total.BOUNDED, "accurate": Total.ACCURATE}
    if text not in totals:
        message = "must be `none`, `estimate` or `accurate`"
        raise _Refused(message)
    if draft.total not in (None, totals[text]):
        message = "may be asked one way only"
        raise _Refused(message)
    draft.total = totals[text]


def _read_sort(draft: _Draft, resource_type: str, text: str) -> None:
    """Repeated, each adds its keys behind the others."""
    rows = TYPES[resource_type].by_name
    known, keys = [], list(filter(None, text.split(",")))  # Names: there is nothing to escape.
    for key in keys:
        row = rows.get(key.removeprefix("-"))
        if row is not None and row.sortable:
            known.append(key)
            draft.sort += (SortKey(row, descending=key.startswith("-")),)
    if known != keys:
        sortable = sorted(n for n, r in rows.items() if r.sortable)
        bad = next((key for key in keys if key not in known), "").removeprefix("-").partition(":")[0]
        names = ", ".join(f"`{n}`" for n in sortable)
        message = f"`_sort` takes {names}, with `-` before it to go down"
        raise _Unknown(message, rest=",".join(known), word=bad, names=sortable)


def _read_include(draft: _Draft, name: str, text: str) -> None:
    try:
        include = includes.parse(name, text)
    except LookupError as error:
        raise _Unknown(str(error)) from None
    except includes.UnsupportedError as error:
        raise _Refused(str(error), "not-supported") from None
    except ValueError as error:
        raise _Refused(str(error)) from None
    if include in draft.includes:
        return
    if len(draft.includes) >= includes.INCLUDES_MAX:
        message = f"a search may have at most {includes.INCLUDES_MAX} of `_include` and `_revinclude`"
        raise _Refused(message, "too-costly")
    draft.includes.append(include)


def _read_summary(draft: _Draft, _: str, text: str) -> None:
    try:
        draft.summary = subsets.summary(text, draft.summary)
    except ValueError as error:
        raise _Refused(str(error)) from None


def _read_elements(draft: _Draft, resource_type: str, text: str) -> None:
    try:
        named = [*draft.elements, *subsets.elements(text, resource_type)]
    except ValueError as error:
        raise _Refused(str(error)) from None
    draft.elements = list(dict.fromkeys(named))


_RESULT: Final[Mapping[str, Callable[[_Draft, str, str], None]]] = {
    "_count": _read_count,
    "_total": _read_total,
    "_sort": _read_sort,
    "_summary": _read_summary,
    "_elements": _read_elements,
}


# --- parameters that filter


def _clause(resource_type: str, name: str, text: str, context: Context, steps: int = 1) -> Clause:
    if name.partition(":")[0] == "_has":
        return _reverse(resource_type, name, text, context, steps)
    head, dot, rest = name.partition(".")
    if dot:
        return _chain(resource_type, head, rest, text, context, steps)
    base, colon, modifier = head.partition(":")
    row = _row(resource_type, base)
    if colon and not modifier:
        message = "a modifier is missing behind the colon"
        raise _Refused(message)
    composed = row.type is SearchType.COMPOSITE
    if modifier and row.type is SearchType.SPECIAL:
        return _clause(resource_type, f"{row.members[0]}:{modifier}", text, context, steps)
    if modifier == "missing" and not composed and row.field not in ("id", "type"):
        return Missing(row, missing=_boolean(text))
    if composed and modifier:
        message = f"this modifier is not supported here; `{row.name}` takes none"
        raise _Unfit(message, "not-supported")
    if row.members:
        return AnyOf(tuple(_clause(resource_type, member, text, context) for member in row.members))
    values = _values(text, context)
    try:
        return _of_type(row, modifier, values, context)
    except ValueError as error:
        raise _Refused(str(error)) from None


def _row(resource_type: str, name: str) -> Parameter:
    row = TYPES[resource_type].by_name.get(name)
    if row is None and name in _NEVER_DROPPED:
        message = "is not offered here, and cannot be left out without answering another question"
        raise _Refused(message, "not-supported")
    if row is None:
        message = f"`{resource_type}` has no search parameter `{shown(name)}` here"
        names = [*TYPES[resource_type].by_name, *_RESULT, *includes.NAMES]
        spelled = "" if shown(name) == name else f"; {_SPELLED}"
        raise _Unknown(message + spelled, word=_bare(name), names=names)
    return row


def _bare(name: str) -> str:
    """The letters of a name, without an operator that somebody wrote behind it."""
    return name.strip("<>!?= ")


def _of_type(row: Parameter, modifier: str, values: Sequence[str], context: Context) -> Clause:
    match row.type:
        case SearchType.TOKEN:
            return _token(row, modifier, values)
        case SearchType.STRING:
            _refuse_modifier(row, modifier, ("", "exact", "contains"))
            match_by = Match(modifier or "start")
            return Strings(row, tuple(strings.parse(value, match_by) for value in values), match_by)
        case SearchType.URI:
            _refuse_modifier(row, modifier, ("",))
            return Tokens(row, tuple(map(unescape, values)))
        case SearchType.QUANTITY:
            _refuse_modifier(row, modifier, ("",))
            return Quantities(row, tuple(map(quantities.parse, values)))
        case SearchType.DATE:
            _refuse_modifier(row, modifier, ("",))
            return Dates(row, tuple(dates.parse(value, context.now) for value in values))
        case SearchType.REFERENCE:
            return _reference(row, modifier, values, context)
        case SearchType.WORDS:
            _refuse_modifier(row, modifier, ("",))
            return Words(row, tuple(map(content.parse, values)))
        case SearchType.COMPOSITE:
            return _composite(row, values, context)
        case SearchType.SPECIAL:
            message = "special parameters are put together from others"
            raise AssertionError(message)
        case _:
            assert_never(row.type)


def _token(row: Parameter, modifier: str, values: Sequence[str]) -> Clause:
    if modifier == "text" and not row.plain:
        return Strings(row.texts, tuple(strings.parse(value, Match.START) for value in values), Match.START)
    if modifier == "of-type" and row.name == "identifier":
        return Tokens(row.of_type, tuple(map(tokens.parse_of_type, values)))
    texts = () if row.plain else ("text", "of-type") if row.name == "identifier" else ("text",)
    _refuse_modifier(row, modifier, ("", "not", *texts))
    return Tokens(row, tuple(tokens.parse(value, row) for value in values), negated=modifier == "not")


def _reference(row: Parameter, modifier: str, values: Sequence[str], context: Context) -> Clause:
    if modifier == "identifier":
        spelled = tuple(tokens.parse(value, row.logical) for value in values)
        return Tokens(row.logical, spelled)
    only = modifier or None
    if only is not None and only not in row.targets:
        _refuse_modifier(row, modifier, ("", "identifier", *row.targets))
    found = [s for v in values for s in references.parse(v, row, base=context.base, only=only)]
    return References(row, tuple(dict.fromkeys(found)))


def _composite(row: Parameter, values: Sequence[str], context: Context) -> Clause:
    """`a$b`: both, of the same repetition. https://hl7.org/fhir/R4/search.html#composite"""
    either: list[Clause] = []
    for value in values:
        texts = split(value, "$")
        if len(texts) != len(row.components) or not all(texts):
            names = "$".join(f"[{part.name}]" for part in row.components)
            message = f"a composite is written `{names}`"
            raise ValueError(message)
        parts = tuple(
            _of_type(part, "", [text], context) for part, text in zip(row.components, texts, strict=True)
        )
        either.append(Together(row, parts) if row.expression else All(parts))
    return either[0] if len(either) == 1 else AnyOf(tuple(either))


def _refuse_modifier(row: Parameter, modifier: str, allowed: Sequence[str]) -> None:
    if modifier not in allowed:
        names = [f"`:{name}`" for name in (*allowed, "missing") if name]
        hint = near(modifier, [*filter(None, allowed), "missing"])
        message = f"this modifier is not supported here{hint}; `{row.name}` takes {', '.join(names)}"
        raise _Unfit(message, "not-supported")


def _values(text: str, context: Context) -> list[str]:
    try:
        values = [value for value in split(text, ",") if value]
    except ValueError as error:
        raise _Refused(str(error)) from None
    if len(values) > context.limits.values_max:
        message = f"at most {context.limits.values_max} values may be given, with commas between them"
        raise _Refused(message, "too-costly")
    return values


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        message = "`:missing` takes `true` or `false`"
        raise _Refused(message)
    return text == "true"


# --- chains: https://hl7.org/fhir/R4/search.html#chaining


def _chain(  # noqa: PLR0913 -- one step of a recursion
    resource_type: str, head: str, rest: str, text: str, context: Context, steps: int
) -> Clause:
    if steps > CHAIN_STEPS_MAX:
        message = f"a chain may follow at most {CHAIN_STEPS_MAX} references"
        raise _Refused(message, "too-costly")
    base, colon, modifier = head.partition(":")
    inner_name = rest.partition(".")[0].partition(":")[0]
    if not base or not inner_name:
        message = "a step of the chain is empty"
        raise _Refused(message)
    row = _row(resource_type, base)
    if row.type is SearchType.SPECIAL:
        row = _row(resource_type, row.members[0])
    if row.type is not SearchType.REFERENCE:
        message = f"`{row.name}` is not a reference, so nothing can be chained behind it"
        raise _Unfit(message)
    if colon and not modifier:
        message = "a type is missing behind the colon"
        raise _Refused(message)
    if colon and modifier not in row.targets:
        _refuse_modifier(row, modifier, row.targets)
    if modifier == "Patient" and row.narrower is not None:
        row = TYPES[resource_type].by_name[row.narrower]
    targets = (modifier,) if colon else row.targets
    if len(targets) > CHAIN_TYPES_MAX:
        message = f"points at any resource: a chain through it names the type, `{row.name}:Type.…`"
        raise _Refused(message, "too-costly")
    defining = [target for target in targets if _defines(target, inner_name, rest)]
    if not defining:
        message = f"no target of `{row.name}` has a search parameter `{shown(inner_name)}` here"
        names = dict.fromkeys(name for target in targets for name in TYPES[target].by_name)
        raise _Unknown(message, word=inner_name, names=names)
    inner = _inner(defining, rest, text, context, steps)
    identifiers: tuple[str, ...] = ()
    if rest == "identifier":
        identifiers = tuple(tokens.parse(value, row.logical) for value in _values(text, context))
    only = modifier if identifiers and modifier != row.only else ""  # `patient` holds no others.
    return Chain(row, inner, identifiers, only)


def _inner(
    targets: Sequence[str], rest: str, text: str, context: Context, steps: int
) -> tuple[tuple[str, Clause], ...]:
    """What is behind a chain, for each type that it can be asked of (decision D23); one at least."""
    found: list[tuple[str, Clause]] = []
    unfit: _Unfit | _Unknown | None = None
    for target in targets:
        try:
            found.append((target, _clause(target, rest, text, context, steps + 1)))
        except (_Unfit, _Unknown) as error:
            unfit = unfit or error
    if unfit is not None and not found:
        raise unfit
    return tuple(found)


def _defines(target: str, inner_name: str, rest: str) -> bool:
    """Whether a type has the parameter behind a chain; a `_has` there must lead to it."""
    if inner_name != "_has":
        return inner_name in TYPES[target].by_name
    source, _, reference = rest.removeprefix("_has:").partition(":")
    row = TYPES[source].by_name.get(reference.partition(":")[0]) if source in TYPES else None
    return row is not None and target in row.targets


def _reverse(resource_type: str, name: str, text: str, context: Context, steps: int) -> Clause:
    """`_has:Type:parameter:inner`. https://hl7.org/fhir/R4/search.html#has"""
    if steps > CHAIN_STEPS_MAX:
        message = f"a chain may follow at most {CHAIN_STEPS_MAX} references"
        raise _Refused(message, "too-costly")
    parts = name.split(":", 3)
    if len(parts) != 4 or not all(parts):  # noqa: PLR2004 -- as many as the rule names
        message = "`_has` is written `_has:Type:reference-parameter:parameter`"
        raise _Refused(message)
    _, source, reference, inner = parts
    row = TYPES[source].by_name.get(reference) if source in TYPES else None
    if row is None or row.type is not SearchType.REFERENCE or resource_type not in row.targets:
        message = f"`_has` names no reference parameter here that leads to `{resource_type}`"
        raise _Refused(message)
    return Has(source, row, _clause(source, inner, text, context, steps + 1))


# --- the patient scope rule, decision D17


_NAMING: Final[Mapping[str, tuple[str, ...]]] = {
    "Patient": ("identifier",),
    "Provenance": ("target", "patient"),
}
"""What bounds a search where it is neither `patient` nor `subject`."""


def bounded_by_patient(query: SearchQuery) -> bool:
    """Whether a search names its patient, or the resource itself; or the type is not about patients."""
    if query.type in NOT_ABOUT_PATIENTS:
        return True
    naming = _NAMING.get(query.type, ("patient", "subject"))
    clauses = list(flat(query.clauses))
    named = any(_names(clause, naming) or _names_itself(clause) for clause in clauses)
    return named or (query.type == "Patient" and _describes_a_person(clauses))


def _describes_a_person(clauses: Sequence[Clause]) -> bool:
    """A name with a day of birth, phone number or e-mail address: how someone without number is found."""
    names = {c.parameter.name for c in clauses if isinstance(c, Strings) and c.match is not Match.CONTAINS}
    reached = {c.parameter.name for c in clauses if isinstance(c, Tokens) and not c.negated}
    born = any(
        isinstance(c, Dates) and c.parameter.name == "birthdate" and all(v.prefix == "eq" for v in c.values)
        for c in clauses
    )
    return bool(names & {"name", "family"}) and (born or bool(reached & {"telecom", "phone", "email"}))


def _names(clause: Clause, names: Sequence[str]) -> bool:
    match clause:
        case Tokens():
            whole = all(map(tokens.bare, clause.spellings))  # `system|` names everyone.
            return clause.parameter.name in names and whole and not clause.negated
        case References():
            return clause.parameter.name in names and _may_be_a_patient(clause)
        case Chain():
            whole = bool(clause.identifiers) and all(map(tokens.bare, clause.identifiers))
            elsewhere = clause.parameter.name == "subject" and clause.only not in ("", "Patient")
            return clause.parameter.name in names and whole and not elsewhere
        case Has() | AnyOf():
            return False
        case Dates() | Strings() | Quantities() | Words() | Missing() | Together() | All():
            return False
        case _:
            assert_never(clause)


def _may_be_a_patient(clause: References) -> bool:
    """Of a `subject`: a ward or a group is no patient, and what is about all of it would be found.

    An absolute reference that tells no type may be one.
    """
    if clause.parameter.name != "subject":
        return True
    return any(references.type_of(spelling) in (None, "Patient") for spelling in clause.spellings)


def _names_itself(clause: Clause) -> bool:
    return isinstance(clause, Tokens) and clause.parameter.field == "id" and not clause.negated
