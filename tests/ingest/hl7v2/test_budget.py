"""Messages are weighed before they are taken apart: bytes alone bound neither memory nor time."""

from __future__ import annotations

import pytest

from ingest.hl7v2.budget import excess, fault_of, weigh
from ingest.hl7v2.patients import by_patient, within_whole
from tests.support.mllp import oru

HEAD = b"MSH|^~\\&|A|B\r"
BOUNDS = {"segments": 1_000, "parts": 5_000}


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (oru(), None),
        (HEAD + b"OBR\r" * 900, None),
        (HEAD + b"OBR\r" * 1_100, "SEGMENTS_MAX"),
        (HEAD + b"\r\n" * 600_000, "SEGMENTS_MAX"),
        (HEAD + b"OBX|" + b"|" * 6_000, "ELEMENTS_MAX"),
        (HEAD + b"OBX|1|ST|a||" + b"~" * 6_000, "ELEMENTS_MAX"),
        (HEAD + b"OBX|1|ST|a||" + b"^" * 6_000, "ELEMENTS_MAX"),
        (HEAD + b"OBX|1|ST|a||" + b"\\" * 6_000, "ELEMENTS_MAX"),
        (b"\x0bMSH#*+?@" + b"#" * 6_000, "ELEMENTS_MAX"),
        (b"MSH#*+?@" + b"|" * 6_000, None),
        (b"no message" + b"|" * 6_000, "ELEMENTS_MAX"),
        (b"", None),
    ],
    ids=lambda one: repr(one[:30] if one else one),
)
def test_a_message_of_too_many_parts_has_a_fault(message: bytes, told: str | None) -> None:
    fault = fault_of(weigh(message, **BOUNDS), **BOUNDS)
    assert (fault is None) is (told is None)
    assert fault is None or told is None or told in fault.rule


def test_few_bytes_are_light_only_when_they_are_few_segments() -> None:
    assert weigh(oru(), **BOUNDS).is_light
    assert not weigh(HEAD + b"OBR\r" * 300, **BOUNDS).is_light


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (oru() * 9, None),
        (oru() * 12, "BUNDLE_ENTRIES_MAX"),
        (oru().replace(b"\r", b"\r\n") * 12, "BUNDLE_ENTRIES_MAX"),
        (HEAD + b"PID|1\r" * 11, "BUNDLE_ENTRIES_MAX"),
        (HEAD + b"\n" * 1_001, "SEGMENTS_MAX"),
    ],
)
def test_a_batch_of_too_much_breaks_a_rule(body: bytes, told: str | None) -> None:
    rule = excess(body, segments=100, messages=10)
    assert (rule is None) is (told is None)
    assert rule is None or told is None or told in rule


def test_faults_of_many_patients_are_placed_in_one_pass() -> None:
    parts = by_patient(HEAD + b"PID|1\rOBR\rOBX\r" * 2_000)
    [fault] = [fault_of(weigh(HEAD * 6_000, **BOUNDS), **BOUNDS)]
    assert fault is not None
    told = [(fault._replace(segment="OBX", sequence=1), fault)] * len(parts)
    placed = list(within_whole(parts, told))
    assert [one[0].sequence for one in placed] == list(range(1, 2_001))
    assert {one[1].sequence for one in placed} == {1}
