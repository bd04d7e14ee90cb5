"""Faults of the machine under the embedded MongoDB: one sentence, nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from pymongo.errors import PyMongoError

from store.errors import StartupError
from store.mongo.embedded import embedded
from tests.support.fhir import report
from tests.support.service import opened_service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SIZE = 700 * 1024**2
TAIL = "x" * 200_000


@contextmanager
def disk(place: Path) -> Iterator[Path]:
    """A small disk of its own."""
    place.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={SIZE},mode=700", "dod-tests", str(place)]
    if subprocess.run(["mount", *options], check=False, capture_output=True).returncode:  # noqa: S607
        pytest.skip("only root may mount a disk")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)  # noqa: S607


def remount(place: Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", str(place)], check=True)  # noqa: S607


def fill(place: Path, *, left: int) -> Path:
    """Use up the disk but for so much."""
    filler = place / "filler"
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(shutil.disk_usage(place).free - left, 1))
    return filler


async def test_a_full_disk_costs_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    acknowledged: list[str] = []
    with disk(tmp_path / "disk") as place:
        with suppress(StartupError, PyMongoError):
            async with (
                embedded(place / "data", role="serve") as mongod,
                opened_service(mongod.uri, store_timeout_seconds=3, access_cache_seconds=60) as service,
            ):
                assert (await service.put(report("first"))).status == 201
                acknowledged.append("first")
                filler = fill(place, left=20 * 1024**2)
                for number in range(400):
                    answer = await service.put(
                        report(f"r{number}", conclusion=f"{number}{os.urandom(100_000).hex()}")
                    )
                    if answer.status != 201:
                        assert answer.status in (500, 503, 504), answer.text
                        break
                    acknowledged.append(f"r{number}")
                else:
                    pytest.fail("the disk was never full")
                async with asyncio.timeout(60):
                    await asyncio.shield(mongod.exited)
                assert "No space left" in mongod.obituary(), mongod.obituary()
        assert len(acknowledged) > 1
        # Full still: the next start says why in one sentence, or recovers.
        with suppress(StartupError):
            async with embedded(place / "data", role="serve"):
                pass
        filler.unlink()
        async with (
            embedded(place / "data", role="serve") as mongod,
            opened_service(mongod.uri) as again,
        ):
            root = f"/fhir/R4/{service.tenant}"
            for name in acknowledged:
                answer = await again.request(
                    "GET",
                    str(again.client.make_url(f"{root}/DiagnosticReport/{name}")),
                    headers=service.headers,
                )
                assert answer.status == 200, name


async def test_a_disk_for_reading_alone_is_told(tmp_path: Path) -> None:
    with disk(tmp_path / "disk") as place:
        async with embedded(place / "data", role="serve"):
            pass
        remount(place, "ro")
        with pytest.raises(StartupError, match="cannot be written to"):
            async with embedded(place / "data", role="serve"):
                pytest.fail("started")


@pytest.mark.parametrize(("limit", "words"), [("-v 700000", "(`ulimit -v`)"), ("-n 64", "ulimit -n")])
def test_limits_of_the_shell_end_the_start_with_a_sentence(tmp_path: Path, limit: str, words: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DOD_")}
    serve = f"{sys.executable} -c 'from api.cli.main import main; main()' serve --port 0 --admin-port 0"
    ended = subprocess.run(
        ["/bin/sh", "-c", f"ulimit {limit}; exec {serve}"],
        env={**environment, "DOD_DATA_DIR": str(tmp_path / "data")},
        capture_output=True,
        timeout=100,
        check=False,
        text=True,
    )
    assert ended.returncode == 1, ended.stderr
    assert words in ended.stderr.splitlines()[-1], ended.stderr
    assert "Traceback" not in ended.stderr
