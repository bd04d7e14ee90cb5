"""Refusals of `dod load` and where they are told, a dry run, a backfill, misuse."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from store.mongo.indexes import RESOURCES
from tests.api.commands.files.loading import SECRET, bundle, lines, put_down, stored
from tests.support.fhir import batch, message, patient, refers, report
from tests.support.store import LAB

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from store.mongo.driver.client import Database
    from tests.api.commands.files.loading import Result

    Dod = Callable[..., Awaitable[Result]]


async def test_refusals_are_told_with_their_place_and_no_value(
    dod: Dod, database: Database, tmp_path: Path
) -> None:
    wrong = report("x", status=SECRET)
    folder = put_down(
        tmp_path / "in",
        a__ndjson=lines(report("a1"), wrong, report("a2")) + f'{{"{SECRET}":'.encode(),
        b__json=bundle("collection", {"resource": wrong}, {"resource": report("b1")}, {}),
        c__json=batch(("PUT", "DiagnosticReport/x", wrong), ("PUT", "DiagnosticReport/c1", report("c1"))),
        d__json=bundle("batch-response"),
        e__json=message(wrong),
        f__zip=b"no zip",
    )
    file = tmp_path / "report.jsonl"
    result = await dod(folder, "--report", file)
    assert result.code == 1
    told = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    places = sorted((Path(one["file"]).name, one.get("line", 0), one.get("entry", -1)) for one in told)
    assert places == [
        ("a.ndjson", 2, -1),
        ("a.ndjson", 4, -1),
        ("b.json", 0, 0),
        ("b.json", 0, 2),
        ("c.json", 0, 0),
        ("d.json", 0, -1),
        ("e.json", 0, -1),
        ("f.zip", 0, -1),
    ]
    assert {Path(one["file"]).parent for one in told} == {folder}
    assert "6 files, 6 of them with refusals" in result.out
    assert all(issue["code"] and issue["text"] for one in told for issue in one["issues"])
    assert result.table["all"] == ["4", "0", "8"]
    assert len(result.err.splitlines()) == 8
    assert SECRET not in result.err + result.out + file.read_text(encoding="utf-8")
    assert sorted(await stored(database)) == [f"DiagnosticReport/{one}" for one in ("a1", "a2", "b1", "c1")]
    # Refused entries are tried again, together with the others of their body: those stay stored.
    for _ in range(2):
        assert (await dod(folder)).table["all"] == ["4", "0", "8"]
    c = batch(("PUT", "DiagnosticReport/x", report("x")), ("PUT", "DiagnosticReport/c1", report("c1")))
    stat = (folder / "c.json").stat()
    mended = json.dumps(c).encode().ljust(stat.st_size)
    (folder / "c.json").write_bytes(mended)
    os.utime(folder / "c.json", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    for _ in range(2):
        assert (await dod(folder)).table["all"] == ["5", "0", "7"]


async def test_many_refusals_are_summed_up_by_file(dod: Dod, database: Database, tmp_path: Path) -> None:
    wrong = [report(f"x{n}", status="no") for n in range(30)]
    folder = put_down(tmp_path / "in", a__ndjson=lines(*wrong[:25]), b__ndjson=lines(*wrong[25:]))
    result = await dod(folder)
    assert result.err.splitlines()[20:] == [
        "… and 10 more; `--report FILE` lists all",
        f"25 refused in {folder}/a.ndjson",
        f"5 refused in {folder}/b.ndjson",
    ]


async def test_our_own_absolute_url_needs_the_base(dod: Dod, database: Database, tmp_path: Path) -> None:
    absolute = report("a", None, subject=refers(f"https://dod.example/fhir/R4/{LAB}/Patient/p1"))
    folder = put_down(tmp_path / "in", a__json=absolute)
    result = await dod(folder)
    assert (result.code, result.table["all"]) == (1, ["0", "0", "1"])
    assert "--base-url" in result.err
    assert (await dod(folder, "--base-url", "https://dod.example")).code == 0
    found = await database[RESOURCES].find_one({"id": "a"})
    assert found is not None
    assert found["index"]["patient"] == ["Patient/p1"]


async def test_entries_under_our_own_base_are_created_once(
    dod: Dod, database: Database, tmp_path: Path
) -> None:
    base = f"https://dod.example/fhir/R4/{LAB}"
    sent = batch(("POST", f"{base}/Patient", patient("x")), ("PUT", f"{base}/Patient/p2", patient("p2")))
    folder = put_down(tmp_path / "in", a__json=sent, b__json={**sent, "type": "transaction"})
    for row in (["3", "1", "0"], ["0", "4", "0"]):
        result = await dod(folder, "--fresh", "--base-url", "https://dod.example", "--concurrency", "1")
        assert (result.code, result.table["all"]) == (0, row)
    there = await stored(database)
    assert set(there.values()) == {1}
    assert len(there) == 3


async def test_a_dry_run_stores_nothing(dod: Dod, database: Database, tmp_path: Path) -> None:
    folder = put_down(
        tmp_path / "in",
        a__ndjson=lines(report("a"), report("x", status="no")),
        b__json=message(report("b", None)),
    )
    result = await dod(folder, "--dry-run")
    assert (result.code, result.table["all"]) == (1, ["3", "0", "1"])
    assert await stored(database) == {}
    assert (await dod(folder)).table["all"] == ["3", "0", "1"], "nothing was noted as stored"


async def test_a_backfill_stores_the_same(
    dod: Dod, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "nice", lambda _: 0)
    folder = put_down(tmp_path / "in", a__ndjson=lines(*(report(f"r{n}") for n in range(50))))
    result = await dod(folder, "--mode", "backfill", "--concurrency", "3")
    assert (result.code, result.table["all"]) == (0, ["50", "0", "0"])
    assert set((await stored(database)).values()) == {1}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere.json",), "nowhere.json"),
        ((".", "--concurrency", "0"), "--concurrency"),
        ((".", "--mode", "fast"), "--mode"),
        ((), "path"),
    ],
)
async def test_misuse_is_2(dod: Dod, arguments: tuple[str, ...], said: str) -> None:
    result = await dod(*arguments)
    assert (result.code, result.out) == (2, "")
    assert said in result.err.lower()
