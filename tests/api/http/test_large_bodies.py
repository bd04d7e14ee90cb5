"""Bodies that are large by their bytes, or by their objects."""

from __future__ import annotations

import pytest

from api.http.large_bodies import OBJECTS_MAX, is_large


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"x" * 20_000, False),
        (b"x" * 20_001, True),
        (b"{}," * OBJECTS_MAX, False),
        (b"{}," * (OBJECTS_MAX + 1), True),
        (b"", False),
    ],
)
def test_a_body_is_large(body: bytes, expected: bool) -> None:
    assert is_large(bytearray(body), 20_000) is expected
