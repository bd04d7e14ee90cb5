"""`dod source check`: a profile's faults, a message beside its resources, exit codes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from api.cli import main as cli
from api.commands.feeds.sources import check, profile_of
from ingest.hl7v2.profile import DEFAULT_PROFILE, SourceProfile
from store.errors import StartupError
from tests.support.hl7v2 import PID, message, obr, obx

if TYPE_CHECKING:
    from collections.abc import Callable

SAMPLES = Path(__file__).parents[4] / "samples"
CODE = "2823-3^Potassium^LN"


@pytest.fixture
def dod(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    def run(*words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["dod", "source", "check", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out + said.err

    return run


def test_a_message_stands_beside_what_it_becomes(dod: Callable[..., tuple[int, str]]) -> None:
    code, said = dod(str(SAMPLES / "hl7v2-source.toml"), "--sample", str(SAMPLES / "report.hl7"))
    assert code == 0
    assert "message 1: AA" in said
    assert "Patient.birthDate" in said
    assert '"value": 4.20,' in said
    assert dod(str(SAMPLES / "hl7v2-source.toml")) == (0, "The profile `made-up-laboratory` is sound.\n")


def test_a_message_that_would_be_refused_says_where_and_why(
    dod: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    sample = tmp_path / "sample.hl7"
    sample.write_bytes(
        message(PID, obr(status="Z"), obx(CODE, "MADE-UP-VALUE")) + message(PID, event="ADT^A99")
    )
    code, said = dod("--sample", str(sample), "--faults")
    assert code == 1
    assert "message 1: AE" in said
    assert "E OBR[1]-25: " in said
    assert "message 2: AR" in said
    assert "MADE-UP-VALUE" not in said


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("zone = 'Mars/Olympus'", "zone"),
        ("charset = 'KLINGON'", "charset"),
        ("colour = 'red'", "colour"),
        ("results = 'some'", "results"),
        ("[authorities]\nHOSP = 'no uri'", "authorities.HOSP"),
        ("[codes.L]\nK = { system = 'urn:x:y' }", "codes.L.K.code"),
        ("[report_statuses]\nV = 'done'", "report_statuses.V"),
        ("zone = \n", "line 1"),
        ("processing = ['X']", "processing.0"),
    ],
)
def test_a_profile_that_is_wrong_names_the_setting(
    dod: Callable[..., tuple[int, str]], tmp_path: Path, text: str, named: str
) -> None:
    file = tmp_path / "source.toml"
    file.write_text(text)
    code, said = dod(str(file))
    assert code == 1
    assert named in said
    assert "Traceback" not in said


def test_a_profile_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"nowhere\.toml"):
        profile_of(tmp_path / "nowhere.toml")


def test_the_sample_profile_says_something() -> None:
    profile = profile_of(SAMPLES / "hl7v2-source.toml")
    assert profile != DEFAULT_PROFILE
    assert isinstance(profile, SourceProfile)
    [found] = check(profile, message(PID, obr(f18="ACC-1"), obx("K^Kalium^WinPath", "4.0")))
    assert any("loinc.org" in text for kind, text in found.resources if kind == "Observation")
    assert any("ACSN" in text for kind, text in found.resources if kind == "DiagnosticReport")
