"""Loading by the command line beside a running service."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

import pytest

from api.cli import main as cli
from tests.support.service import DATABASE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tests.support.service import Service


@pytest.fixture
def load(
    mongodb: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[Service, Sequence[Any]], Awaitable[None]]:
    """`dod load` of Bundles into the tenant of a service, each in a file of its own, in this order."""
    monkeypatch.setenv("DOD_MONGODB_URI", mongodb)
    monkeypatch.setenv("DOD_MONGODB_DATABASE", DATABASE)
    monkeypatch.setenv("DOD_DATA_DIR", str(tmp_path / "dod"))
    monkeypatch.setattr(sys, "argv", sys.argv)  # It is put back afterwards.

    def run(*words: str) -> int:
        sys.argv = ["dod", *words]
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0)

    alone = asyncio.Lock()  # All commands of a process have one list of arguments.

    async def loaded(service: Service, bundles: Sequence[Any]) -> None:
        folder = Path(mkdtemp(dir=tmp_path))
        for n, bundle in enumerate(bundles):
            (folder / f"{n:03}.json").write_text(json.dumps(bundle))
        async with alone:
            assert await asyncio.to_thread(run, "load", str(folder), "--tenant", str(service.tenant)) == 0

    return loaded
