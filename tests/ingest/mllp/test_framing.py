"""Frames in bytes however they come: cut anywhere, joined, without an end, too long, with garbage between."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.mllp.framing import STARTS_MAX, STRAY_BYTES, Frame, Framing, Half, Stray, TooLong, framed

if TYPE_CHECKING:
    from ingest.mllp.framing import Event

ONE = b"MSH|^~\\&|LAB|A\rPID|1\r"
TWO = b"MSH|^~\\&|LAB|B\rOBX|1\r"
LIMIT = 1_000


def heard(*pieces: bytes, limit: int = LIMIT) -> list[Event]:
    framing = Framing(limit)
    return [event for piece in pieces for event in framing.receive(piece)] + framing.end()


@pytest.mark.parametrize(
    ("sent", "events"),
    [
        pytest.param(framed(ONE), [Frame(ONE)], id="one frame"),
        pytest.param(framed(ONE) + framed(TWO), [Frame(ONE), Frame(TWO)], id="joined"),
        pytest.param(
            b"\r\n" + framed(ONE) + b"\r\n" + framed(TWO), [Frame(ONE), Frame(TWO)], id="line ends between"
        ),
        pytest.param(b"\x0b" + ONE + b"\x1c\n", [Frame(ONE)], id="line feed behind the end block"),
        pytest.param(
            b"\x0b" + ONE + b"\x1c" + framed(TWO), [Frame(ONE), Frame(TWO)], id="no carriage return between"
        ),
        pytest.param(b"\x0b" + ONE + b"\x1c", [Frame(ONE)], id="no carriage return at all"),
        pytest.param(b"\x0b" + ONE + framed(TWO), [Half(len(ONE)), Frame(TWO)], id="no end block"),
        pytest.param(b"\x0b" + ONE, [Half(len(ONE))], id="cut"),
        pytest.param(b"\x0b\x0b" + ONE + b"\x1c\r", [Frame(ONE)], id="two start blocks"),
        pytest.param(b"\x0b" + ONE + b"\x1c\x1c\r", [Frame(ONE + b"\x1c")], id="two end blocks"),
        pytest.param(b"\x0bMSH|a\x1cb\r\x1c\r", [Frame(b"MSH|a\x1cb\r")], id="an end block in a text"),
        pytest.param(b"\x0bMSH|a\x0bb\r\x1c\r", [Frame(b"MSH|a\x0bb\r")], id="a start block in a text"),
        pytest.param(b"\x0b\x1c\r" + framed(ONE), [Frame(ONE)], id="an empty frame"),
        pytest.param(
            b"GET / HTTP/1.1\r\n\r\n", [Stray(b"GET / HTTP/1.1\r\n\r\n", 18)], id="another protocol"
        ),
        pytest.param(b"noise" + framed(ONE), [Stray(b"noise", 5), Frame(ONE)], id="garbage before"),
        pytest.param(framed(ONE) + ONE, [Frame(ONE), Stray(ONE, len(ONE))], id="a message without a frame"),
        pytest.param(b"x" * 1_000, [Stray(b"x" * STRAY_BYTES, 1_000)], id="much garbage"),
        pytest.param(framed(b"M" * LIMIT), [Frame(b"M" * LIMIT)], id="as long as may be"),
        pytest.param(
            framed(b"M" * (LIMIT + 1)) + framed(ONE),
            [TooLong(b"M" * (LIMIT + 1), LIMIT + 1), Frame(ONE)],
            id="too long",
        ),
        pytest.param(b"", [], id="nothing"),
    ],
)
def test_events_are_the_same_wherever_the_bytes_are_split(sent: bytes, events: list[Event]) -> None:
    whole = heard(sent)
    assert [one for one in whole if not isinstance(one, TooLong)] == [
        one for one in events if not isinstance(one, TooLong)
    ]
    assert [one.size for one in whole if isinstance(one, TooLong)] == [
        one.size for one in events if isinstance(one, TooLong)
    ]
    sizes = [[type(one), getattr(one, "size", one)] for one in whole]
    for cut in range(1, len(sent)):
        assert [[type(one), getattr(one, "size", one)] for one in heard(sent[:cut], sent[cut:])] == sizes, cut
    bytewise = heard(*(sent[n : n + 1] for n in range(len(sent))))
    assert [[type(one), getattr(one, "size", one)] for one in bytewise] == sizes


bodies = st.binary(min_size=1, max_size=60).map(
    lambda body: b"MSH|" + body.replace(b"\x1c", b"").replace(b"\x0b", b"").replace(b"\x00", b"")
)


@given(st.lists(bodies, max_size=5), st.lists(st.integers(1, 40), max_size=40))
def test_every_frame_comes_out_as_it_went_in(messages: list[bytes], cuts: list[int]) -> None:
    sent = b"".join(map(framed, messages))
    pieces, at = [], 0
    for cut in cuts:
        pieces.append(sent[at : at + cut])
        at += cut
    assert heard(*pieces, sent[at:]) == [Frame(one) for one in messages]


@given(st.binary(max_size=300), st.integers(1, 50))
def test_no_bytes_break_it_and_none_stay(noise: bytes, size: int) -> None:
    framing = Framing(100)
    for at in range(0, len(noise), size):
        framing.receive(noise[at : at + size])
        assert framing.held <= 100 + size + STRAY_BYTES + 1
    framing.end()
    assert framing.is_idle
    assert framing.held == 0
    assert framing.receive(framed(ONE[:50])) == [Frame(ONE[:50])]


def test_a_frame_too_long_is_passed_without_being_kept() -> None:
    framing = Framing(LIMIT)
    framing.receive(b"\x0bMSH|")
    for _ in range(1_000):
        assert framing.receive(b"x" * 10_000) == []
        assert framing.held <= 65_536 + 10_000 + LIMIT
    [event] = framing.receive(b"\x1c\r")
    assert isinstance(event, TooLong)
    assert event.size == 10_000_004
    assert event.head.startswith(b"MSH|xxx")


def test_an_end_block_alone_ends_the_frame_once_nothing_follows() -> None:
    framing = Framing(LIMIT)
    assert framing.receive(b"\x0b" + ONE + b"\x1c") == []
    assert framing.is_ending
    assert framing.settle() == [Frame(ONE)]
    assert framing.receive(b"\r") == []
    assert not framing.strays


@given(st.lists(st.sampled_from([b"\x0b", b"\x1c", b"\r", b"\n", b" ", b"x", b"MSH|"]), max_size=24))
def test_bytes_of_all_that_means_something_are_the_same_at_once_and_one_by_one(parts: list[bytes]) -> None:
    sent = b"".join(parts)
    assert sized(heard(sent)) == sized(heard(*(sent[n : n + 1] for n in range(len(sent)))))


def sized(events: list[Event]) -> list[tuple[type, Any]]:
    return [(type(one), getattr(one, "size", one)) for one in events]


def test_frames_without_a_message_are_passed_over_at_once_and_counted() -> None:
    framing = Framing(LIMIT)
    blank = b"\x0b\x1c\r" + b"\r\n\x0b\x0b \r\x1c\x1c\n" + b"\x0b\x1c" + b"\x0b \x1c\r"
    assert framing.receive(blank * 100 + framed(ONE)) == [Frame(ONE)]
    assert framing.blanks == 400


def test_many_frames_without_an_end_are_told_as_one() -> None:
    restarts = b"\x0b" + b"MSH|a\r\x0b" * 50_000
    assert heard(restarts + ONE + b"\x1c\r", limit=1_000_000) == [Half(50_000 * 7 - 1), Frame(ONE)]


def test_a_frame_of_many_start_blocks_is_no_message() -> None:
    """Nobody looks for ever for another message that may begin in it: two patients would be one."""
    text = b"MSH|" + b"\x0b" * (STARTS_MAX - 1)
    assert heard(framed(text), limit=2 * STARTS_MAX) == [Frame(text)]
    assert heard(framed(text + b"\x0b"), limit=2 * STARTS_MAX) == [Half(len(text) + 1)]
