"""`dod remap`: kept messages mapped anew, once for each report, without a version where nothing changed."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from api.cli import main as cli
from api.commands.feeds.remap_journal import RemapJournal
from tests.support.mllp import connected, fed_service, oru
from tests.support.service import DATABASE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def dod(
    mongodb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., str]:
    monkeypatch.setenv("DOD_MONGODB_URI", mongodb)
    monkeypatch.setenv("DOD_MONGODB_DATABASE", DATABASE)
    monkeypatch.setenv("DOD_DATA_DIR", str(tmp_path / "dod"))

    def run(*words: str, profile: Path | None = None) -> str:
        monkeypatch.setenv("DOD_MLLP_PROFILE", str(profile or ""))
        monkeypatch.setattr(sys, "argv", ["dod", *words])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return f"{ended.value.code or 0} {out}{err}"

    return run


async def test_a_changed_profile_is_applied_to_what_came_before(
    mongodb: str, dod: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = tmp_path / "lab.toml"
    profile.write_text('name = "lab"\n[authorities]\nHOSP = "urn:hospital"\n')
    async with fed_service(mongodb) as (service, port), connected(port) as sender:
        await sender.send(oru())
        service.clock.move(seconds=1)
        await sender.send(oru("M-2", value="6.0", status="C", time="20261122113000"))
        await sender.send(oru("M-3", patient="P-2", filler="F-2"))
        words = ("remap", "--tenant", str(service.tenant))
        same = await asyncio.to_thread(dod, *words)
        assert same == "0 3 messages: 0 changed, 2 unchanged, 1 superseded, 0 refused, 0 gone\n"
        done = await asyncio.to_thread(dod, *words, profile=profile)
        assert done == "0 3 messages: 2 changed, 0 unchanged, 1 superseded, 0 refused, 0 gone\n"
        service.clock.now = datetime.now(UTC) + timedelta(days=1)  # The command has the time of day.
        for patient in ("P-1", "P-2"):
            assert len((await service.search(f"patient.identifier=urn:hospital|{patient}")).ids) == 1
            assert len((await service.search(f"patient.identifier={patient}")).ids) == 1
        [newest] = (await service.search("patient.identifier=P-1", type="Observation")).matches
        assert newest["resource"]["valueQuantity"]["value"] == 6.0
        again = await asyncio.to_thread(dod, *words, profile=profile)
        assert again.startswith("0 3 messages: 0 changed, 2 unchanged")
        # A run that is stopped goes on where it was; a torn line, or another profile, is no evidence.
        journal = tmp_path / "dod" / "remap.journal"
        assert not journal.exists()
        lines: list[str] = []
        with monkeypatch.context() as patch:
            patch.setattr(RemapJournal, "end", lambda _: lines.extend(journal.read_text().splitlines(True)))
            await asyncio.to_thread(dod, *words, profile=profile)
        assert [len(line.split()) for line in lines] == [1, 2, 2]
        journal.write_text("".join(lines[:2]) + lines[2][:-9])
        go_on = await asyncio.to_thread(dod, *words, profile=profile)
        assert go_on == (
            "0 3 messages: 0 changed, 1 unchanged, 1 superseded, 0 refused, 0 gone,"
            " 1 mapped by an earlier run\n"
        )
        for more in ((), ("--fresh",)):
            journal.write_text("".join(lines[:2]) if more else "another\n" + lines[1])
            anew = await asyncio.to_thread(dod, *words, *more, profile=profile)
            assert anew.startswith("0 3 messages: 0 changed, 2 unchanged"), more
        other = await asyncio.to_thread(dod, *words, "--source", "other")
        assert other.startswith("0 0 messages")
