"""`dod doctor` says all that is wrong at once, names no secret, and ends with 1 when there is something."""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
import sys
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from api.cli.main import app
from api.commands import doctor
from api.commands.doctor import Finding, as_json, examine, is_wrong, table
from store.mongo.requirements import STANDALONE
from tests.support.mongods import standalone
from tests.support.ports import free_port

FREE = {"DOD_PORT": "0", "DOD_ADMIN_PORT": "0"}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("DOD_"):
            monkeypatch.delenv(name)
    for name, value in FREE.items():
        monkeypatch.setenv(name, value)


async def reasons(**options: Any) -> dict[str, list[str]]:
    """Findings, by check."""
    return {check: list(found) for check, found in await examine(**options) if found}


async def test_a_healthy_database_of_one_s_own(mongodb: str) -> None:
    assert await reasons(mongodb_uri=mongodb) == {}


async def test_a_fresh_place_for_the_embedded_mongodb(tmp_path: Path) -> None:
    assert await reasons(data_dir=tmp_path / "not" / "yet") == {}
    assert os.listdir(tmp_path) == [], "looking makes nothing"  # noqa: PTH208


async def test_all_that_is_wrong_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "no.pem").write_text("nothing of the kind")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        async with standalone(tmp_path / "alone") as alone:
            files = f"tlsCAFile={tmp_path}/no.pem&tlsCertificateKeyFile={tmp_path}/hush.pem"
            monkeypatch.setenv("DOD_MONGODB_URI", f"mongodb://{alone.address}/?tls=false&{files}")
            monkeypatch.setenv("DOD_PORT", str(port))
            monkeypatch.setenv("DOD_PROT", "1")
            monkeypatch.setenv("DOD_POOL_SIZE", "many")
            monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 64))
            found = await reasons()
            monkeypatch.setenv("DOD_MONGODB_URI", alone.uri)
            assert (await reasons())["database"] == [STANDALONE]
    unknown, wrong = found["settings"]
    assert "DOD_PROT" in unknown
    assert "DOD_POOL_SIZE" in wrong
    assert "many" not in wrong
    assert found["files"] == [
        "The file of `tlsCAFile` in DOD_MONGODB_URI is no PEM file.",
        "The file of `tlsCertificateKeyFile` in DOD_MONGODB_URI cannot be read: No such file or directory.",
    ]
    assert len(found["limits"]) == 2
    assert "ulimit -n" in found["limits"][0]
    assert "ulimit -v" in found["limits"][1]
    assert found["ports"] == [
        f"Port {port} of 127.0.0.1 cannot be listened on: Address already in use; `--port` takes another."
    ]
    assert len(found["database"]) == 1


async def test_what_only_some_settings_need_is_looked_at_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter", None)
    monkeypatch.setenv("DOD_EVENT_LOOP", "uvloop")
    monkeypatch.setenv("DOD_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    monkeypatch.setenv("DOD_MLLP_PORT", "0")
    found = await reasons(data_dir=tmp_path)
    assert [one.split()[0] for one in found.pop("packages")] == [
        "DOD_OTLP_ENDPOINT",
        "DOD_EVENT_LOOP=uvloop:",
    ]
    [fault] = found.pop("sources")
    assert "DOD_MLLP_TENANT" in fault
    assert found == {}


async def test_listeners_for_hl7_v2_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "no.pem").write_text("nothing of the kind")
    declared = tmp_path / "sources.toml"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        source = '[[source]]\nname = "lab"\ntenant = "acme/Production"\n'
        files = f'certificate = "{tmp_path}/no.pem"\nkey = "{tmp_path}/no.pem"\n'
        declared.write_text(f'{source}[[listener]]\nport = {port}\nsources = ["lab"]\n{files}')
        monkeypatch.setenv("DOD_MLLP_SOURCES", str(declared))
        found = await reasons(data_dir=tmp_path / "data")
        monkeypatch.setenv("DOD_ROLE", "query")
        assert await reasons(data_dir=tmp_path / "data") == {}, "that listens for none"
    assert found.keys() == {"files", "ports"}
    assert f"Port {port}" in found["ports"][0]


async def test_the_data_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    [said] = (await reasons(data_dir=tmp_path / "file" / "below"))["data directory"]
    assert "is no directory" in said
    (tmp_path / "open").mkdir(mode=0o755)
    [said] = (await reasons(data_dir=tmp_path / "open"))["data directory"]
    assert "open to other users" in said
    if os.geteuid() == 0:
        (tmp_path / "theirs").mkdir(mode=0o700)
        shutil.chown(tmp_path / "theirs", 12345)
        [said] = (await reasons(data_dir=tmp_path / "theirs"))["data directory"]
        assert "uid 12345" in said
    usage = namedtuple("usage", "free")  # noqa: PYI024 -- as shutil's
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(5 * 1024**2))
    monkeypatch.setattr(doctor, "_is_read_only", lambda _: True)
    full, unwritable = sorted((await reasons(data_dir=tmp_path / "new"))["data directory"])
    assert "has 5 MiB left" in unwritable or "has 5 MiB left" in full
    assert "cannot be written to" in full or "cannot be written to" in unwritable


async def test_a_mongod_that_cannot_be_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOD_MONGOD", str(tmp_path / "nothing"))
    assert "DOD_MONGOD names" in (await reasons(data_dir=tmp_path / "new"))["database"][0]


def test_tables_and_json() -> None:
    findings = [Finding("settings", ()), Finding("database", ("One.", "Two."))]
    assert table(findings)[1:] == [("settings", "ok", ""), ("database", "wrong", "One."), ("", "", "Two.")]
    assert json.loads(as_json(findings)) == {
        "ok": False,
        "checks": [
            {"check": "settings", "ok": True, "reasons": []},
            {"check": "database", "ok": False, "reasons": ["One.", "Two."]},
        ],
    }
    assert is_wrong(findings)
    assert not is_wrong(findings[:1])


def test_the_command(tmp_path: Path) -> None:
    well = CliRunner().invoke(app, ["doctor", "--data-dir", str(tmp_path / "new")])
    assert well.exit_code == 0, well.output
    assert "wrong" not in well.output.partition("\n")[2]
    uri = f"mongodb://u:hush@127.0.0.1:{free_port()}/"
    ill = CliRunner().invoke(app, ["doctor", "--json", "--mongodb-uri", uri])
    assert ill.exit_code == 1
    assert json.loads(ill.output)["ok"] is False
    assert "hush" not in ill.output
