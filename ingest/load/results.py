"""The result of loading one body: outcomes counted, refusals with place and rule. No value is in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from typing_extensions import override

from ingest.metrics import IngestMetrics
from store.errors import Category

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ingest.load.files import Place
    from ingest.pipeline.identity.decisions import Finding
    from store.errors import ServiceError

AGAIN: Final = frozenset({Category.UNAVAILABLE, Category.THROTTLED, Category.TIMEOUT})
"""Failures that say nothing of the body: it is pushed again."""
_AS_BEFORE: Final = ("unchanged", "exists")
"""Outcomes of a resource that an earlier push stored."""


class LoadCounts(IngestMetrics):
    """Counts what becomes of the resources of one body, where the service counts for Prometheus."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    @override
    def count(self, outcome: str, tolerances: Iterable[str] = ()) -> None:
        """Count one resource."""
        self.counts[outcome] += 1

    @override
    def decided(self, finding: Finding) -> None:
        """Count nothing: a finding is no outcome of a resource."""


class Refusal(NamedTuple):
    """A resource or body that was not stored: its place and the reasons. No value is in it."""

    place: Place
    issues: tuple[Mapping[str, Any], ...]
    """`code`, `text`, `expression`."""

    def report(self) -> Mapping[str, Any]:
        """The line of `--report`: file, member, line and entry as fields of their own."""
        named = {"member": self.place.member or None, "line": self.place.line or None}
        place = {"file": self.place.file, **named, "entry": self.place.entry}
        return {**{name: value for name, value in place.items() if value is not None}, "issues": self.issues}


class Result(NamedTuple):
    """The outcomes of one body."""

    counts: Counter[str]
    refusals: tuple[Refusal, ...] = ()
    earlier: Mapping[str, int] = MappingProxyType({})
    """The part of `counts` that earlier runs stored, of a body that is pushed again for the rest of it."""

    @property
    def early(self) -> bool:
        """Whether it was refused for one reason alone: a conditional reference finds nothing yet."""
        issues = [issue for one in self.refusals for issue in one.issues]
        return self.counts.keys() == {"refused"} and all(issue["code"] == "not-found" for issue in issues)


def in_order(refusals: Iterable[Refusal]) -> tuple[Refusal, ...]:
    """The refusals of one body by the number of their entries."""
    return tuple(sorted(refusals, key=lambda one: -1 if one.place.entry is None else one.place.entry))


def settled(earlier: Mapping[str, int], now: Counter[str]) -> Counter[str]:
    """The outcomes of a body pushed again: entries found unchanged keep the outcome of the earlier push."""
    counts = Counter(now)
    for outcome, number in earlier.items():
        for found in (name for name in _AS_BEFORE if name != outcome):
            same = min(number, counts[found])
            number -= same  # noqa: PLW2901 (the rest is looked for under the next name)
            counts[outcome] += same
            counts[found] -= same
    return +counts


def refusal(place: Place, error: ServiceError) -> Refusal:
    """An error as it is reported."""
    issues = [{"code": i.code, "text": i.text, "expression": list(i.expression)} for i in error.issues]
    return Refusal(place, tuple(issues) or ({"code": "processing", "text": error.category.value},))


def shown(issue: Mapping[str, Any]) -> Mapping[str, Any]:
    """An issue of an OperationOutcome."""
    text = issue.get("details", {}).get("text", "")
    return {"code": issue["code"], "text": text, "expression": issue.get("expression", [])}
