"""Explanation of an answer, for whoever runs the service: `__explain=true`, and `dod search --explain`.

Only counts, names of ours and the query's shape: no value of the search or of a resource is in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from store.errors import Category, ServiceError
from store.fhir.issues import Issue

if TYPE_CHECKING:
    from collections.abc import Sequence

    from store.search.parsing.query_text import Pair
    from store.search.planning.plan import Explanation

EXPLAIN: Final = "__explain"
"""The parameter; ours alone, so it is written in no link."""
_WISHES: Final = {"true": True, "false": False}


def wish(pairs: Sequence[Pair]) -> tuple[bool, list[Pair]]:
    """Whether the search is to be explained, and the other pairs. Raises ServiceError `incorrect`."""
    wishes = [_WISHES.get(value) for name, value in pairs if name == EXPLAIN]
    if None in wishes:
        issue = Issue("invalid", f"`{EXPLAIN}`: must be `true` or `false`", (EXPLAIN,))
        raise ServiceError(Category.INCORRECT, issue)
    return any(wishes), [pair for pair in pairs if pair[0] != EXPLAIN]


def facts(explanation: Explanation) -> tuple[tuple[str, str], ...]:
    """Facts of an explanation, each with its name."""
    return (
        ("shape", explanation.shape),
        ("index", explanation.hint),
        ("documents examined", str(explanation.documents_examined)),
        ("keys examined", str(explanation.keys_examined)),
        ("returned", str(explanation.returned)),
        ("stages", " < ".join(explanation.stages)),
    )


def issue_of(explanation: Explanation) -> Issue:
    """Explanation as an issue of the searchset's OperationOutcome."""
    text = "; ".join(f"{name}: {fact}" for name, fact in facts(explanation))
    return Issue("informational", text, severity="information")
