"""The Bundles that the benchmark pushes: distinct, of one length, and each a whole of its own."""

from __future__ import annotations

import json

import pytest

from bench import reports

PANEL = reports.result_of_a_panel(12)
TEMPLATES = {
    "batch": reports.many(3, 7),
    "message": reports.as_message(PANEL),
    "panel": reports.as_batch(PANEL),
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_bundles_are_distinct_and_of_one_length(name: str) -> None:
    bodies = [TEMPLATES[name].body(number) for number in (1, 2, 10**11)]
    assert len({len(body) for body in bodies}) == 1
    first, second, _ = ([entry["resource"] for entry in json.loads(body)["entry"]] for body in bodies)
    for one, other in zip(first, second, strict=True):
        assert one != other
    named = [json.dumps([one["resourceType"], one.get("id"), one.get("identifier")]) for one in first]
    assert len(set(named)) == len(first)


def test_a_message_holds_what_its_batch_holds() -> None:
    message, batch = (
        [entry["resource"] for entry in json.loads(TEMPLATES[name].body(5))["entry"]]
        for name in ("message", "panel")
    )
    assert message[1:] == batch
    report = batch[-1]
    ids = {f"{one['resourceType']}/{one['id']}" for one in batch}
    assert {one["reference"] for one in (*report["result"], report["subject"])} < ids
