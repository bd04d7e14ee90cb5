"""`dod` as a process of its own, forked from one that has it loaded: loading it takes a second of CPU."""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile, mkdtemp
from typing import TYPE_CHECKING

from tests.support.remembered import WRITES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import IO

ROOT = Path(__file__).resolve().parents[2]
QUICK = Path(__file__).with_name("quick_dod.py")
POLL_SECONDS = 0.01


class Forked:
    """A running `dod`; it is no child of ours, but its end is told all the same."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._returncode: int | None = None
        self.pid = int(_line(connection))

    @property
    def returncode(self) -> int | None:
        """Exit code, negative for a signal; None: it runs."""
        if self._returncode is None and select.select([self._connection], [], [], 0)[0]:
            self._returncode = int(_line(self._connection))
            self._connection.close()
        return self._returncode

    def poll(self) -> int | None:
        """Exit code, negative for a signal; None: it runs."""
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it, unless it has ended, which may not have been told yet."""
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    async def wait(self) -> int:
        """Exit code, once it has ended."""
        while (code := self.returncode) is None:  # noqa: ASYNC110 -- another process
            await asyncio.sleep(POLL_SECONDS)
        return code

    def join(self) -> int:
        """Exit code, once it has ended, which the thread waits for."""
        if self._returncode is None:
            select.select([self._connection], [], [])
        code = self.returncode
        assert code is not None
        return code


def dod(
    *words: str,
    environment: Mapping[str, str],
    folder: Path = ROOT,
    before: str = "",
    stdout: IO[bytes] | int = subprocess.DEVNULL,
    stderr: IO[bytes] | int = subprocess.DEVNULL,
) -> Forked:
    """Start `dod` with these words; `before` is Python that runs first in its process."""
    WRITES.others = True
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(server())
    said = json.dumps([words, str(folder), dict(environment), before]).encode()
    with Path(os.devnull).open("r+b") as nothing:
        files = [nothing.fileno()]
        for one in (stdout, stderr):
            number = one if isinstance(one, int) else one.fileno()
            files.append(nothing.fileno() if number == subprocess.DEVNULL else number)
        socket.send_fds(connection, [said], files)
    return Forked(connection)


def said_by(*words: str, environment: Mapping[str, str]) -> str:
    """Output of `dod`, which must end well."""
    with TemporaryFile() as output, TemporaryFile() as errors:
        code = dod(*words, environment=environment, stdout=output, stderr=errors).join()
        errors.seek(0)
        assert code == 0, errors.read()
        output.seek(0)
        return output.read().decode().strip()


@cache
def server() -> str:
    """Socket of the process that forks, which ends with ours."""
    folder = Path(mkdtemp())
    path = folder / "dod.sock"
    bare = {name: value for name, value in os.environ.items() if not name.startswith("DOD_")}
    process = subprocess.Popen(
        [sys.executable, "-P", str(QUICK), str(path)],
        env={**bare, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )

    def end() -> None:
        process.kill()
        process.communicate()
        shutil.rmtree(folder)

    atexit.register(end)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return str(path)


def _line(connection: socket.socket) -> bytes:
    said = b""
    while not said.endswith(b"\n"):
        more = connection.recv(1)
        assert more, "the process that forks has ended"
        said += more
    return said
