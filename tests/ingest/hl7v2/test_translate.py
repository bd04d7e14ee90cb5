"""The message as a whole: what it is taken for, what it leaves unsaid, where it is refused."""

from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.hl7v2.profile import DEFAULT_PROFILE, profile_of
from ingest.hl7v2.reader import Unreadable, read
from ingest.hl7v2.translate import EVENTS, translate
from ingest.messages.message import read_message
from tests.support.hl7v2 import PID, message, obr, obx
from tests.support.translated import places, resources, translated

CODE = "2823-3^Potassium^LN"


@pytest.mark.parametrize(
    ("told", "profile", "is_delta"),
    [
        ({}, "snapshot", False),
        ({}, "delta", True),
        ({"f55": "U"}, "snapshot", True),
        ({"f55": "S"}, "delta", False),
    ],
)
def test_a_delta_is_told_by_the_message_else_by_the_profile(told: Any, profile: str, is_delta: bool) -> None:
    found = translated(PID, obr(**told), obx(CODE, "4"), profile={"results": profile})
    assert [one.results for one in found.partials] == [False, *([True] if is_delta else [])]


def test_null_deletes() -> None:
    found = translated('PID|1||7||Doe^Jane||""|""|||""', event="ADT^A08")
    assert found.partials[0].deleted == {"birthDate", "gender", "address"}
    [made] = resources(found, "Patient")
    assert made.keys() == {"resourceType", "identifier", "name"}


def test_the_message_itself() -> None:
    found = translated(PID, obr(), obx(CODE, "4"), time="20261122113000+0100")
    assert found.bundle is not None
    assert found.bundle["timestamp"] == "2026-11-22T11:30:00+01:00"
    assert found.bundle["identifier"] == {"system": "urn:dod:hl7v2:source:LAB:HOSP", "value": "M-1"}
    [header] = resources(found, "MessageHeader")
    assert header["source"] == {"name": "LAB HOSP", "endpoint": "urn:dod:hl7v2:source:LAB:HOSP"}
    assert header["eventCoding"]["code"] == "R01"
    taken = read_message(found.bundle, client="c", entries_max=100, strict=True)
    assert taken.issues == ()
    assert str(taken.sender) == "source urn:dod:hl7v2:source:LAB:HOSP"
    named = translated(PID, obr(), profile={"endpoint": "https://lab.example"})
    assert resources(named, "MessageHeader")[0]["source"]["endpoint"] == "https://lab.example"


def test_who_names_nothing_of_itself_is_told_by_its_client() -> None:
    sent = message(PID, obr()).replace(b"|LAB|HOSP|", b"|||")
    found = translate(read(sent), DEFAULT_PROFILE)
    assert found.bundle is not None
    assert str(read_message(found.bundle, client="c", entries_max=100).sender) == "client c"


def test_a_message_is_translated_the_same_again_and_no_other_has_its_references() -> None:
    one, again = (translated(PID, obr(), obx(CODE, "4")) for _ in range(2))
    assert one == again
    other = translated(PID, obr(), obx(CODE, "4"), number="M-2")
    bundles: list[Any] = [one.bundle, other.bundle]
    urls = [{entry["fullUrl"] for entry in each["entry"]} for each in bundles]
    assert urls[0].isdisjoint(urls[1])


@pytest.mark.parametrize(
    ("segments", "event", "place"),
    [
        ((), "ORU^R01", "MSH[1]"),
        ((obr(), obx(CODE, "4")), "ORU^R01", "PID[1]"),
        ((PID, obx(CODE, "4")), "ORU^R01", "OBR[1]"),
        ((PID, "ORC|RE|O-1"), "ORU^R01", "OBR[1]"),
        ((PID,), "MDM^T02", "TXA[1]"),
        ((PID,), "ORM^O01", "ORC[1]"),
        # More than one message can say, and less than a whole one.
        ((PID, "TXA|1|CN|TX", "TXA|2|CN|TX"), "MDM^T02", "TXA[2]"),
        ((PID, obr(), obx(CODE, "4"), "DSC|next|F"), "ORU^R01", "DSC[1]-1"),
    ],
)
def test_what_a_message_cannot_do_without(segments: tuple[str, ...], event: str, place: str) -> None:
    found = translated(*segments, event=event)
    assert found.bundle is None
    assert place in places(found, "E")


def test_messages_that_are_not_for_us_and_those_that_do_no_harm() -> None:
    for event, code in (("ADT^A03", "201"), ("SIU^S12", "200"), ("ORU^R99", "201")):
        found = translated(PID, event=event)
        assert (found.unsupported, found.bundle, found.faults[0].code) == (True, None, code)
    assert translated(PID, event="ADT^A11").bundle is None
    assert not translated(PID, event="ADT^A11").refused
    test = translate(
        read(message(PID, obr()).replace(b"|P|2.5.1", b"|T|2.5.1")), profile_of({"processing": ["P"]})
    )
    assert (test.unsupported, test.faults[0].place, test.faults[0].code) == (True, "MSH[1]-11.1", "202")
    for sent in (b"T", b"D", b"N", b"V", b"N^T"):
        told = message(PID, obr()).replace(b"|P|2.5.1", b"|%b|2.5.1" % sent)
        assert not translate(read(told), DEFAULT_PROFILE).unsupported


_LINE = st.builds(
    lambda name, rest: f"{name}|{'|'.join(rest)}",
    st.sampled_from("PID PD1 PV1 ORC OBR OBX OBX OBX NTE SPM TXA MRG TQ1 NK1 ZZZ".split()),
    st.lists(
        st.sampled_from(
            ["", '""', "^", "&", "~", "a", "1", "^^^", "a&b^c", "~~", "20260302", "F", "NM", "ED", "SN"]
        )
        | st.text(string.printable.replace("|", "").replace("\r", "").replace("\n", ""), max_size=6),
        max_size=34,
    ),
)


@given(st.lists(_LINE, max_size=8), st.sampled_from(sorted(EVENTS)))
def test_whatever_fields_hold_is_translated_or_refused(lines: list[str], event: tuple[str, str]) -> None:
    try:
        found = translate(read(message(PID, *lines, event="^".join(event))), DEFAULT_PROFILE)
    except Unreadable:
        return
    if found.bundle is not None:
        read_message(found.bundle, client="c", entries_max=1_000)
