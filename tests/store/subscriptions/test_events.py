"""Events that are next, of those that are remembered."""

from __future__ import annotations

import pytest

from store.subscriptions.events import Occurrence, Run, next_of
from store.subscriptions.records import Progress
from tests.support.subscriptions import NOW


@pytest.mark.parametrize(
    ("known", "delivered", "last", "expected"),
    [
        ((3, 4, 5), 2, 5, [3, 4]),
        ((3, 4, 5), 3, 5, [4, 5]),
        ((3, 4, 5), 3, 4, [4]),
        ((3, 4, 5), 5, 5, []),
        ((3, 4, 5), 1, 5, []),
        ((3, 7, 8), 2, 8, [3]),
        ((), 1, 5, []),
    ],
    ids=[
        "next",
        "some were sent",
        "not all are counted",
        "none is left",
        "earlier ones wait",
        "some between them are not known",
        "none is known",
    ],
)
def test_remembered_events_are_sent_if_none_before_them_waits(
    known: tuple[int, ...], delivered: int, last: int, expected: list[int]
) -> None:
    recent = [Run(number, (Occurrence(f"A/{number}", "created", 1, NOW),)) for number in known]
    together: list[Run] = []
    for run in recent:
        if together and together[-1].last + 1 == run.first:
            before = together.pop()
            together.append(Run(before.first, before.occurrences + run.occurrences))
        else:
            together.append(run)
    for runs in (recent, together):
        found = next_of(runs, Progress(last=last, delivered=delivered), 2)
        assert [event.number for event in found] == expected
        assert [event.key for event in found] == [f"A/{number}" for number in expected]
