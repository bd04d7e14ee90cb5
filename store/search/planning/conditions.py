"""Clauses as MongoDB filters on what was found."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from store.fhir.instants import MISSING
from store.search.criteria import (
    All,
    AnyOf,
    Chain,
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
from store.search.parameters import SearchType
from store.search.planning.joins import PLACE, TARGETS
from store.search.values import content, dates, quantities, strings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from store.search.criteria import Clause, Resolved
    from store.search.filters import Filter
    from store.search.parameters import Parameter
    from store.search.values.quantities import QuantityValue


def condition(clause: Clause, resolved: Resolved) -> Filter:  # noqa: PLR0911, PLR0912, C901 -- one for each kind
    """Filter that a stored document must fulfil."""
    match clause:
        case Tokens():
            return {clause.parameter.field: _among(clause.spellings, negated=clause.negated)}
        case References():
            return {clause.parameter.field: _among(clause.spellings)}
        case Dates():
            if clause.parameter.repeats:
                field = clause.parameter.each_field
                return any_of([dates.to_filter_of_each(field, value) for value in clause.values])
            return any_of([dates.to_filter(clause.parameter.field, value) for value in clause.values])
        case Strings():
            return strings.to_filter(clause.parameter.field, clause.values, clause.match)
        case Quantities():
            return any_of([{clause.parameter.field: {"$elemMatch": _quantity(v)}} for v in clause.values])
        case Has():
            return {"id": _among(resolved[clause])}
        case Missing():
            return _missing(clause.parameter, missing=clause.missing)
        case Chain():
            parameter = clause.parameter
            either: list[Filter] = [_leads_to(parameter, resolved[clause])]
            if clause.only:
                typed = [f"{type}>{one}" for type in (clause.only, "") for one in clause.identifiers]
                either.append({parameter.typed_field: _among(typed)})
            elif clause.identifiers:
                either += [
                    {name: _among(clause.identifiers)}
                    for name in (parameter.logical.field, parameter.contained_field)
                ]
            return any_of(either)
        case Words():
            return content.to_filter(clause.parameter.field, clause.values)
        case Together():
            held: list[Filter] = [condition(part, resolved) for part in clause.parts]
            return {clause.parameter.field: {"$elemMatch": {"$and": held}}}
        case All():
            return {"$and": [condition(member, resolved) for member in clause.clauses]}
        case AnyOf():
            return any_of([condition(member, resolved) for member in clause.clauses])
        case _:
            assert_never(clause)


def _leads_to(parameter: Parameter, targets: Sequence[str]) -> Filter:
    if not any(one.endswith(PLACE) for one in targets):
        return {parameter.field: _among(targets)}
    # Joined: the targets are found in the same command, under this name.
    shared = {"$setIntersection": [{"$ifNull": [f"${parameter.field}", []]}, f"$${TARGETS}"]}
    return {"$expr": {"$ne": [shared, []]}}


def _quantity(value: QuantityValue) -> Filter:
    return quantities.to_filter("", value)


def _among(spellings: Sequence[str], *, negated: bool = False) -> Filter:
    return {"$nin" if negated else "$in": list(spellings)}


def any_of(filters: Sequence[Filter]) -> Filter:
    """Filter that at least one of them fulfils."""
    return filters[0] if len(filters) == 1 else {"$or": list(filters)}


def _missing(parameter: Parameter, *, missing: bool) -> Filter:
    if parameter.type is SearchType.DATE:
        return {f"{parameter.field}.lo": {"$eq" if missing else "$ne": MISSING}}
    fields = [parameter.field]
    if parameter.type is SearchType.TOKEN:
        fields.append(parameter.texts.field)
    if parameter.type is SearchType.STRING:  # A text without letters or digits has no words.
        fields.append(f"{parameter.field}:exact")
    if parameter.type is SearchType.REFERENCE:
        fields += [parameter.logical.field, parameter.contained_field, parameter.unspelled_field]
    if missing:
        return {"$and": [{name: {"$exists": False}} for name in fields]}
    return {"$or": [{name: {"$exists": True}} for name in fields]}
