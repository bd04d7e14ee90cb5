"""The ports of the demo, and the hint where one that was asked for is taken."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from api.demo import run
from api.serve import port_hint
from api.settings.service import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_a_port_where_something_listens_is_not_free(taken: int) -> None:
    assert not run.is_free("127.0.0.1", taken)
    assert run.is_free("127.0.0.1", 0)


def test_another_port_is_taken_in_place_of_a_default_and_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "is_free", lambda _, port: port != 9090)
    assert run.ports_of(Settings()) == {"admin_port": 0}
    assert capsys.readouterr().out == (
        "Port 9090 is in use, so another one is taken; DOD_ADMIN_PORT names one.\n"
    )


def test_a_port_that_was_asked_for_stays(taken: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.ports_of(Settings(port=0, admin_port=taken)) == {}
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("level", "said"),
    [(None, "`--admin-port 9091` or DOD_ADMIN_PORT=9091"), ("1", "`make … ARGS='--admin-port 9091'`")],
)
def test_the_hint_fits_whoever_called(level: str | None, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MAKELEVEL", raising=False)
    if level is not None:
        monkeypatch.setenv("MAKELEVEL", level)
    assert port_hint("--admin-port", 9091).startswith(said)
