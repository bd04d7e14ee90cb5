"""Content codings taken off: whole or refused, and never more at once than was asked for."""

from __future__ import annotations

import gzip
import zlib
from importlib import import_module
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.http.inflate import CODINGS, MEMBERS_MAX, BrokenError, Inflater

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def _raw(data: bytes) -> bytes:
    made = zlib.compressobj(wbits=-15)
    return made.compress(data) + made.flush()


CODED: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("x-gzip", gzip.compress),
    "deflate": ("deflate", zlib.compress),
    "bare deflate": ("deflate", _raw),
}
if "zstd" in CODINGS:
    CODED["zstd"] = "zstd", import_module("backports.zstd").compress
if "br" in CODINGS:
    CODED["br"] = "br", import_module("brotli").compress
ways = pytest.mark.parametrize("way", CODED)


def _rounded(coding: str, most: int) -> int:
    return max(most, 32_768) if coding == "br" else most


def inflated(coding: str, chunks: Iterable[bytes], *, most: int = 1_000) -> bytes:
    inflater, done = Inflater(coding), b""
    for chunk in chunks:
        inflater.give(chunk)
        while inflater.has_more:
            piece = inflater.take(most)
            assert len(piece) <= _rounded(coding, most)
            done += piece
    inflater.end()
    return done


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@ways
@given(data=st.binary(max_size=5_000), size=st.integers(1, 200), most=st.integers(1, 2_000))
def test_whatever_was_coded_comes_back_in_pieces_of_any_size(
    way: str, data: bytes, size: int, most: int
) -> None:
    coding, compress = CODED[way]
    assert inflated(coding, cut(compress(data), size), most=most) == data


@ways
def test_a_stream_that_is_cut_anywhere_is_refused(way: str) -> None:
    coding, compress = CODED[way]
    whole = compress(b"made-up " * 500 + bytes(range(256)))
    for end in range(len(whole)):
        with pytest.raises(BrokenError):
            inflated(coding, [whole[:end]])


@ways
@pytest.mark.parametrize("behind", [b"garbage", b"\0"])
def test_something_behind_the_end_is_refused(way: str, behind: bytes) -> None:
    coding, compress = CODED[way]
    with pytest.raises(BrokenError):
        inflated(coding, [compress(b"made up") + behind])
    with pytest.raises(BrokenError):
        inflated(coding, [compress(b"made up"), behind])


@ways
def test_what_is_damaged_or_of_another_coding_is_refused(way: str) -> None:
    coding, compress = CODED[way]
    whole = bytearray(compress(b"made-up words, and more of them" * 20))
    for wrong in (b"no such stream", b"{}", b"", bytes(whole[:10]) + b"\xff\xfe" * 9 + bytes(whole[28:])):
        with pytest.raises(BrokenError):
            inflated(coding, [wrong] if wrong else [])


def test_gzip_may_have_several_members() -> None:
    members = [gzip.compress(one) for one in (b"one, ", b"", b"two")]
    assert inflated("gzip", members) == inflated("gzip", [b"".join(members)]) == b"one, two"
    with pytest.raises(BrokenError):
        inflated("deflate", [zlib.compress(b"one, ") + zlib.compress(b"two")])


def test_members_without_end_end_early() -> None:
    with pytest.raises(BrokenError):
        inflated("gzip", [gzip.compress(b"") * (MEMBERS_MAX + 1)])


@ways
def test_a_bomb_gives_no_more_than_was_asked_for(way: str) -> None:
    coding, compress = CODED[way]
    inflater = Inflater(coding)
    inflater.give(compress(bytes(20_000_000)))
    for _ in range(5):
        assert 0 < len(inflater.take(4_096)) <= _rounded(coding, 4_096)
    assert inflater.has_more


@pytest.mark.skipif("zstd" not in CODINGS, reason="no zstd")
@pytest.mark.parametrize(("window_log", "is_taken"), [(23, True), (24, False)])
def test_a_window_of_zstd_is_bounded(window_log: int, is_taken: bool) -> None:
    """Each stream keeps as much of its output: forty megabytes of zeros are a kilobyte."""
    library = import_module("backports.zstd")
    data = bytes(20_000_000)
    made = library.ZstdCompressor(options={library.CompressionParameter.window_log: window_log})
    coded = made.compress(data) + made.flush()
    if is_taken:
        assert inflated("zstd", [coded], most=1_000_000) == data
    else:
        with pytest.raises(BrokenError):
            inflated("zstd", [coded])
