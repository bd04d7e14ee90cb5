"""The result of loading one body: outcomes counted, refusals with place and rule. No value is in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from typing_extensions import override

from ingest.metrics import IngestMetrics
from store.errors import Category

if TYPE_CHECKING:
    from collections.abc import Iterable

    from store.errors import ServiceError

AGAIN: Final = frozenset({Category.UNAVAILABLE, Category.TIMEOUT})
"""Failures that say nothing of the body: it is pushed again."""


class Tally(IngestMetrics):
    """Counts what becomes of the resources of one body, where the service counts for Prometheus."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    @override
    def count(self, outcome: str, tolerances: Iterable[str] = ()) -> None:
        """Count one resource."""
        self.counts[outcome] += 1


class Refusal(NamedTuple):
    """What was not stored, and why. No value is in it."""

    where: str
    issues: tuple[Mapping[str, Any], ...]
    """`code`, `text`, `expression`."""


class Result(NamedTuple):
    """What became of one body."""

    counts: Counter[str]
    refusals: tuple[Refusal, ...] = ()

    @property
    def early(self) -> bool:
        """Whether nothing of it was stored only because what it refers to by a condition is not there yet."""
        issues = [issue for one in self.refusals for issue in one.issues]
        return self.counts.keys() == {"refused"} and all(issue["code"] == "not-found" for issue in issues)


def refusal(where: str, error: ServiceError) -> Refusal:
    """An error as it is reported."""
    issues = [{"code": i.code, "text": i.text, "expression": list(i.expression)} for i in error.issues]
    return Refusal(where, tuple(issues) or ({"code": "processing", "text": error.category.value},))


def shown(issue: Mapping[str, Any]) -> Mapping[str, Any]:
    """An issue of an OperationOutcome."""
    text = issue.get("details", {}).get("text", "")
    return {"code": issue["code"], "text": text, "expression": issue.get("expression", [])}
