"""HL7 v2 in files: messages found however they are written, and the order of a patient's messages."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.load import message_chunks
from ingest.load.files import Bounds, Piece, pieces, sources
from ingest.load.hl7v2 import claims_of
from ingest.load.message_chunks import chunks
from ingest.load.write_sets import differ
from tests.support.mllp import oru

ONE, TWO = oru("M-1"), oru("M-2", patient="P-2")


def found(content: bytes, largest: int = 10_000) -> list[bytes]:
    told = list(chunks(io.BytesIO(content), largest))
    assert all(content[one.start : one.end].startswith(one.body) for one in told)
    for one in told:
        before = content[: one.start].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        assert one.line == before.count(b"\n") + 1
    return [one.body for one in told]


@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n"])
@pytest.mark.parametrize("read_bytes", [1, 7, 1_000_000])
def test_messages_are_found_whatever_the_line_ends_and_pieces(
    end: bytes, read_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(message_chunks, "READ_BYTES", read_bytes)
    one, two = (message.replace(b"\r", end) for message in (ONE, TWO))
    assert found(one) == [one]
    assert found(one + two) == [one, two]
    assert found(b"FHS|^~\\&" + end + b"BHS|^~\\&" + end + one + two + b"BTS|2" + end) == [
        b"FHS|^~\\&" + end + b"BHS|^~\\&" + end,
        one,
        two + b"BTS|2" + end,
    ]
    framed = b"".join(b"\x0b" + message + b"\x1c\r" for message in (one, two))
    assert [part.strip(b"\x0b\x1c\r\n") for part in found(framed)] == [one.strip(), two.strip()]
    assert found(b"") == []


@given(
    st.lists(st.sampled_from([ONE, TWO, oru("M-3", value="MSH in a text")]), max_size=6), st.integers(1, 200)
)
def test_nothing_of_a_file_is_lost(messages: list[bytes], read_bytes: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(message_chunks, "READ_BYTES", read_bytes)
        assert found(b"".join(messages)) == messages


def taken(path: Path, largest: int = 10_000) -> list[Piece]:
    [source] = sources([path], skipped=lambda _: None)
    return list(pieces(source, Bounds(largest, 1_000_000)))


def test_a_message_too_large_is_told_and_the_next_one_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "feed.hl7"
    file.write_bytes(ONE + oru("M-9") + b"NTE|1||" + b"x" * 5_000 + b"\r" + TWO)
    first, large, last = taken(file, largest=1_000)
    assert (first.body, last.body) == (ONE, TWO)
    assert large.body is None
    assert "is larger than the 1,000 bytes" in large.fault
    assert (first.line, large.line, last.line) == (1, 5, 10)


def test_a_compressed_file_is_read_like_any_other(tmp_path: Path) -> None:
    file = tmp_path / "feed.hl7.gz"
    file.write_bytes(gzip.compress(ONE + TWO))
    assert [one.body for one in taken(file)] == [ONE, TWO]


@pytest.mark.parametrize(
    ("one", "other", "keeps_order"),
    [
        (ONE, oru("M-3", value="6"), True),
        (ONE, ONE, False),
        (ONE, TWO, False),
        (ONE, b"MSH|^~\\&|A\rPID|1||P-2^^^HOSP^MR~P-1^^^HOSP^MR\r", True),
        (ONE, b"MSH|^~\\&|A\rPID|1||P-2^^^HOSP^MR\rMRG|P-1^^^HOSP^MR\r", True),
        (b"MSH|^~\\&|A\r", b"MSH|^~\\&|B\r", True),
    ],
)
def test_messages_about_one_patient_keep_their_order(one: bytes, other: bytes, keeps_order: bool) -> None:
    assert differ(claims_of(one), claims_of(other)) is keeps_order
