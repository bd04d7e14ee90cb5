"""`dod load`: every kind of file and Bundle, what it says, and going on after a kill."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from api.cli import main as cli
from store.mongo.access import MongoAccess
from store.mongo.indexes import HISTORY, RESOURCES
from store.settings import StoreSettings
from store.tenancy import TenantSettings
from tests.support.fhir import MRN, batch, identified, message, patient, refers, report, resource
from tests.support.mllp import oru
from tests.support.store import LAB, metrics

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from store.mongo.driver.client import Database

    Dod = Callable[..., Awaitable["Result"]]

Json = dict[str, Any]
ROOT = Path(__file__).resolve().parents[4]
SECRET = "sentinel-7391"


class Result(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def table(self) -> dict[str, list[str]]:
        """Numbers of resources by the kind of file."""
        return {kind: numbers for kind, _, *numbers in self._rows}

    @property
    def files(self) -> dict[str, str]:
        """Numbers of files by their kind."""
        return {kind: number for kind, number, *_ in self._rows}

    @property
    def _rows(self) -> list[list[str]]:
        return [line.split() for line in self.out.splitlines() if "  " in line]


@pytest.fixture
async def dod(
    mongodb: str,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Dod:
    monkeypatch.setenv("DOD_MONGODB_URI", mongodb)
    monkeypatch.setenv("DOD_MONGODB_DATABASE", database.name)
    monkeypatch.setenv("DOD_DATA_DIR", str(tmp_path / "dod"))
    access = MongoAccess(database, settings=StoreSettings(), metrics=metrics())
    await access.put_tenant(TenantSettings(LAB))

    def run(arguments: Iterable[str]) -> int:
        monkeypatch.setattr(sys, "argv", ["dod", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0)

    async def load(*arguments: str | Path) -> Result:
        capsys.readouterr()
        words = ["load", *map(str, arguments), "--tenant", str(LAB)]
        code = await asyncio.to_thread(run, words)
        return Result(code, *capsys.readouterr())

    return load


def lines(*resources: Json) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in resources)


def bundle(type: str, *entries: Json, **elements: Any) -> Json:
    return {"resourceType": "Bundle", "type": type, **elements, "entry": list(entries)}


def put_down(folder: Path, **files: Any) -> Path:
    """Files named `name__suffix`."""
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        (folder / name.replace("__", ".")).write_bytes(data)
    return folder


async def stored(database: Database) -> dict[str, int]:
    """Version of each current resource, by `Type/id`."""
    found = await database[RESOURCES].find({}, {"type": 1, "id": 1, "version": 1}).to_list(None)
    return {f"{one['type']}/{one['id']}": one["version"] for one in found}


async def raw(database: Database, key: str) -> Json:
    found = await database[RESOURCES].find_one({"_id": f"{LAB}/{key}"})
    assert found is not None
    return dict(json.loads(found["raw"]))


async def test_every_kind_of_file_and_again(dod: Dod, database: Database, tmp_path: Path) -> None:
    folder = put_down(
        tmp_path / "in",
        one__json=json.dumps(report("one"), indent=1).encode(),
        many__ndjson=lines(report("n1"), report("n2"), patient()),
        many__ndjson__gz=gzip.compress(lines(report("g1"), report("g2"))),
        ignored__txt=b"",
    )
    with zipfile.ZipFile(folder / "some.zip", "w") as archive:
        archive.writestr("inner/a.ndjson", lines(report("z1"), report("z2")))
        archive.writestr("b.json", json.dumps(report("z3")))
    first = await dod(folder)
    assert (first.code, first.err) == (0, "")
    assert first.table == {
        "KIND": ["STORED", "UNCHANGED", "REFUSED"],
        "gz": ["2", "0", "0"],
        "json": ["1", "0", "0"],
        "ndjson": ["3", "0", "0"],
        "zip": ["3", "0", "0"],
        "all": ["9", "0", "0"],
    }
    assert first.files == {"KIND": "FILES", "gz": "1", "json": "1", "ndjson": "1", "zip": "1", "all": "4"}
    assert "4 files, 0 of them with refusals; 1 others passed over; 9 resources in " in first.out
    assert " s, " in first.out
    assert " a second" in first.out
    there = await stored(database)
    assert sorted(there) == sorted(
        [*(f"DiagnosticReport/{n}" for n in "one n1 n2 g1 g2 z1 z2 z3".split()), "Patient/p1"]
    )
    again = await dod(folder)
    assert (again.code, again.table) == (0, first.table)
    assert "9 resources loaded by earlier runs" in again.out
    fresh = await dod(folder, "--fresh")
    assert (fresh.code, fresh.table["all"]) == (0, ["0", "9", "0"])
    (folder / "one.json").write_bytes(json.dumps(report("one", status="amended")).encode())
    changed = await dod(folder)
    assert changed.table["json"] == ["1", "0", "0"]
    assert await stored(database) == {**there, "DiagnosticReport/one": 2}


async def test_bundles_of_every_type(dod: Dod, database: Database, tmp_path: Path) -> None:
    urn = "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0"
    folder = put_down(
        tmp_path / "in",
        document__json=bundle(
            "document",
            {"fullUrl": urn, "resource": {"resourceType": "Patient", "active": True}},
            {
                "fullUrl": "http://lab.example/DiagnosticReport/d1",
                "resource": report("d1", None, subject=refers(urn)),
            },
        ),
        collection__json=bundle("collection", {"resource": report("c1")}, {"resource": report("c2")}),
        searchset__json=bundle(
            "searchset",
            {"resource": report("s1"), "search": {"mode": "match"}},
            {"resource": {"resourceType": "OperationOutcome"}, "search": {"mode": "outcome"}},
            total=1,
        ),
        batch__json=batch(
            ("PUT", "DiagnosticReport/b1", report("b1")), ("POST", "Patient", resource("Patient", "x"))
        ),
        message__json=message(report("m1", None, identifier=[identified(MRN, "m1")])),
    )
    result = await dod(folder)
    assert (result.code, result.err) == (0, "")
    assert result.table["all"] == ["9", "0", "0"]
    there = await stored(database)
    named = {f"DiagnosticReport/{one}" for one in ("c1", "c2", "s1", "b1")}
    assert named < set(there)
    # Ids in a document, as in a message, are its own.
    others = [one for one in there if one.startswith("DiagnosticReport/") and one not in named]
    subjects = [(await raw(database, one)).get("subject") for one in others]
    [subject] = [one["reference"] for one in subjects if one is not None]
    assert subject in there
    fresh = await dod(folder, "--fresh")
    assert (fresh.code, fresh.table["all"]) == (0, ["0", "9", "0"])
    assert await stored(database) == there, "nothing twice, a create of a batch neither"


def made(day: int, one: Json) -> Json:
    """A version of a history."""
    stamped = {**one, "meta": {"versionId": str(day), "lastUpdated": f"2026-05-{day:02}T10:00:00Z"}}
    url = f"{one['resourceType']}/{one['id']}"
    return {
        "fullUrl": f"https://src.example/fhir/{url}",
        "resource": stamped,
        "request": {"method": "PUT", "url": url},
        "response": {"status": "200", "lastModified": f"2026-05-{day:02}T10:00:00Z"},
    }


def unmade(day: int, url: str) -> Json:
    return {
        "fullUrl": f"https://src.example/fhir/{url}",
        "request": {"method": "DELETE", "url": url},
        "response": {"status": "204", "lastModified": f"2026-05-{day:02}T10:00:00Z"},
    }


def a_history() -> Json:
    """Versions of reports, one changed twice, one deleted, one that came back, and of their patient."""
    url = "https://src.example/fhir/Patient/p1"
    return bundle(
        "history",
        made(9, report("back", conclusion="9")),
        unmade(8, "DiagnosticReport/back"),
        unmade(7, "https://src.example/fhir/DiagnosticReport/gone"),
        made(6, report("r1", None, subject=refers(url), conclusion="6")),
        made(5, report("r1", conclusion="5")),
        made(4, report("back", conclusion="4")),
        made(3, report("gone", conclusion="3")),
        made(2, report("r1", conclusion="2")),
        made(1, patient("p1")),
    )


async def past(database: Database, key: str) -> list[str]:
    """The conclusions of the versions before, in their order."""
    found = (
        await database[HISTORY]
        .find({"_id": {"$regex": f"^{LAB}/{key}/"}}, sort=[("version", 1)])
        .to_list(None)
    )
    return [json.loads(one["raw"])["conclusion"] if "raw" in one else "deleted" for one in found]


async def test_a_history_is_played_again(dod: Dod, database: Database, tmp_path: Path) -> None:
    folder = put_down(tmp_path / "in", a__json=a_history())
    result = await dod(folder)
    assert (result.code, result.err) == (0, "")
    assert result.table["KIND"] == ["STORED", "UNCHANGED", "DELETED", "REFUSED"]
    assert result.table["all"] == ["7", "0", "2", "0"]
    current = await raw(database, "DiagnosticReport/r1")
    assert (current["conclusion"], current["subject"]) == ("6", refers("Patient/p1"))
    assert await past(database, "DiagnosticReport/r1") == ["2", "5"]
    assert (await raw(database, "DiagnosticReport/back"))["conclusion"] == "9"
    assert await past(database, "DiagnosticReport/back") == ["4", "deleted"]
    gone = await database[RESOURCES].find_one({"_id": f"{LAB}/DiagnosticReport/gone"})
    assert gone is not None
    assert gone["deleted"]


async def test_a_history_loaded_again_changes_nothing(dod: Dod, database: Database, tmp_path: Path) -> None:
    folder = put_down(tmp_path / "in", a__json=a_history())
    await dod(folder)
    names = (RESOURCES, HISTORY)
    before = [await database[name].find({}, sort=[("_id", 1)]).to_list(None) for name in names]
    for _ in range(2):
        again = await dod(folder, "--fresh")
        assert again.code == 0
        assert again.table["all"][0] == "0"
        assert [await database[name].find({}, sort=[("_id", 1)]).to_list(None) for name in names] == before


async def test_an_older_history_after_a_newer_one(dod: Dod, database: Database, tmp_path: Path) -> None:
    """Versions of it go to the history, its deletion deletes nothing."""
    newer = bundle("history", made(9, report("r1", conclusion="9")))
    older = bundle("history", unmade(3, "DiagnosticReport/r1"), made(2, report("r1", conclusion="2")))
    await dod(put_down(tmp_path / "newer", a__json=newer))
    result = await dod(put_down(tmp_path / "older", a__json=older))
    assert (result.code, (await raw(database, "DiagnosticReport/r1"))["conclusion"]) == (0, "9")
    assert await past(database, "DiagnosticReport/r1") == ["2"]


async def test_what_of_a_history_is_refused(dod: Dod, database: Database, tmp_path: Path) -> None:
    history = bundle(
        "history",
        made(3, report("r1", conclusion="3")),
        made(2, report("r1", status=SECRET)),
        {"request": {"method": "DELETE", "url": f"Patient?name={SECRET}"}},
        made(1, report("r1", conclusion="1")),
    )
    file = tmp_path / "report.jsonl"
    result = await dod(put_down(tmp_path / "in", a__json=history), "--report", file)
    assert (result.code, result.table["all"]) == (1, ["2", "0", "2"])
    told = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert [(Path(one["file"]).name, one["entry"]) for one in told] == [("a.json", 1), ("a.json", 2)]
    assert SECRET not in result.err + file.read_text(encoding="utf-8")
    assert (await raw(database, "DiagnosticReport/r1"))["conclusion"] == "3"
    assert await past(database, "DiagnosticReport/r1") == ["1"]


async def test_what_has_no_id_is_stored_once_however_often_it_is_loaded(
    dod: Dod, database: Database, tmp_path: Path
) -> None:
    nameless = report()
    del nameless["id"]
    folder = put_down(tmp_path / "in", a__json=nameless, b__ndjson=lines(nameless))
    for _ in range(2):
        result = await dod(folder, "--fresh")
        assert result.code == 0
    assert list((await stored(database)).values()) == [1]


async def test_a_later_line_wins_over_an_earlier_one_of_the_same_resource(
    dod: Dod, database: Database, tmp_path: Path
) -> None:
    many = (report(f"r{n % 7}", conclusion=str(n)) for n in range(700))
    result = await dod(put_down(tmp_path / "in", a__ndjson=lines(*many)))
    assert result.table["all"] == ["700", "0", "0"]
    assert await stored(database) == {f"DiagnosticReport/r{n}": 100 for n in range(7)}
    for n in range(7):
        assert (await raw(database, f"DiagnosticReport/r{n}"))["conclusion"] == str(693 + n)


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


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_with_a_sentence_and_a_summary(
    dod: Dod, database: Database, tmp_path: Path, sent: signal.Signals
) -> None:
    count = 4_000
    body = lines(*(report(f"a{n}") for n in range(count)))
    folder, journal = put_down(tmp_path / "in", a__ndjson=body), tmp_path / "journal"
    command = [sys.executable, "-c", "from api.cli.main import main; main()", "load", str(folder)]
    command += ["--tenant", str(LAB), "--journal", str(journal), "--concurrency", "2"]

    def stopped() -> Result:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        pipe = subprocess.PIPE
        with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe) as process:
            while not (journal.exists() and journal.stat().st_size > 5_000) and process.poll() is None:
                pass
            process.send_signal(sent)
            out, err = process.communicate()
        return Result(process.returncode, out.decode(), err.decode())

    result = await asyncio.to_thread(stopped)
    assert result.code == 128 + sent
    first, last = result.err.splitlines()
    assert first.startswith(f"{sent.name}: stopping")
    assert last == f"Stopped by {sent.name} before the end; the same command goes on from here."
    some = int(result.table["all"][0].replace(",", ""))
    assert 0 < some < count
    assert len(await stored(database)) == some, "what was under way is finished, and counted"
    result = await dod(folder, "--journal", journal)
    assert (result.code, result.table["all"]) == (0, [f"{count:,}", "0", "0"])


async def test_killed_and_started_again_it_goes_on_where_it_was(
    dod: Dod, database: Database, tmp_path: Path
) -> None:
    """Nothing is lost or doubled: every resource is there in its one version."""
    count = 3_000
    folder = put_down(
        tmp_path / "in",
        a__ndjson=lines(*(report(f"a{n}", conclusion="x" * 500) for n in range(count // 2))),
        b__ndjson__gz=gzip.compress(lines(*(report(f"b{n}") for n in range(count // 2)))),
    )
    journal = tmp_path / "journal"
    command = [sys.executable, "-c", "from api.cli.main import main; main()", "load", str(folder)]
    command += ["--tenant", str(LAB), "--journal", str(journal)]

    def killed(lines_more: int) -> None:
        before = len(journal.read_bytes().splitlines()) if journal.exists() else 0
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL) as process:
            while process.poll() is None:
                if journal.exists() and len(journal.read_bytes().splitlines()) >= before + lines_more:
                    process.send_signal(signal.SIGKILL)
            assert process.returncode == -signal.SIGKILL

    for _ in range(2):
        await asyncio.to_thread(killed, 300)
    there = await stored(database)
    assert 600 <= len(there) < count
    result = await dod(folder, "--journal", journal)
    assert result.code == 0
    assert int(result.out.split("; ")[1].split()[0].replace(",", "")) >= 600
    stored_now, unchanged, refused = (int(n.replace(",", "")) for n in result.table["all"])
    # What was under way at a kill, at most 64 bodies each time, is found to be there already.
    assert (refused, stored_now + unchanged) == (0, count)
    assert unchanged <= 2 * 64
    there = await stored(database)
    assert (len(there), set(there.values())) == (count, {1})


@pytest.mark.parametrize("killed", [False, True])
async def test_workers_store_the_same_whichever_of_them_goes(
    dod: Dod, database: Database, tmp_path: Path, killed: bool
) -> None:
    """The last line of a resource wins, refusals have their places, and each body is stored once."""
    count = 300
    body = lines(
        *(report(f"a{n % 100}", conclusion=str(n)) for n in range(count)),
        {"resourceType": "Nonsense", "id": "b"},
        bundle(
            "transaction",
            {"resource": report("t1"), "request": {"method": "PUT", "url": "DiagnosticReport/t1"}},
        ),
    )
    folder, journal = put_down(tmp_path / "in", a__ndjson=body), tmp_path / "journal"
    command = [sys.executable, "-c", "from api.cli.main import main; main()", "load", str(folder)]
    command += ["--tenant", str(LAB), "--journal", str(journal), "--workers", "2"]

    def children(pid: int) -> list[int]:
        listed = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
        return [int(one) for one in listed.split()]

    def run() -> Result:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        pipe = subprocess.PIPE
        with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe) as process:
            while killed and process.poll() is None:
                if journal.exists() and journal.stat().st_size > 1_000:
                    os.kill(children(process.pid)[0], signal.SIGKILL)
                    break
            out, err = process.communicate()
        return Result(process.returncode, out.decode(), err.decode())

    result = await asyncio.to_thread(run)
    assert (result.code, result.table["all"][-1]) == (1, "1")
    assert "a.ndjson: line 301" in result.err
    there = await stored(database)
    assert len(there) == 101
    for n in range(100):
        assert (await raw(database, f"DiagnosticReport/a{n}"))["conclusion"] == str(200 + n)
    assert killed or set(there.values()) == {1, 3}


async def test_messages_of_hl7_v2_are_loaded_in_files_and_archives(
    dod: Dod, database: Database, tmp_path: Path
) -> None:
    faulty = oru("M-9", patient="P-9", filler="F-9", status="Z")
    feed = b"".join(oru(f"M-{n}", patient=f"P-{n % 2}", filler=f"F-{n}") for n in range(4))
    place = put_down(tmp_path / "files", feed__hl7=b"FHS|^~\\&\r" + feed + b"FTS|4\r", one__hl7=faulty)
    done = await dod(place)
    assert done.code == 1
    assert done.files["hl7"] == "2"
    assert "one.hl7" in done.err
    assert "OBR[1]-25" in done.err
    stored = await database[RESOURCES].count_documents({"type": "DiagnosticReport"})
    assert stored == 4
    assert await database[RESOURCES].count_documents({"type": "Provenance"}) == 4
    again = await dod(place, "--fresh")
    assert again.code == 1
    assert await database[RESOURCES].count_documents({"type": "DiagnosticReport"}) == 4
    dry = await dod(place, "--dry-run", "--fresh")
    assert "OBR[1]-25" in dry.err


async def test_files_of_hl7_v2_are_mapped_as_what_comes_in_by_the_tenant_s_port(
    dod: Dod, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = tmp_path / "lab.toml"
    profile.write_text('[authorities]\nHOSP = "urn:hospital"\n[report_statuses]\nZ = "final"\n')
    place = put_down(tmp_path / "files", one__hl7=oru(status="Z"))
    assert (await dod(place, "--dry-run")).code == 1
    monkeypatch.setenv("DOD_MLLP_TENANT", str(LAB))
    monkeypatch.setenv("DOD_MLLP_PROFILE", str(profile))
    monkeypatch.setenv("DOD_MLLP_PORT", "2575")  # A load listens nowhere.
    assert (await dod(place, "--dry-run")).code == 0
    assert (await dod(place)).code == 0
    found = await database[RESOURCES].find_one({"type": "Patient"})
    assert found is not None
    assert b"urn:hospital" in found["raw"]
