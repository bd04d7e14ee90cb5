"""Data directory of the embedded MongoDB: what lies in it, and who may use it.

Files beside `db/`, all in a directory of mode 0700:

owner.lock    flock, exclusive: whoever holds it may run a mongod on `db/`.
users.lock    flock, shared by each borrower; the owner takes it exclusively before it stops.
runtime.json  who owns, and where its mongod answers. Absent while the owner is stopping.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
import tempfile
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from store.errors import StartupError

if TYPE_CHECKING:
    from collections.abc import Iterator

Role = Literal["serve", "command"]

SOCKET_PATH_BYTES_MAX: Final = 107
"""Linux's sun_path, less the closing NUL."""
PRIVATE: Final = 0o700


@dataclass(frozen=True, slots=True)
class Runtime:
    """Content of `runtime.json`: the owner."""

    pid: int
    role: Role
    socket: str
    mongod: int | None
    """mongod's pid once it may be borrowed."""


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
        """Log with the lines of mongod, or of its loader."""
        return self.root / "mongod.log"

    @property
    def owner_lock(self) -> Path:
        """Lock that whoever may run a mongod holds."""
        return self.root / "owner.lock"

    @property
    def users_lock(self) -> Path:
        """Shared by the borrowers."""
        return self.root / "users.lock"

    @property
    def runtime(self) -> Path:
        """Owner of the directory, and the address of its mongod."""
        return self.root / "runtime.json"


def home_of(data_dir: Path) -> Home:
    """The directory, wherever the process goes."""
    return Home(data_dir.absolute())


def prepare(home: Home) -> None:
    """Make it, private to this user. Raises StartupError when it is not ours or cannot be written to."""
    home.root.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
    found = home.root.stat()
    if found.st_uid != os.geteuid():
        raise StartupError(f"The data directory {home.root} belongs to another user (uid {found.st_uid}).")
    if stat.S_IMODE(found.st_mode) != PRIVATE:
        home.root.chmod(PRIVATE)
    if not os.access(home.root, os.R_OK | os.W_OK | os.X_OK):
        raise StartupError(f"The data directory {home.root} cannot be written to.")
    home.db.mkdir(mode=PRIVATE, exist_ok=True)


def lock(path: Path, kind: int) -> int | None:
    """A descriptor that holds the lock until closed (or the process dies), or None if another holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def read_runtime(home: Home) -> Runtime | None:
    """Owner of the directory; None: nobody, or one who is stopping."""
    try:
        return Runtime(**json.loads(home.runtime.read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):  # ours to replace, whatever it says
        return None


def write_runtime(home: Home, runtime: Runtime) -> None:
    """Say who owns, in one step."""
    fresh = home.runtime.with_suffix(".new")
    fresh.write_text(json.dumps(asdict(runtime)))
    fresh.replace(home.runtime)


@contextmanager
def socket_path(home: Home) -> Iterator[Path]:
    """Path of mongod's socket: in the data directory, or in a private one if that path is too long."""
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


@contextmanager
def sentences(home: Home) -> Iterator[None]:
    """Turn what the file system refuses into a sentence."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or errno.errorcode.get(error.errno or 0, "unknown error")
        raise StartupError(f"The data directory {home.root} cannot be used: {reason}.") from error
