"""Fixtures of tests of commands."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.support.commands import command, database_of_commands

if TYPE_CHECKING:
    from collections.abc import Callable

    from store.mongo.driver.client import Database
    from tests.support.commands import Dod


@pytest.fixture
def commands(
    mongodb: str, database: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Dod]:
    """Makes a `dod` that works on the test's database, with these words before those of each call."""
    database_of_commands(monkeypatch, mongodb, database.name)
    return partial(command, monkeypatch, capsys)
