"""The `Prefer` header."""

from __future__ import annotations

import pytest

from api.search.preferences import wants_strict


@pytest.mark.parametrize(
    ("prefer", "strict"),
    [
        (None, False),
        ("", False),
        ("handling=lenient", False),
        ("handling=strict", True),
        ("Handling=strict", True),
        ("return=minimal, handling=strict", True),
        ("return=minimal; handling=strict", True),
        ("  handling=strict  ,", True),
        ("handling=stricter", False),
        ("strict", False),
        ("xhandling=strict", False),
    ],
)
def test_wants_strict(prefer: str | None, strict: bool) -> None:
    assert wants_strict(prefer) is strict
