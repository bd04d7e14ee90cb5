"""What an extra run is told by environment variables: where more data and more search cases are."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

VARIABLES: Final = ("TEST_DATA", "TEST_CASES")
"""A folder of FHIR files, and a file of search cases."""


def place(name: str) -> Path | None:
    """The path a variable names; None when it is not set."""
    text = os.environ.get(name)
    return Path(text) if text else None


DATA: Final = place("TEST_DATA")
CASES: Final = place("TEST_CASES")
