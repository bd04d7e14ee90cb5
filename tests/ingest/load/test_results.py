"""The account of a body that is pushed again for what was refused of it."""

from __future__ import annotations

from collections import Counter

import pytest

from ingest.load.files import Place
from ingest.load.results import Refusal, settled


@pytest.mark.parametrize(
    ("earlier", "now", "together"),
    [
        ({}, {"created": 2, "refused": 1}, {"created": 2, "refused": 1}),
        ({"created": 2}, {"unchanged": 2, "refused": 1}, {"created": 2, "refused": 1}),
        ({"created": 2}, {"unchanged": 2, "created": 1}, {"created": 3}),
        ({"created": 1, "replaced": 1}, {"unchanged": 3}, {"created": 1, "replaced": 1, "unchanged": 1}),
        ({"created": 2, "unchanged": 1}, {"exists": 2, "unchanged": 1}, {"created": 2, "unchanged": 1}),
        ({"created": 2}, {"replaced": 2}, {"replaced": 2}),
        ({"created": 2}, {"refused": 2}, {"refused": 2}),
        ({"deleted": 1}, {"unchanged": 1}, {"deleted": 1}),
    ],
)
def test_what_an_earlier_run_stored_stays_stored(
    earlier: dict[str, int], now: dict[str, int], together: dict[str, int]
) -> None:
    found = settled(earlier, Counter(now))
    assert found == Counter(together)
    assert found.total() == sum(now.values())


@pytest.mark.parametrize(
    ("place", "said", "fields"),
    [
        (Place("/a.json"), "/a.json", {}),
        (Place("/a.json", entry=0), "/a.json: entry 0", {"entry": 0}),
        (Place("/a.zip", "b.ndjson", 3), "/a.zip: b.ndjson: line 3", {"member": "b.ndjson", "line": 3}),
    ],
)
def test_places_are_a_phrase_for_people_and_fields_for_programs(
    place: Place, said: str, fields: dict[str, object]
) -> None:
    assert str(place) == said
    assert Refusal(place, ()).report() == {"file": place.file, **fields, "issues": ()}
