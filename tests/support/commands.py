"""The `dod` command, run in a process of ours as if in its own: what it prints and how it ends."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, NamedTuple

import pytest

from api.cli import main as cli

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Dod = Callable[..., Awaitable["Result"]]


class Result(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def words(self) -> list[list[str]]:
        return [line.split() for line in self.out.splitlines()]


def database_of_commands(monkeypatch: pytest.MonkeyPatch, uri: str, name: str) -> None:
    """Commands work on this database."""
    monkeypatch.setenv("DOD_MONGODB_URI", uri)
    monkeypatch.setenv("DOD_MONGODB_DATABASE", name)


def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *before: str) -> Dod:
    """Runs `dod` with these words before those of the call."""

    def run(arguments: tuple[str, ...]) -> int:
        monkeypatch.setattr(sys, "argv", ["dod", *before, *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0)

    async def dod(*arguments: str) -> Result:
        capsys.readouterr()
        # The command runs a loop of its own, as in a process of its own.
        code = await asyncio.to_thread(run, arguments)
        return Result(code, *capsys.readouterr())

    return dod
