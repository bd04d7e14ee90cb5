"""The wheel holds every file of the explorer, and none of the chart library's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).resolve().parents[3]


def test_the_wheel_has_all_files_of_the_explorer(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with ZipFile(wheel) as packed:
        names = set(packed.namelist())
    static = ROOT / "api" / "explorer" / "static"
    expected = {str(at.relative_to(ROOT)) for at in static.rglob("*") if at.is_file()}
    assert len(expected) > 20
    assert expected <= names
    assert not [name for name in names if "uplot" in name.lower()]
