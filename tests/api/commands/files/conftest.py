"""Fixtures that the tests of this folder share."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from api.cli import main as cli
from store.mongo.access import MongoAccess
from store.settings import StoreSettings
from store.tenancy import TenantSettings
from tests.api.commands.files.loading import Result
from tests.support.store import LAB, metrics

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from store.mongo.driver.client import Database

    Dod = Callable[..., Awaitable["Result"]]


@pytest.fixture
async def dod(
    mongodb: str,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Dod:
    monkeypatch.setenv("DOD_MONGODB_URI", mongodb)
    monkeypatch.setenv("DOD_MONGODB_DATABASE", database.name)
    monkeypatch.setenv("DOD_DATA_DIR", str(tmp_path / "dod"))
    access = MongoAccess(database, settings=StoreSettings(), metrics=metrics())
    await access.put_tenant(TenantSettings(LAB))

    def run(arguments: Iterable[str]) -> int:
        monkeypatch.setattr(sys, "argv", ["dod", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0)

    async def load(*arguments: str | Path) -> Result:
        capsys.readouterr()
        words = ["load", *map(str, arguments), "--tenant", str(LAB)]
        code = await asyncio.to_thread(run, words)
        return Result(code, *capsys.readouterr())

    return load
