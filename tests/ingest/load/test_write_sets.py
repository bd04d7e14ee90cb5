"""Write sets of the bodies of a load, and which of two may not overtake the other."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ingest.load.write_sets import claims, differ
from tests.support.fhir import batch, identified, message, patient, report

REPORT = report("r")
OTHERWISE = report("r", conclusion="otherwise")
PUT = batch(("PUT", "DiagnosticReport/r", REPORT))


def collection(*resources: Any, full_url: str | None = None) -> Any:
    named = {} if full_url is None else {"fullUrl": full_url}
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{**named, "resource": one} for one in resources],
    }


def created(if_none_exist: str | None, resource: Any) -> Any:
    named = {} if if_none_exist is None else {"ifNoneExist": if_none_exist}
    return batch(("POST", "Patient", resource), **named)


def nameless(resource: Any) -> Any:
    return {name: value for name, value in resource.items() if name != "id"}


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (REPORT, {"DiagnosticReport/r"}),
        (nameless(REPORT), set()),
        (collection(REPORT, patient("p")), {"DiagnosticReport/r", "Patient/p"}),
        (collection(nameless(REPORT), full_url="urn:uuid:0A"), {"DiagnosticReport/0a"}),
        (batch(("DELETE", "Patient/p", None), ("GET", "Patient/q", None)), {"Patient/p"}),
        (batch(("PUT", "Patient?identifier=s|v", patient())), {"Patient?identifier=s|v"}),
        (created("identifier=s|v", patient()), {"Patient?identifier=s|v"}),
        (created(None, patient()), set()),
        (message(REPORT), {"message DiagnosticReport r"}),
        (message(report("r", identifier=[identified("s", "v")])), {"message DiagnosticReport s|v"}),
        (
            {"resourceType": "Bundle", "type": "message", "entry": [{"resource": {"resourceType": 7}}, {}]},
            set(),
        ),
        (
            {**batch(("POST", "Patient", patient("p")), ("DELETE", "Patient/q", None)), "type": "history"},
            {"Patient/p", "Patient/q"},
        ),
        ([REPORT], set()),
        (
            {
                "resourceType": "Bundle",
                "type": "batch",
                "entry": [1, {"request": 2}, {"request": {"url": 3}}],
            },
            set(),
        ),
        ({"resourceType": "Bundle", "entry": {}}, set()),
        ({"resourceType": "Patient", "id": 7}, set()),
    ],
)
def test_what_a_body_claims(body: Any, names: set[str]) -> None:
    assert set(claims(json.dumps(body).encode())) == names


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"id": 1, "id": 2}', b"\xff", b'{"resourceType":"Patient","id":"\\ud800"}']
)
def test_what_cannot_be_read_stops_nobody(body: bytes) -> None:
    assert not differ(claims(body), claims(json.dumps(REPORT).encode()))


@pytest.mark.parametrize(
    ("one", "other", "wait"),
    [
        (REPORT, OTHERWISE, True),
        (REPORT, REPORT, False),
        (REPORT, report("s"), False),
        (PUT, PUT, False),
        (PUT, batch(("PUT", "DiagnosticReport/r", OTHERWISE)), True),
        (PUT, batch(("DELETE", "DiagnosticReport/r", None)), True),
        (collection(REPORT, patient("p")), collection(patient("p"), report("s")), False),
        (collection(REPORT, patient("p")), collection(patient("p", active=True), report("s")), True),
        (collection(REPORT, OTHERWISE), collection(OTHERWISE, REPORT), True),
        (created("identifier=v", patient()), created("identifier=v", patient(active=True)), True),
        (message(REPORT), message(OTHERWISE), True),
        (message(REPORT, timestamp="2026-01-01T00:00:00Z"), message(REPORT, timestamp="2026"), False),
        (message(REPORT, source="urn:a"), message(REPORT, source="urn:b"), False),
    ],
)
def test_who_waits_for_whom(one: Any, other: Any, *, wait: bool) -> None:
    mine, yours = (claims(json.dumps(body).encode()) for body in (one, other))
    assert differ(mine, yours) is wait
    assert differ(yours, mine) is wait


def test_every_digit_counts() -> None:
    one, other = (
        json.dumps(collection({"resourceType": "Observation", "id": "o", "valueInteger": 7})).replace(
            "7", digits
        )
        for digits in ("1.0", "1.00")
    )
    assert differ(claims(one.encode()), claims(other.encode()))
