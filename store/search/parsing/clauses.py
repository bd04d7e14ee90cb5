"""Parameters that filter: one name and its values → a clause, with its modifiers, chains and `_has`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, assert_never

from store.near import near
from store.search.criteria import (
    All,
    AnyOf,
    Chain,
    Clause,
    Dates,
    Has,
    Missing,
    Quantities,
    References,
    Strings,
    Together,
    Tokens,
    Words,
)
from store.search.parameters import TYPES, Parameter, SearchType
from store.search.parsing import includes
from store.search.parsing.context import Refused, SearchContext, Unfit, Unknown, shown
from store.search.parsing.result_parameters import RESULT_PARAMETERS
from store.search.values import content, dates, quantities, references, strings, tokens
from store.search.values.escapes import split, unescape
from store.search.values.strings import Match

CHAIN_STEPS_MAX: Final = 3
"""References a chain may follow; each one is a look-up before the search."""


CHAIN_TYPES_MAX: Final = 12
"""Types an untyped chain is tried on: enough for every reference but those to any resource."""


_NEVER_DROPPED: Final = frozenset({"_query", "_filter", "_list", "_contained"})
"""R4: an unknown `_query` shall be refused; the others say what to search for as a whole."""


_SPELLED: Final = (
    "a parameter is `name=value`, with the prefix of a date or number in the value: `date=ge2026`"
)


def clause_of(resource_type: str, name: str, text: str, context: SearchContext, steps: int = 1) -> Clause:
    """Clause of one parameter. Raises Unknown or Refused; `steps` counts the references of a chain."""
    if name.partition(":")[0] == "_has":
        return _reverse(resource_type, name, text, context, steps)
    head, dot, rest = name.partition(".")
    if dot:
        return _chain(resource_type, head, rest, text, context, steps)
    base, colon, modifier = head.partition(":")
    row = _row(resource_type, base)
    if colon and not modifier:
        message = "a modifier is missing behind the colon"
        raise Refused(message)
    composed = row.type is SearchType.COMPOSITE
    if modifier and row.type is SearchType.SPECIAL:
        return clause_of(resource_type, f"{row.members[0]}:{modifier}", text, context, steps)
    if modifier == "missing" and not composed and row.field not in ("id", "type"):
        return Missing(row, missing=_boolean(text))
    if composed and modifier:
        message = f"this modifier is not supported here; `{row.name}` takes none"
        raise Unfit(message, "not-supported")
    if row.members:
        # What is no reference may be an identifier (`order`).
        either = context._replace(alternatives=True)
        return AnyOf(tuple(clause_of(resource_type, member, text, either) for member in row.members))
    values = _values(text, context)
    try:
        return _of_type(row, modifier, values, context)
    except ValueError as error:
        raise Refused(str(error)) from None


def _row(resource_type: str, name: str) -> Parameter:
    row = TYPES[resource_type].by_name.get(name)
    if row is None and name in _NEVER_DROPPED:
        message = "is not offered here, and cannot be left out without answering another question"
        raise Refused(message, "not-supported")
    if row is None:
        message = f"`{resource_type}` has no search parameter `{shown(name)}` here"
        names = [*TYPES[resource_type].by_name, *RESULT_PARAMETERS, *includes.NAMES]
        spelled = "" if shown(name) == name else f"; {_SPELLED}"
        raise Unknown(message + spelled, word=_bare(name), names=names)
    return row


def _bare(name: str) -> str:
    """The letters of a name, without an operator that somebody wrote behind it."""
    return name.strip("<>!?= ")


def _of_type(row: Parameter, modifier: str, values: Sequence[str], context: SearchContext) -> Clause:
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


def _reference(row: Parameter, modifier: str, values: Sequence[str], context: SearchContext) -> Clause:
    if modifier == "identifier":
        spelled = tuple(tokens.parse(value, row.logical) for value in values)
        return Tokens(row.logical, spelled)
    only = modifier or None
    if only is not None and only not in row.targets:
        _refuse_modifier(row, modifier, ("", "identifier", *row.targets))
    if not context.alternatives:
        for value in values:
            references.refuse_a_token(value)
    found = [s for v in values for s in references.parse(v, row, base=context.base, only=only)]
    return References(row, tuple(dict.fromkeys(found)))


def _composite(row: Parameter, values: Sequence[str], context: SearchContext) -> Clause:
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
        raise Unfit(message, "not-supported")


def _values(text: str, context: SearchContext) -> list[str]:
    try:
        values = [value for value in split(text, ",") if value]
    except ValueError as error:
        raise Refused(str(error)) from None
    if len(values) > context.limits.values_max:
        message = f"at most {context.limits.values_max} values may be given, with commas between them"
        raise Refused(message, "too-costly")
    return values


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        message = "`:missing` takes `true` or `false`"
        raise Refused(message)
    return text == "true"


def _chain(  # noqa: PLR0913 -- one step of a recursion
    resource_type: str, head: str, rest: str, text: str, context: SearchContext, steps: int
) -> Clause:
    if steps > CHAIN_STEPS_MAX:
        message = f"a chain may follow at most {CHAIN_STEPS_MAX} references"
        raise Refused(message, "too-costly")
    base, colon, modifier = head.partition(":")
    inner_name = rest.partition(".")[0].partition(":")[0]
    if not base or not inner_name:
        message = "a step of the chain is empty"
        raise Refused(message)
    row = _row(resource_type, base)
    if row.type is SearchType.SPECIAL:
        row = _row(resource_type, row.members[0])
    if row.type is not SearchType.REFERENCE:
        message = f"`{row.name}` is not a reference, so nothing can be chained behind it"
        raise Unfit(message)
    if colon and not modifier:
        message = "a type is missing behind the colon"
        raise Refused(message)
    if colon and modifier not in row.targets:
        _refuse_modifier(row, modifier, row.targets)
    if modifier == "Patient" and row.narrower is not None:
        row = TYPES[resource_type].by_name[row.narrower]
    targets = (modifier,) if colon else row.targets
    if len(targets) > CHAIN_TYPES_MAX:
        message = f"points at any resource: a chain through it names the type, `{row.name}:Type.…`"
        raise Refused(message, "too-costly")
    defining = [target for target in targets if _defines(target, inner_name, rest)]
    if not defining:
        message = f"no target of `{row.name}` has a search parameter `{shown(inner_name)}` here"
        names = dict.fromkeys(name for target in targets for name in TYPES[target].by_name)
        raise Unknown(message, word=inner_name, names=names)
    inner = _inner(defining, rest, text, context, steps)
    identifiers: tuple[str, ...] = ()
    if rest == "identifier":
        identifiers = tuple(tokens.parse(value, row.logical) for value in _values(text, context))
    only = modifier if identifiers and modifier != row.only else ""  # `patient` holds no others.
    return Chain(row, inner, identifiers, only)


def _inner(
    targets: Sequence[str], rest: str, text: str, context: SearchContext, steps: int
) -> tuple[tuple[str, Clause], ...]:
    """Clauses behind a chain, for each type that fits (`DECISIONS.md#untyped-chains`); at least one."""
    found: list[tuple[str, Clause]] = []
    unfit: Unfit | Unknown | None = None
    for target in targets:
        try:
            found.append((target, clause_of(target, rest, text, context, steps + 1)))
        except (Unfit, Unknown) as error:
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


def _reverse(resource_type: str, name: str, text: str, context: SearchContext, steps: int) -> Clause:
    """`_has:Type:parameter:inner`. https://hl7.org/fhir/R4/search.html#has"""
    if steps > CHAIN_STEPS_MAX:
        message = f"a chain may follow at most {CHAIN_STEPS_MAX} references"
        raise Refused(message, "too-costly")
    parts = name.split(":", 3)
    if len(parts) != 4 or not all(parts):  # noqa: PLR2004 -- as many as the rule names
        message = "`_has` is written `_has:Type:reference-parameter:parameter`"
        raise Refused(message)
    _, source, reference, inner = parts
    row = TYPES[source].by_name.get(reference) if source in TYPES else None
    if row is None or row.type is not SearchType.REFERENCE or resource_type not in row.targets:
        message = f"`_has` names no reference parameter here that leads to `{resource_type}`"
        raise Refused(message)
    return Has(source, row, clause_of(source, inner, text, context, steps + 1))


def doubts(clause: Clause) -> Iterator[str]:
    """Doubts about the references that a clause asks for: they are answered, and found nothing."""
    match clause:
        case References():
            yield from filter(None, map(references.doubt, clause.spellings))
        case Chain():
            for _, inner in clause.inner:
                yield from doubts(inner)
        case Has():
            yield from doubts(clause.inner)
        case _:  # Of alternatives another one may be meant (`order`).
            return
