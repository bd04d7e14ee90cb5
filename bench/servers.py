"""The processes of a run: mongod, the service and the floor; where they may run and what they cost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from store.mongo.embedded import embedded
from store.mongo.embedded.mongod import CACHE_GIGABYTES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from store.mongo.embedded import Embedded

HOST: Final = "bench.invalid"
"""Made up, so that all servers write the same links."""
START_SECONDS: Final = 120.0
STOP_SECONDS: Final = 20.0
TICK: Final = os.sysconf("SC_CLK_TCK")
COMMAND_LINE: Final = "from api.cli.main import main; main()"
ROOT: Final = Path(__file__).resolve().parent.parent
SERVED: Final = Path(os.environ.get("BENCH_SERVED", ROOT)).resolve()
"""Folder that the service is taken from: `make bench` names a copy with compiled modules, if it could make
one.
"""


class Cores(NamedTuple):
    """Cores for servers and clients; empty: anywhere."""

    server: frozenset[int]
    """Core for whichever server is measured; the other one idles meanwhile."""
    others: frozenset[int]
    """The rest, for mongod and the load generator."""


class Server(NamedTuple):
    """A server that answers."""

    name: str
    port: int
    pid: int
    mongod: int
    """The process id of its database."""


def cpu_seconds(pid: int) -> float:
    """Processor time a process has used so far, all threads, in the kernel too."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def resident(pid: int) -> float:
    """Megabytes of memory of a process, and of those that it has started; 0: it has ended."""
    process = Path(f"/proc/{pid}")
    try:
        pages = int((process / "statm").read_text(encoding="ascii").split()[1])
        children = (process / "task" / str(pid) / "children").read_text(encoding="ascii").split()
    except OSError:
        return 0.0
    return pages * 4096 / 1e6 + sum(resident(int(child)) for child in children)


def cores(*, pin: bool) -> Cores:
    """Choice of a core for the servers and the rest for the others, where there are two or more."""
    available = sorted(os.sched_getaffinity(0))
    if not pin or len(available) < 2:
        return Cores(frozenset(), frozenset())
    return Cores(frozenset(available[:1]), frozenset(available[1:]))


class Database(NamedTuple):
    """Database of a run, with a folder for the logs of what runs on it and cores for it."""

    mongod: Embedded
    place: Path
    on: Cores


@asynccontextmanager
async def database(*, pin: bool = False, cache_gigabytes: float = CACHE_GIGABYTES) -> AsyncIterator[Database]:
    """A mongod in a folder of its own, beside the core of the servers; both end with the run."""
    on = cores(pin=pin)
    if on.others:
        os.sched_setaffinity(0, on.others)  # mongod inherits it.
    with tempfile.TemporaryDirectory(prefix="dod-bench-") as directory:
        place = Path(directory)
        async with embedded(place / "data", role="serve", cache_gigabytes=cache_gigabytes) as mongod:
            yield Database(mongod, place, on)


def environment(**more: str) -> dict[str, str]:
    """Ours without any setting of the service: it is measured with its defaults."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("DOD_")}
    return {**ours, "PYTHONPATH": f"{SERVED}{os.pathsep}{ROOT}", **more}


def dod(*arguments: str, uri: str, **settings: str) -> str:
    """Output of a `dod` command."""
    command = [sys.executable, "-c", COMMAND_LINE, *arguments]
    env = environment(DOD_MONGODB_URI=uri, **settings)
    done = subprocess.run(command, env=env, cwd=SERVED, check=False, capture_output=True, text=True)
    assert not done.returncode, done.stderr
    return done.stdout.strip()


def token(*tenants: str, uri: str, **settings: str) -> str:
    """A token for all of these tenants, which it makes."""
    for tenant in tenants:
        dod("tenant", "create", tenant, "--search-scope", "any", uri=uri, **settings)
    named = [part for tenant in tenants for part in ("--tenant", tenant)]
    return dod("token", "issue", *named, "--scope", "system/*.cruds", uri=uri, **settings)


def is_compiled() -> bool:
    """Whether what is served has modules that are compiled."""
    return any(SERVED.glob("store/search/*.so"))


def preparing() -> list[str]:
    """Output of `bench.preparing`, of the modules that are served."""
    command = [sys.executable, "-m", "bench.preparing"]
    done = subprocess.run(command, env=environment(), cwd=SERVED, check=True, capture_output=True, text=True)
    return done.stdout.splitlines()


@contextmanager
def service(mongod: Embedded, log: Path, on: Cores, **settings: str) -> Iterator[Server]:
    """`dod serve` with its defaults but for these; its log, request lines and all, goes to a file."""
    command = [sys.executable, "-c", COMMAND_LINE, "serve", "--port", "0", "--admin-port", "0"]
    # Behind no load balancer there is nobody to wait for at the end. The requests name a host of their own.
    # One client asks as much as it can: its rate is counted, as always, and has no end.
    endless = dict.fromkeys(("DOD_RATE_SEARCH", "DOD_RATE_PUSH", "DOD_RATE_BACKFILL"), "1000000000/minute")
    ours = {"DOD_DRAIN_SECONDS": "0", "DOD_BASE_URL": f"http://{HOST}", **endless}
    env = environment(DOD_MONGODB_URI=mongod.uri, **{**ours, **settings})
    with _running("service", command, env, log, on, mongod.pid) as server:
        yield server


@contextmanager
def floor(mongod: Embedded, log: Path, on: Cores, *, workers: int) -> Iterator[Server]:
    """The floor, with so many driver threads."""
    command = [sys.executable, "-m", "bench.floor", mongod.uri]
    env = environment(MOTOR_MAX_WORKERS=str(workers))
    with _running("floor", command, env, log, on, mongod.pid) as server:
        yield server


@contextmanager
def _running(  # noqa: PLR0913 (one call, two callers)
    name: str, command: Sequence[str], env: dict[str, str], log: Path, on: Cores, mongod: int
) -> Iterator[Server]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=env, cwd=SERVED, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        if on.server:
            os.sched_setaffinity(process.pid, on.server)  # Before it has threads: they inherit it.
        yield Server(name, _port(process, log), process.pid, mongod)
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _port(process: subprocess.Popen[bytes], log: Path) -> int:
    """The port it says it listens on."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        for line in log.read_text(encoding="utf-8").splitlines():
            with suppress(ValueError, KeyError, TypeError):
                address: str = json.loads(line)["address"]
                if (port := urlsplit(address).port) is not None:  # Else it is one for MLLP.
                    return port
        time.sleep(0.05)
    text = log.read_text(encoding="utf-8")[-2000:]
    raise RuntimeError(f"a server did not start: {' '.join(command_of(process))}\n{text}")


def command_of(process: subprocess.Popen[bytes]) -> list[str]:
    """The command line without the database's address."""
    arguments = process.args if isinstance(process.args, list) else []
    return [str(part) for part in arguments if "://" not in str(part)]
