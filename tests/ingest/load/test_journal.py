"""Memory of a load: ranges, over a kill and a compaction, for one file, tenant and database."""

from __future__ import annotations

import errno
import os
import random
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from ingest.load.files import FileKind, Piece, Source
from ingest.load.journal import Journal, Spans
from store.errors import StartupError

SOURCE = Source(Path("/in/a.ndjson"), FileKind.NDJSON, 100, 7)
ONE: Counter[str] = Counter(created=1)


def piece(start: int, end: int, member: str = "") -> Piece:
    return Piece(SOURCE, member, 1, start, end, 0, b"{}")


@pytest.mark.parametrize("seed", range(20))
def test_ranges_in_any_order_merge_into_one(seed: int) -> None:
    rng = random.Random(seed)
    cuts = sorted({0, *rng.sample(range(1, 500), 60), 500})
    ranges = list(pairwise(cuts))
    rng.shuffle(ranges)
    spans, added = Spans(), set[int]()
    for start, end in ranges:
        spans.add(start, end)
        added |= set(range(start, end))
        assert {at for at in range(500) if spans.holds(at)} == added
    assert (spans.starts, spans.ends) == ([0], [500])
    spans.add(3, 4)
    assert (spans.starts, spans.ends) == ([0], [500])


def test_it_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "journal"
    journal = Journal.opened(path, secret=b"s")
    name = journal.name(SOURCE, "a/Production")
    for start, end in ((0, 10), (20, 30), (10, 20)):
        journal.add(name, piece(start, end), ONE)
    journal.add(name, piece(0, 5, "inner.json"), Counter(unchanged=1))
    journal.close()
    with path.open("ab") as torn:
        torn.write(b'["' + name.encode())
    for _ in range(2):
        journal = Journal.opened(path, secret=b"s")
        held = [at for at in range(0, 50, 5) if journal.holds(name, piece(at, at + 5))]
        assert held == [0, 5, 10, 15, 20, 25]
        assert journal.holds(name, piece(0, 5, "inner.json"))
        assert not journal.holds(name, piece(0, 5, "other.json"))
        assert journal.before(name) == Counter(created=3, unchanged=1)
        journal.close()
    assert len(path.read_bytes().splitlines()) == 2, "compacted"
    assert path.stat().st_mode & 0o077 == 0


def test_no_name_of_an_archives_member_is_in_it(tmp_path: Path) -> None:
    """Members may be named after patients. A journal of before, which has them in clear, is written anew."""
    path = tmp_path / "journal"
    journal = Journal.opened(path, secret=b"s")
    name, member = journal.name(SOURCE, "a/Production"), "Müßig_Annegret.json"
    journal.add(name, piece(0, 5, member), ONE)
    journal.add(name, piece(5, 9, member), ONE, whole=False)
    journal.close()
    assert b"Annegret" not in path.read_bytes()
    path.write_text(f'["{name}","Annegret.json",0,5,{{}}]\n["{name}","Annegret.json",5,9,{{}},"part"]\n')
    journal = Journal.opened(path, secret=b"s")
    assert journal.holds(name, piece(0, 5, "Annegret.json"))
    assert b"Annegret" not in path.read_bytes()
    journal.close()


def test_a_part_is_remembered_until_the_whole_is_there(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = Journal.opened(path, secret=b"s")
    name, body = journal.name(SOURCE, "a/Production"), piece(10, 20)
    journal.add(name, piece(0, 10), ONE)
    for counts in (Counter(created=2), Counter(created=3, unchanged=1)):
        journal.add(name, body, counts, whole=False)
    for _ in range(2):
        journal.close()
        journal = Journal.opened(path, secret=b"s")
        assert not journal.holds(name, body)
        assert journal.part(name, body) == Counter(created=3, unchanged=1)
        assert journal.before(name) == Counter(created=4, unchanged=1)
    journal.add(name, body, Counter(created=5))
    journal.close()
    journal = Journal.opened(path, secret=b"s")
    assert (journal.holds(name, body), journal.part(name, body)) == (True, Counter())
    assert journal.before(name) == Counter(created=6)
    journal.add(name, piece(20, 30), ONE, whole=False)
    journal.forget([name])
    assert journal.before(name) == Counter()
    journal.close()


def test_what_is_forgotten_is_forgotten_for_good(tmp_path: Path) -> None:
    journal = Journal.opened(tmp_path / "journal", secret=b"s")
    names = [journal.name(SOURCE._replace(size=n), "a/Production") for n in range(3)]
    for name in names:
        journal.add(name, piece(0, 10), ONE)
    journal.forget(names[:2])
    journal.add(names[0], piece(10, 20), ONE)
    journal.close()
    journal = Journal.opened(tmp_path / "journal", secret=b"s")
    assert [journal.holds(name, piece(0, 10)) for name in names] == [False, False, True]
    assert journal.holds(names[0], piece(10, 20))
    journal.close()


def test_a_file_has_another_name_when_anything_of_it_differs(tmp_path: Path) -> None:
    journal, other = (Journal.opened(tmp_path / f"{s}", secret=s.encode()) for s in "st")
    same = journal.name(SOURCE, "a/Production")
    assert journal.name(SOURCE, "a/Production") == same
    changed = [SOURCE._replace(size=1), SOURCE._replace(changed=1), SOURCE._replace(path=Path("/b"))]
    names = {
        same,
        journal.name(SOURCE, "a/Staging"),
        other.name(SOURCE, "a/Production"),
        *(journal.name(one, "a/Production") for one in changed),
    }
    assert len(names) == 6
    journal.close()
    other.close()


@pytest.mark.parametrize("content", [b"hello\n", b"[1]\n", b'{"a":1}\n', b'["a","b","c","d",{}]\n'])
def test_what_is_no_journal_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(StartupError, match="is not a journal: line 1"):
        Journal.opened(path, secret=b"s")
    assert path.read_bytes() == content


def test_two_loads_do_not_share_one(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = Journal.opened(path, secret=b"s")
    journal.forget(())  # Writes it anew: the lock goes with it.
    with pytest.raises(StartupError, match="Another `dod load`"):
        Journal.opened(path, secret=b"s")
    journal.close()
    Journal.opened(path, secret=b"s").close()
    with pytest.raises(StartupError, match="cannot be written"):
        Journal.opened(tmp_path, secret=b"s")


def test_a_full_disk_leaves_no_half_line_and_what_was_noted_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal"
    journal = Journal.opened(path, secret=b"s")
    name = journal.name(SOURCE, "a/Production")
    journal.add(name, piece(0, 10), ONE)
    write = os.write

    def half(file: int, line: bytes) -> int:
        return write(file, line[: len(line) // 2])

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    for failing in (half, full):
        with monkeypatch.context() as patched:
            patched.setattr(os, "write", failing)
            with pytest.raises(StartupError, match="No space left on device"):
                journal.add(name, piece(10, 20), ONE)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(StartupError, match="No space left on device"):
            journal.compact()
    assert [one.name for one in tmp_path.iterdir()] == ["journal"]
    journal.add(name, piece(20, 30), ONE)
    journal.close()
    journal = Journal.opened(path, secret=b"s")
    assert [at for at in (0, 10, 20) if journal.holds(name, piece(at, at + 10))] == [0, 20]
    journal.close()
