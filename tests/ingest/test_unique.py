"""Ids are random UUIDs, each used once."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import RFC_4122, UUID

import pytest

from ingest import unique
from ingest.unique import secret_id, unique_id

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("make", [unique_id, secret_id])
def test_ids_are_random_uuids(make: Callable[[], str]) -> None:
    made = [make() for _ in range(1_000)]
    assert len(set(made)) == len(made)
    for text in made:
        parsed = UUID(text)
        assert (str(parsed), parsed.version, parsed.variant) == (text, 4, RFC_4122)


def test_ids_of_resources_are_the_system_s_random_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    unique._SECRETS.clear()
    monkeypatch.setattr("os.urandom", lambda size: bytes(range(256)) * (size // 256))
    assert secret_id() == "00010203-0405-4607-8809-0a0b0c0d0e0f"
    assert secret_id() == "10111213-1415-4617-9819-1a1b1c1d1e1f"
    unique._SECRETS.clear()
