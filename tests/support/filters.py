"""MongoDB's filters on plain documents, for the operators our plans use: the other half of an oracle.

Array semantic as in MongoDB: a path walks through arrays, and a condition holds when it holds for one of the
values, the array itself included; `$ne` and `$nin` hold when none of them equals.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from store.search.planning.plan import FindPlan

Document = dict[str, Any]


def matches(document: Mapping[str, Any], condition: Mapping[str, Any]) -> bool:
    """Whether a document fulfils a filter."""
    return all(_holds(document, name, wanted) for name, wanted in condition.items())


def _holds(document: Mapping[str, Any], name: str, wanted: Any) -> bool:
    if name == "$or":
        return any(matches(document, one) for one in wanted)
    if name == "$and":
        return all(matches(document, one) for one in wanted)
    if name.startswith("$"):
        raise NotImplementedError(name)
    values = list(_values(document, name.split(".")))
    if isinstance(wanted, dict) and any(key.startswith("$") for key in wanted):
        return all(_OPERATORS[operator](values, operand) for operator, operand in wanted.items())
    return _equal(values, wanted)


def _values(node: Any, names: Sequence[str]) -> Iterable[Any]:
    if not names:
        yield node
        if isinstance(node, list | tuple):
            yield from node
    elif isinstance(node, dict):
        if names[0] in node:
            yield from _values(node[names[0]], names[1:])
    elif isinstance(node, list | tuple):
        for one in node:
            if isinstance(one, dict):
                yield from _values(one, names)


def _equal(values: Sequence[Any], wanted: Any) -> bool:
    return any(_comparable(value, wanted) and value == wanted for value in values)


def _compare(test: Callable[[Any, Any], bool]) -> Callable[[Sequence[Any], Any], bool]:
    return lambda values, bound: any(_comparable(value, bound) and test(value, bound) for value in values)


def _comparable(left: Any, right: Any) -> bool:
    """Comparisons never cross types."""
    return any(isinstance(left, kind) and isinstance(right, kind) for kind in (int | float, str, datetime))


def _element(value: Any, wanted: Mapping[str, Any]) -> bool:
    """Whether one element of a list fulfils all of it."""
    if isinstance(value, dict):
        return matches(value, wanted)
    if isinstance(value, list | tuple):
        return False
    return all(_OPERATORS[operator]([value], operand) for operator, operand in wanted.items())


_OPERATORS: Final[Mapping[str, Callable[[Sequence[Any], Any], bool]]] = {
    "$eq": _equal,
    "$ne": lambda values, wanted: not _equal(values, wanted),
    "$in": lambda values, wanted: any(_equal(values, one) for one in wanted),
    "$nin": lambda values, wanted: not any(_equal(values, one) for one in wanted),
    "$elemMatch": lambda values, wanted: any(_element(one, wanted) for one in values),
    "$exists": lambda values, wanted: bool(values) is wanted,
    "$gt": _compare(lambda value, bound: bool(value > bound)),
    "$gte": _compare(lambda value, bound: bool(value >= bound)),
    "$lt": _compare(lambda value, bound: bool(value < bound)),
    "$lte": _compare(lambda value, bound: bool(value <= bound)),
}


def find(documents: Iterable[Document], plan: FindPlan) -> list[Document]:
    """Documents that `find` with this plan gives back."""
    found = [document for document in documents if matches(document, plan.filter)]
    for name, direction in reversed(plan.sort):
        found.sort(key=lambda document: _scalar(document, name), reverse=direction < 0)
    return found[: plan.limit]


def _scalar(document: Document, name: str) -> Any:
    value: Any = document
    for part in name.split("."):
        value = value[part]
    return value
