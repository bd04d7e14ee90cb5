"""Acknowledgments: by mode, verdict and version, in the message's own delimiters and charset."""

from __future__ import annotations

from datetime import UTC, datetime

import hl7
import pytest

from ingest.hl7v2 import ack
from ingest.hl7v2.ack import Verdict
from ingest.hl7v2.faults import DATA_TYPE, REQUIRED, Fault
from ingest.hl7v2.reader import Header, Unreadable, read_header

AT = datetime(2026, 11, 29, 12, 30, 15, tzinfo=UTC)
FAULT = Fault("OBX", 3, 5, 2, DATA_TYPE, "a number is written with digits | and one point")
SEGMENT = Fault("PID", 1, 0, 0, REQUIRED, "the segment is missing")


def header(*, version: str = "2.5.1", modes: str = "|", rest: str = "", msh: str = "MSH|^~\\&") -> Header:
    sent = f"{msh}|LAB^1.2.3^ISO|HOSP|DOD|CITY|20261129||ORU^R01^ORU_R01|C&1|P|{version}|||{modes}{rest}"
    return read_header(f"{sent}\rPID|1\r".encode())


def segments(answer: bytes) -> list[list[str]]:
    text = answer.decode()
    assert text.endswith("\r")
    return [line.split("|") for line in text.split("\r")[:-1]]


@pytest.mark.parametrize(
    ("modes", "verdict", "codes", "both"),
    [
        ("|", Verdict.ACCEPT, ("AA",), ("AA",)),
        ("|", Verdict.ERROR, ("AE",), ("AE",)),
        ("|", Verdict.REJECT, ("AR",), ("AR",)),
        ("AL|NE", Verdict.ACCEPT, ("CA",), ("CA",)),
        ("AL|NE", Verdict.ERROR, ("CE",), ("CE",)),
        ("AL|", Verdict.REJECT, ("CR",), ("CR",)),
        ("NE|AL", Verdict.ACCEPT, ("AA",), ("AA",)),
        ("AL|AL", Verdict.ACCEPT, ("AA",), ("CA", "AA")),
        ("AL|ER", Verdict.ACCEPT, ("CA",), ("CA",)),
        ("AL|ER", Verdict.ERROR, ("AE",), ("CE", "AE")),
        ("AL|SU", Verdict.ERROR, ("CE",), ("CE",)),
        ("al|ne", Verdict.ACCEPT, ("CA",), ("CA",)),
        ("NE|NE", Verdict.ERROR, (), ()),
        ("ER|NE", Verdict.ACCEPT, (), ()),
        ("ER|NE", Verdict.ERROR, ("CE",), ("CE",)),
        ("SU|NE", Verdict.ACCEPT, ("CA",), ("CA",)),
        ("XX|", Verdict.ACCEPT, ("CA",), ("CA",)),
    ],
)
def test_a_message_is_answered_as_it_asks(
    modes: str, verdict: Verdict, codes: tuple[str, ...], both: tuple[str, ...]
) -> None:
    sent = header(modes=modes)
    assert ack.codes(sent, verdict) == codes
    assert ack.codes(sent, verdict, both=True) == both
    assert ack.codes(sent, verdict, always=True) == (codes or (f"A{verdict}",))


def test_what_has_no_header_is_answered_all_the_same() -> None:
    assert ack.codes(None, Verdict.REJECT) == ("AR",)
    msh, msa = segments(ack.build(None, "AR", (), at=AT, number="n"))
    assert msh[8] == "ACK"
    assert msh[11] == "2.5.1"
    assert msa == ["MSA", "AR"]


def test_the_answer_goes_back_to_the_sender_with_the_number_version_and_processing_of_the_message() -> None:
    msh, msa = segments(ack.build(header(rest="||8859/1"), "AA", (), at=AT, number="n-1"))
    assert msh[:6] == ["MSH", "^~\\&", "DOD", "CITY", "LAB^1.2.3^ISO", "HOSP"]
    assert msh[6:12] == ["20261129123015+0000", "", "ACK^R01^ACK", "n-1", "P", "2.5.1"]
    assert msh[17] == "8859/1"
    assert msa == ["MSA", "AA", "C&1"]  # As it was sent, not escaped.


@pytest.mark.parametrize(
    ("version", "type_", "msa", "errors"),
    [
        ("2.1", "ACK", 4, ["OBX^3^5^102&", "PID^1^^101&"]),
        ("2.2", "ACK", 4, ["OBX^3^5^102&", "PID^1^^101&"]),
        ("2.3", "ACK^R01", 4, ["OBX^3^5^102&", "PID^1^^101&"]),
        ("2.3.1", "ACK^R01^ACK", 4, ["OBX^3^5^102&", "PID^1^^101&"]),
        ("2.4", "ACK^R01^ACK", 4, ["OBX^3^5^102&", "PID^1^^101&"]),
        ("2.5.1", "ACK^R01^ACK", 4, None),
        ("2.8", "ACK^R01^ACK", 3, None),
        ("2.5.1^DEU", "ACK^R01^ACK", 4, None),
        ("", "ACK^R01^ACK", 4, None),
    ],
)
def test_faults_are_told_as_the_version_has_it(
    version: str, type_: str, msa: int, errors: list[str] | None
) -> None:
    told = segments(ack.build(header(version=version), "AE", (FAULT, SEGMENT), at=AT, number="n"))
    assert told[0][8] == type_
    assert len(told[1]) == msa
    if errors is not None:
        [err] = told[2:]
        assert [one.startswith(start) for one, start in zip(err[1].split("~"), errors, strict=True)] == [
            True
        ] * 2
        assert "digits \\F\\ and one point&HL70357" in err[1]
        return
    first, second = told[2:]
    assert first == [
        "ERR", "", "OBX^3^5^1^2", "102^Data type error^HL70357", "E", "", "", "",
        "a number is written with digits \\F\\ and one point",
    ]  # fmt: skip
    assert second[2:5] == ["PID^1", "101^Required field missing^HL70357", "E"]


def test_warnings_are_told_behind_errors_and_where_they_cannot_be_taken_for_them() -> None:
    warning = FAULT._replace(severity="W")
    told = segments(ack.build(header(), "AE", (warning, SEGMENT), at=AT, number="n"))
    assert [one[4] for one in told[2:]] == ["E", "W"]
    assert told[1][3] == "the segment is missing"
    told = segments(ack.build(header(), "AA", (warning,), at=AT, number="n"))
    assert told[2][4] == "W"
    assert len(segments(ack.build(header(version="2.3"), "AA", (warning,), at=AT, number="n"))) == 2


def test_other_delimiters_and_charsets_are_kept() -> None:
    sent = header(msh="MSH|$%?*", rest="||8859/1")
    answer = ack.build(sent, "AE", (FAULT,), at=AT, number="n")
    assert answer.startswith(b"MSH|$%?*|DOD|CITY|")
    assert b"|OBX$3$5$1$2|102$Data type error$HL70357|E|" in answer
    cut = ack.build(header(msh="MSH|^~\\&#"), "AA", (), at=AT, number="n")
    assert cut.startswith(b"MSH|^~\\&|DOD|")
    latin = read_header("MSH|^~\\&|Ä|B|C|D|||ORU^R01|1|P|2.5||||||8859/1\r".encode("latin-1"))
    assert b"|C|D|\xc4|B|" in ack.build(latin, "AA", (), at=AT, number="n")


@pytest.mark.parametrize(
    "msh",
    [
        "MSH|^~\\&",
        "MSH|^~\\&|||||||ORU",
        "MSH|^~\\&|A||||||ORU^R01||P|9.9.9.9",
        "MSH|^~\\&|A" + "x" * 100_000 + "||||||ORU^R01|" + "9" * 100_000 + "|P|2.5",
        "MSH|^~\\&|\x00\x0b\x1c||||||ORU^\x1c\x0b|1|P|2.5",
    ],
)
def test_an_odd_header_is_answered_by_a_sound_one(msh: str) -> None:
    try:
        sent: Header | None = read_header(msh.encode())
    except Unreadable as error:
        sent = error.header
    answer = ack.build(sent, "AE", (FAULT,) * 100, at=AT, number="n")
    assert len(answer) < 20_000
    assert not set(answer) & set(b"\x00\x0b\x1c\n")
    assert str(hl7.parse(answer.decode()).segment("MSA")[1]) == "AE"


def test_answers_to_a_batch_are_a_batch() -> None:
    one = ack.build(header(), "AA", (), at=AT, number="1")
    asked = b"FHS|^~\\&|A\rBHS|^~\\&|A|B|C|D|20261129||||B-7\rMSH|^~\\&|"
    lines = ack.batched([one, one], asked).split(b"\r")
    assert lines[0] == b"BHS|^~\\&||||||||||B-7"
    assert lines[-2:] == [b"BTS|2", b""]
    assert [line[:3] for line in lines[1:-2]] == [b"MSH", b"MSA"] * 2
    for bare in (b"MSH|^~\\&|", b"BHS", b"BHS\rMSH|^~\\&|"):
        assert ack.batched([one], bare).startswith(b"BHS|^~\\&\r")
