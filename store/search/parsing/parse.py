"""Parameters as a client wrote them → SearchQuery. Pure; the clock and the limits are passed in.

The order of refusals does not matter: all issues are collected. What is unknown is dropped under lenient
handling and refused under strict; an unsupported modifier is refused always, for dropping it would answer
another question. https://hl7.org/fhir/R4/search.html#errors
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.near import near
from store.search.criteria import (
    SearchQuery,
    Summary,
    Total,
)
from store.search.parameters import TYPES
from store.search.parsing import includes, subsets
from store.search.parsing.clauses import clause_of, doubts
from store.search.parsing.context import Refused, SearchContext, Unknown, shown
from store.search.parsing.query_text import Pair
from store.search.parsing.result_parameters import RESULT_PARAMETERS, Draft, read_include

_SILENT: Final = frozenset({"_format", "_pretty"})
"""Say nothing about what matches; the HTTP edge looks at them."""
_HINTS_MAX: Final = 5
"""Unknown names for which a near one is looked for."""


@dataclass(frozen=True, slots=True)
class Understood:
    """A query, the parameters that went into it (for `self`), and what was left out or is doubtful."""

    query: SearchQuery
    pairs: tuple[Pair, ...]
    ignored: tuple[Issue, ...] = ()


def parse(resource_type: str, pairs: Sequence[Pair], context: SearchContext) -> Understood:
    """Read all parameters of a search on one type. Raises ServiceError `incorrect` with every issue."""
    draft = Draft()
    understood: list[Pair] = []
    ignored: list[Issue] = []
    refused: list[Issue] = []
    for name, text in pairs:
        if name in _SILENT or (name, text) == ("_contained", "false"):
            continue  # Not about matching.
        if not text.strip(","):  # Logically empty (`DECISIONS.md#empty-values`).
            refused += _unsupported(resource_type, name, context)
            continue
        try:
            before = len(draft.clauses)
            _read(draft, resource_type, name, text, context)
            understood.append((name, text))
            said = dict.fromkeys(doubt for clause in draft.clauses[before:] for doubt in doubts(clause))
            ignored += [Issue("value", f"`{shown(name)}`: {one}", (shown(name),), "warning") for one in said]
        except Unknown as error:
            hint = near(error.word, error.names) if len(ignored) + len(refused) < _HINTS_MAX else ""
            if context.strict:
                refused.append(Issue("not-supported", f"{error.text}{hint}", (shown(name),)))
            else:
                left_out = f"{error.text}{hint}; it was left out"
                ignored.append(Issue("not-supported", left_out, (shown(name),), "information"))
                understood += [(name, error.rest)] if error.rest else []
        except Refused as error:
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
        _total(draft),
        bytes_max=limits.bytes_max,
        includes=tuple(draft.includes),
        summary=draft.summary or Summary.FALSE,
        elements=tuple(draft.elements),
    )
    used = dict.fromkeys((name, str(count) if name == "_count" else text) for name, text in understood)
    return Understood(query, tuple(used), tuple(ignored))


def _total(draft: Draft) -> Total:
    """Effort for the total. Whoever asks for nothing else wants it whatever it takes: `_count=0` is
    `_summary=count`, https://hl7.org/fhir/R4/search.html#count.
    """
    if draft.summary is Summary.COUNT or (draft.count == 0 and draft.total is not Total.NONE):
        return Total.ACCURATE
    return draft.total or Total.BOUNDED


def _unsupported(resource_type: str, name: str, context: SearchContext) -> Iterator[Issue]:
    """The modifier of a parameter without value, if it is none: `code:2823-3` was to be `code=2823-3`."""
    if ":" not in name or name.startswith("_has:"):
        return
    try:
        _read(Draft(), resource_type, name, "x", context)
    except Refused as error:
        if error.code == "not-supported":
            yield Issue(error.code, f"`{shown(name)}`: {error.text}", (shown(name),))
    except Unknown:
        pass


def is_known(resource_type: str, name: str) -> bool:
    """Whether a parameter, by its name without modifier or chain, says something to a search on the type."""
    listed = name in RESULT_PARAMETERS or name in includes.NAMES or name == "_has"
    return listed or (resource_type in TYPES and name in TYPES[resource_type].by_name)


def _read(draft: Draft, resource_type: str, name: str, text: str, context: SearchContext) -> None:
    base, colon, _ = name.partition(":")
    reader = RESULT_PARAMETERS.get(base)
    if reader is not None and colon:
        message = f"this modifier is not supported here; `{base}` takes none"
        raise Refused(message, "not-supported")
    if reader is not None:
        reader(draft, resource_type, text)
    elif base in includes.NAMES:
        read_include(draft, name, text)
    else:
        draft.clauses.append(clause_of(resource_type, name, text, context))


# --- parameters that shape the result


# --- parameters that filter


# --- chains: https://hl7.org/fhir/R4/search.html#chaining


# --- the patient scope rule, `DECISIONS.md#patient-scope`
