"""Files taken apart: what is a body, where it lies, and what an archive may cost."""

from __future__ import annotations

import errno
import gzip
import io
import os
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ingest.load.files import Bounds, Piece, pieces, sources

BOUNDS = Bounds(body_bytes=100, expanded_bytes=10_000)
ONE = b'{"a":1}'
LINES = b'{"a":1}\n\n  \n{"b":2}\r\n{"c":3}'


def zipped(**members: bytes) -> bytes:
    """Members; two underscores are a dot."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "."), content)
    return out.getvalue()


def taken(path: Path, bounds: Bounds = BOUNDS) -> list[Piece]:
    [source] = sources([path], skipped=lambda _: None)
    return list(pieces(source, bounds))


def bodies(found: list[Piece]) -> list[tuple[str, int, bytes]]:
    return [(one.member, one.line, (one.body or b"").strip()) for one in found]


THREE = [("", 1, b'{"a":1}'), ("", 4, b'{"b":2}'), ("", 5, b'{"c":3}')]


def name_of(value: object) -> str:
    return value if isinstance(value, str) else ""


PRETTY = b'{\n "a": 1\n}\n'


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("one.json", ONE, [("", 0, ONE)]),
        ("one.JSON", PRETTY, [("", 0, PRETTY.strip())]),
        ("one", ONE, [("", 0, ONE)]),
        ("many.ndjson", LINES, THREE),
        ("many.jsonl", LINES, THREE),
        ("many.ndjson.gz", gzip.compress(LINES), THREE),
        ("one.json.gz", gzip.compress(PRETTY), [("", 0, PRETTY.strip())]),
        ("unsaid.gz", gzip.compress(LINES), THREE),
        ("unsaid-pretty.gz", gzip.compress(PRETTY), [("", 0, PRETTY.strip())]),
        (
            "twice.ndjson.gz",
            gzip.compress(b'{"a":1}\n') + gzip.compress(b'{"b":2}'),
            [*THREE[:1], ("", 2, b'{"b":2}')],
        ),
        ("empty.ndjson", b"", []),
        ("empty.zip", zipped(), []),
        (
            "folder.zip",
            zipped(**{"folder/": b"", "folder/.hidden": b"", "folder/a__json": ONE}),
            [("folder/a.json", 0, ONE)],
        ),
        (
            "some.zip",
            zipped(b__json=ONE, a__ndjson=LINES, c__json__gz=gzip.compress(ONE)),
            [("b.json", 0, ONE), *(("a.ndjson", n, b) for _, n, b in THREE), ("c.json.gz", 0, ONE)],
        ),
    ],
    ids=name_of,
)
def test_bodies(tmp_path: Path, name: str, content: bytes, expected: list[tuple[str, int, bytes]]) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    found = taken(path)
    assert bodies(found) == expected
    assert not any(one.fault for one in found)
    assert all(
        before.end <= after.start for before, after in pairwise(found) if before.member == after.member
    )
    assert all(one.start < one.end and one.read <= path.stat().st_size for one in found)


@pytest.mark.parametrize(
    ("name", "content", "faults"),
    [
        ("large.json", b"x" * 101, ["larger"]),
        ("large.ndjson", b"x" * 101 + b"\n" + ONE, ["larger", ""]),
        ("larger.ndjson", b"x" * 350 + b"\n" + ONE, ["larger", ""]),
        ("large-end.ndjson", ONE + b"\n" + b"x" * 350, ["", "larger"]),
        ("bomb.ndjson.gz", gzip.compress((ONE + b"\n") * 100_000), [*[""] * 1250, "expands"]),
        ("bomb.json.gz", gzip.compress(b" " * 1_000_000), ["larger"]),
        ("bomb.zip", zipped(a__ndjson=b" " * 9_990, b__json=b"1" * 50, c__json=ONE), ["larger", "expands"]),
        ("line-bomb.ndjson.gz", gzip.compress(b"x" * 1_000_000), ["larger"]),
        ("torn.json.gz", gzip.compress(ONE)[:-9], ["damaged"]),
        ("not.json.gz", ONE, ["cannot be read"]),
        ("not.zip", ONE, ["damaged"]),
        (
            "odd.zip",
            zipped(a__txt=ONE, b__zip=zipped(a__json=ONE), c__json=ONE),
            ["by its name", "zip within", ""],
        ),
    ],
    ids=name_of,
)
def test_faults(tmp_path: Path, name: str, content: bytes, faults: list[str]) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    found = taken(path)
    assert len(found) == len(faults)
    for one, fault in zip(found, faults, strict=True):
        assert (fault in one.fault) if fault else not one.fault, one
        assert (one.body is None) is bool(one.fault)


def test_folders_are_taken_in_order_and_what_is_nothing_of_ours_is_passed_over(tmp_path: Path) -> None:
    names = ["b.json", "a/2.ndjson", "a/10.json", "a/.hidden.json", ".git/x.json", "readme.txt", "c.ZIP"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    skipped: list[Path] = []
    found = [str(one.path.relative_to(tmp_path)) for one in sources([tmp_path], skipped=skipped.append)]
    assert found == ["a/10.json", "a/2.ndjson", "b.json", "c.ZIP"]
    assert skipped == [tmp_path / "readme.txt"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name_are_two(tmp_path: Path) -> None:
    """In the journal they would be one, and the second one pass for stored."""
    path = tmp_path / "in.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for content in (ONE, b'{"b":2}'):
            archive.writestr("a.json", content)
    assert bodies(taken(path)) == [("a.json", 0, ONE), ("a.json (2)", 0, b'{"b":2}')]


def test_a_folder_that_cannot_be_read_is_no_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a/1.json", "b/2.json", "3.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(ONE)
    skipped: list[Path] = []
    assert [one.path.name for one in sources([tmp_path], skipped=skipped.append)] == [
        "3.json",
        "1.json",
        "2.json",
    ]
    scan = os.scandir

    def closed(path: Any) -> Any:
        if str(path).endswith("/b"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(PermissionError):
        list(sources([tmp_path], skipped=skipped.append))
