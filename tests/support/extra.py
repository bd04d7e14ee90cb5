"""What an extra run is told by environment variables: where more data and more search cases are.

Not `DOD_*`: the service refuses such names when it does not know them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final


def place(name: str) -> Path | None:
    """The path a variable names; None when it is not set."""
    text = os.environ.get(name)
    return Path(text) if text else None


DATA: Final = place("TEST_DATA")
"""A folder of FHIR files."""
CASES: Final = place("TEST_CASES")
"""A file of search cases, one JSON object a line."""
