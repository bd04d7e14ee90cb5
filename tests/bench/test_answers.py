"""The benchmark refuses an answer that is not what it asked for."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from bench.answers import found_of_patient

Entry = dict[str, Any]


def report(number: int, *, patient: str = "one", results: tuple[str, ...] = ()) -> Entry:
    resource = {
        "resourceType": "DiagnosticReport",
        "id": f"r{number}",
        "subject": {"reference": f"Patient/{patient}"},
        "result": [{"reference": f"Observation/{one}"} for one in results],
    }
    return {"fullUrl": f"http://x/r{number}", "resource": resource, "search": {"mode": "match"}}


def observation(name: str, *, patient: str = "one") -> Entry:
    resource = {
        "resourceType": "Observation",
        "id": name,
        "subject": {"reference": f"Patient/{patient}"},
    }
    return {"fullUrl": f"http://x/{name}", "resource": resource, "search": {"mode": "include"}}


def answer(*entries: Entry, total: int = 2) -> bytes:
    link = [{"relation": "self", "url": "http://x/DiagnosticReport?patient=Patient/one"}]
    return b"HTTP/1.1 200 OK\r\n\r\n" + orjson.dumps({"total": total, "link": link, "entry": entries})


FIRST, SECOND, VALUE = report(1, results=("o1",)), report(2), observation("o1")


def test_what_was_asked_for_is_taken() -> None:
    found_of_patient(2, included=1)(answer(FIRST, SECOND, VALUE))
    found_of_patient(2)(answer(FIRST, SECOND))


@pytest.mark.parametrize(
    ("included", "wrong"),
    [
        pytest.param(1, answer(FIRST, SECOND), id="no include"),
        pytest.param(0, answer(FIRST, SECOND, VALUE), id="an include not asked for"),
        pytest.param(0, answer(FIRST), id="a match missing"),
        pytest.param(0, answer(FIRST, SECOND, total=3), id="another total"),
        pytest.param(0, answer(FIRST, FIRST), id="one twice"),
        pytest.param(0, answer(FIRST, report(2, patient="two")), id="another patient's"),
        pytest.param(1, answer(FIRST, SECOND, observation("o2")), id="included but not referred to"),
    ],
)
def test_anything_else_is_refused(included: int, wrong: bytes) -> None:
    with pytest.raises(AssertionError):
        found_of_patient(2, included=included)(wrong)
