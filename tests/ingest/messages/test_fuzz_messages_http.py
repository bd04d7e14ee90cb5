"""Bodies nobody thought of, pushed by each way in: never a 5xx, never a value echoed, nothing half stored.

`FUZZ_EXAMPLES=20000` makes it a soak test.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.feed import at, delivery, observation
from tests.support.service import opened_service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.service import Service

CANARY: Final = "Zq7Canary"
EXAMPLES: Final = int(os.environ.get("FUZZ_EXAMPLES", "100"))
WAYS: Final = (
    ("POST", "$process-message"),
    ("POST", "DiagnosticReport/$diagnosticreport-create"),
    ("POST", "DiagnosticReport/$diagnosticreport-amend"),
    ("POST", "Observation/$observation-create"),
    ("POST", "DiagnosticReport"),
    ("PUT", "DiagnosticReport/r"),
    ("POST", ""),
)
LITERALS: Final = (
    f'"{CANARY}"',
    "NaN",
    "-Infinity",
    '"\\ud800"',
    '{"a":1,"a":2}',
    "[" * 300 + "]" * 300,
    "{}",
    "[]",
    "null",
    "true",
    "1e999",
    "-0",
    "0.10",
    "[null]",
    '[{"reference":7}]',
    '{"reference":["x"]}',
    '"\\u0000"',
    "1" * 400,
    f'{{"{CANARY}":{{"{CANARY}":""}}}}',
    '{"coding":{"coding":{}}}',
    "[[[1]]]",
    '"2026-13-45"',
    '"9999-12-31T23:59:60Z"',
)
"""Replacements for a value: JSON, or nearly."""


@pytest.fixture(scope="module")
async def live(mongodb: str) -> AsyncIterator[Service]:
    async with opened_service(mongodb) as opened:
        yield opened


def body() -> Any:
    return delivery(
        "r",
        observation("o"),
        time=at(1),
        evidence="meta",
        category=[{"coding": [{"system": "urn:x", "code": "LAB"}]}],
        effectiveDateTime="2026",
        presentedForm=[{"contentType": "text/plain", "data": "Zm9v"}],
        contained=[{"resourceType": "Patient", "id": "c"}],
    )


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON tree."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at] * bool(at) + [place for name, one in inner for place in places(one, (*at, name))]


def replaced(tree: Any, changes: list[tuple[tuple[Any, ...], int]]) -> str:
    """The tree as text, with literals put in."""
    for place, number in changes:
        element = tree
        try:
            for name in place[:-1]:
                element = element[name]
            element[place[-1]] = f"@{number}@"
        except (KeyError, IndexError, TypeError):
            continue  # An earlier change took it away.
    text = json.dumps(tree)
    for _, number in changes:
        text = text.replace(f'"@{number}@"', LITERALS[number])
    return text


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="FUZZ_EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
async def test_any_body(live: Service, data: st.DataObject) -> None:
    method, path = data.draw(st.sampled_from(WAYS))
    message = path.endswith(("message", "create", "amend"))
    tree = body() if message else body()["entry"][1]["resource"]
    if path == "":
        tree = {**body(), "type": "batch"}
    change = st.tuples(st.sampled_from(places(tree)), st.integers(0, len(LITERALS) - 1))
    text = replaced(tree, data.draw(st.lists(change, min_size=1, max_size=3)))
    wish = data.draw(st.sampled_from(["handling=strict, return=minimal", "return=minimal"]))
    answer = await live.request(method, path, data=text, headers={"Prefer": wish})
    assert answer.status < 500, answer.text
    assert CANARY not in answer.text
    if answer.status >= 400:
        assert all(severity == "error" for severity, _ in answer.issues)


@settings(max_examples=EXAMPLES, deadline=None, derandomize="FUZZ_EXAMPLES" not in os.environ)
@given(
    raw=st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass"))
)
async def test_any_bytes(live: Service, raw: bytes) -> None:
    answer = await live.request("POST", "$process-message", data=raw)
    assert 400 <= answer.status < 500
    assert all(code in ("structure", "invalid", "required") for _, code in answer.issues)
