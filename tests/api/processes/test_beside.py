"""Folder of the sockets of further processes, and places where there can be none."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

import pytest

from api.processes.beside import FOLDER_MAX, folder

if TYPE_CHECKING:
    from pathlib import Path


def test_the_folder_goes_with_its_use() -> None:
    with folder() as place:
        assert place is not None
        (place / "socket").touch()
    assert not place.exists()


@pytest.mark.parametrize("name", ["nowhere", "x" * FOLDER_MAX])
def test_a_place_that_has_none_is_told(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    place = tmp_path / name
    if name != "nowhere":
        place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    with folder() as found:
        assert found is None
    assert "all is done in one process" in caplog.text
