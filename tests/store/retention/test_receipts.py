"""The chain: what is changed, taken out or put in between shows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from store.retention.receipts import FIRST, Counted, Link, Receipt, as_json, hash_of, verify
from store.retention.runs import Reason, Row, RunKind

START = datetime(2026, 11, 25, 12, tzinfo=UTC)


def receipt(number: int, previous: str) -> Receipt:
    row = Row("lab/Production", 3, "DiagnosticReport", Reason.RETENTION.value)
    return Receipt(
        number=number,
        run=f"run{number}",
        kind=RunKind.SWEEP,
        tenant="",
        subject="",
        reason="",
        started_at=START,
        as_of=START,
        ended_at=START + timedelta(milliseconds=1_500 * number),
        complete=True,
        takeovers=0,
        rows=(Counted(row, number),),
        skipped=(),
        previous=previous,
    ).sealed()


def chain(length: int = 5) -> list[Receipt]:
    made: list[Receipt] = []
    for number in range(1, length + 1):
        made.append(receipt(number, made[-1].hash if made else FIRST))
    return made


def test_an_empty_chain_and_a_whole_one_hold() -> None:
    assert verify([]) == (Link(), None)
    whole = chain()
    assert verify(whole) == (Link(5, whole[-1].hash), None)


@pytest.mark.parametrize(
    "change",
    [
        {"rows": ()},
        {"rows": (Counted(Row("lab/Production", 3, "DiagnosticReport", "retention"), 4),)},
        {"skipped": (Counted(Row("lab/Production", 3, "Patient", "held"), 1),)},
        {"reason": "other"},
        {"ended_at": START},
        {"complete": False},
        {"takeovers": 1},
        {"hash": "0" * 64},
    ],
)
def test_a_changed_receipt_shows(change: dict[str, object]) -> None:
    broken = chain()
    broken[2] = replace(broken[2], **change)  # type: ignore[arg-type]  # a table of fields
    link, wrong = verify(broken)
    assert link.number == 2
    assert wrong is not None
    assert "receipt 3 was changed" in wrong


def test_a_changed_receipt_with_a_hash_of_its_own_shows_in_the_next() -> None:
    broken = chain()
    broken[2] = replace(broken[2], rows=()).sealed()
    assert verify(broken) == (
        Link(3, broken[2].hash),
        "receipt 4 does not follow receipt 3: that one was changed",
    )


@pytest.mark.parametrize("gone", [1, 2, 4])
def test_a_missing_receipt_shows(gone: int) -> None:
    broken = [one for one in chain() if one.number != gone]
    link, wrong = verify(broken)
    assert link.number == gone - 1
    assert wrong == f"receipt {gone} is missing: after {gone - 1} comes {gone + 1}"


def test_the_hash_is_that_of_the_json_without_it() -> None:
    one = chain(1)[0]
    said = orjson.loads(orjson.dumps(as_json(one)))
    assert said.pop("hash") == hash_of(one) == one.hash
    assert said["seconds"] == 1.5
    assert said["deleted"] == [
        {
            "tenant": "lab/Production",
            "policy": 3,
            "type": "DiagnosticReport",
            "reason": "retention",
            "count": 1,
        }
    ]
