"""Version that runs: for `dod version`, `dod_build_info` and `/metadata`."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Final


def _installed() -> str:
    try:
        return version("data-on-demand")
    except PackageNotFoundError:  # Run from a checkout that was not installed.
        return "0+checkout"


VERSION: Final = _installed()
