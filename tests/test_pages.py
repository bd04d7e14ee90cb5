"""Every command line of README and of the pages under `docs/`, run in order on a service of its own.

A block marked `<!-- not run: why -->` is left out. `8080`, `9090` and `2575` are other ports here.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tests.support.ports import free_port
from tests.support.preloaded import QUICK, server

ROOT: Final = Path(__file__).resolve().parents[1]
PAGES: Final = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
BLOCK: Final = re.compile(
    r"(?P<mark><!-- not run: [^>]+ -->\n)?```sh\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
STEP: Final = "@@"
LONGEST: Final = 1_200
"""Seconds until a command that hangs is told of: far more than all of them take."""


class Block(NamedTuple):
    place: str
    text: str


def blocks() -> list[Block]:
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for one in BLOCK.finditer(text):
            if one["mark"] is None:
                line = text.count("\n", 0, one.start("text")) + 1
                found.append(Block(f"{page.relative_to(ROOT)}:{line}", one["text"]))
    return found


def scratch(folder: Path, dod: str) -> Path:
    """Content of a checkout after `make demo`: `.venv` with `dod`, and the samples."""
    binaries = folder / ".venv" / "bin"
    binaries.mkdir(parents=True)
    command = binaries / "dod"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -PSE {QUICK} {dod} "$@"\n')
    command.chmod(0o755)
    (folder / "samples").symlink_to(ROOT / "samples")
    return folder


def environment() -> dict[str, str]:
    bare = {name: value for name, value in os.environ.items() if not name.startswith("DOD_")}
    return {**bare, "DOD_DRAIN_SECONDS": "0", "DOD_LOG_LEVEL": "WARNING", "PYTHONPATH": str(ROOT)}


def script() -> str:
    steps = [f"echo '{STEP} {one.place}'\n{one.text}" for one in blocks()]
    ports = {name: str(free_port()) for name in ("8080", "9090", "2575")}
    text = "\n".join(["set -euo pipefail", "trap 'kill $(jobs -p)' EXIT", *steps, f"echo '{STEP} the end'"])
    return re.sub("|".join(ports), lambda port: ports[port[0]], text)


def told(folder: Path, dod: str) -> tuple[int, str]:
    """The exit code and the output of all commands."""
    with subprocess.Popen(
        ["/usr/bin/env", "bash", "-c", script()],
        cwd=scratch(folder, dod),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=LONGEST)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, output


@pytest.mark.slow
@pytest.mark.mongo
def test_every_command_line_does_what_the_page_says(tmp_path: Path) -> None:
    """All commands end well, none says that it could not, and each page ends up with what it promises."""
    code, output = told(tmp_path / "checkout", server())  # Loading `dod` fifty times takes most of a minute.
    _, *steps = output.split(f"{STEP} ")
    assert code == 0, steps[-2:]
    assert steps[-1].strip().startswith("the end")
    said: dict[str, str] = defaultdict(str)
    for step in steps:
        assert "Traceback" not in step, step
        said[step.partition(":")[0]] += step
    assert '"total":1' in said["README.md"]
    assert "1 match" in said["README.md"]
    assert '"severity":"error"' not in said["README.md"]
    assert "MSA|AA|MADE-UP-0001" in said["README.md"]
    assert "MSA|AA|MADE-UP-0001" in said["docs/hl7v2.md"]
    assert "Counter({" in said["docs/export.md"]
    assert "receipts hold" in said["docs/operations.md"]


def test_pages_name_no_other_dod_and_no_folder_that_is_not_there() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert ".venv/bin/dod" not in text, page
    named = {name for one in blocks() for name in re.findall(r"samples/[a-z0-9.-]+", one.text)}
    assert named
    assert all((ROOT / name).exists() for name in named)
