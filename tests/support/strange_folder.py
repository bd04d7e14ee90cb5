"""Working directory of somebody's own program, from which no module of ours may come."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("api", "store", "ingest", "socket")
"""Names of our packages, and of a module of Python."""


def strange_folder(folder: Path) -> Path:
    """The folder, made, with modules that end whoever imports them."""
    folder.mkdir()
    for name in NAMES:
        (folder / f"{name}.py").write_text(f"raise SystemExit('{name} of the working directory')\n")
    return folder
