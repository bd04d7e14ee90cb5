"""`dod load`: every kind of file and Bundle, what it says, and going on after a kill."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from store.mongo.indexes import HISTORY, RESOURCES
from tests.api.commands.files.loading import SECRET, Json, bundle, lines, put_down, raw, stored
from tests.support.fhir import MRN, batch, identified, message, patient, refers, report, resource
from tests.support.store import LAB

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from store.mongo.driver.client import Database
    from tests.api.commands.files.loading import Result

    Dod = Callable[..., Awaitable[Result]]


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
    many = (report(f"r{n % 7}", conclusion=str(n)) for n in range(280))
    result = await dod(put_down(tmp_path / "in", a__ndjson=lines(*many)))
    assert result.table["all"] == ["280", "0", "0"]
    assert await stored(database) == {f"DiagnosticReport/r{n}": 40 for n in range(7)}
    for n in range(7):
        assert (await raw(database, f"DiagnosticReport/r{n}"))["conclusion"] == str(273 + n)


HERE, THERE = "https://one.example/fhir", "https://two.example/fhir"


def two_servers(other: str) -> Json:
    """A collection of what two servers have under ids of their own: a patient and a report of each."""
    return bundle(
        "collection",
        {"fullUrl": f"{HERE}/Patient/1", "resource": patient("1", identified(MRN, "A"))},
        {"fullUrl": f"{HERE}/DiagnosticReport/r1", "resource": report("r1", "1")},
        {"fullUrl": f"{THERE}/Patient/1", "resource": patient("1", identified(MRN, other))},
        {"fullUrl": f"{THERE}/DiagnosticReport/r2", "resource": report("r2", "1")},
    )


async def test_two_resources_of_one_id_refuse_their_bundle(
    dod: Dod, database: Database, tmp_path: Path
) -> None:
    for how in ((), ("--dry-run",)):
        result = await dod(put_down(tmp_path / "in", two__json=two_servers("B")), *how)
        assert result.code == 1
        assert "Bundle.entry[2].resource" in result.err
        assert "Bundle.entry[0].resource" in result.err
    assert await stored(database) == {}
    result = await dod(put_down(tmp_path / "same", two__json=two_servers("A")))
    assert result.code == 0
    assert len(await stored(database)) == 3


async def test_a_relative_reference_leads_to_the_entry_below_its_root(
    dod: Dod, database: Database, tmp_path: Path
) -> None:
    """The Patient has no id but that of its `fullUrl`, so that it is stored under another one."""
    nameless = {name: value for name, value in patient("1").items() if name != "id"}
    told = bundle(
        "collection",
        {"fullUrl": f"{HERE}/Patient/1", "resource": nameless},
        {"fullUrl": f"{HERE}/DiagnosticReport/r1", "resource": report("r1", "1")},
    )
    result = await dod(put_down(tmp_path / "in", told__json=told, other__ndjson=lines(patient("1"))))
    assert result.code == 0
    subject = (await raw(database, "DiagnosticReport/r1"))["subject"]["reference"]
    assert subject != "Patient/1"
    assert subject in await stored(database)
