"""The settings in the Kubernetes base are ones that the service takes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from api.settings.service import Settings, load_settings

if TYPE_CHECKING:
    import pytest

K8S = Path(__file__).parents[2] / "k8s"
CONFIG_MAP = K8S / "base" / "configmap.yaml"


def test_the_config_map_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    text = CONFIG_MAP.read_text(encoding="utf-8")
    given = re.findall(r'^  (DOD_[A-Z_]+): "?([^"#\n]*?)"?$', text, re.MULTILINE)
    assert given
    for name, value in given:
        if name != "DOD_SECRETS_DIR":  # Its folder exists in the pod alone.
            monkeypatch.setenv(name, value)
    settings = load_settings()  # Refuses what it does not know, and values that are not taken.
    assert (settings.log_level, settings.admin_host) == ("INFO", "0.0.0.0")  # noqa: S104 -- as the pod needs it


def test_each_setting_that_a_manifest_names_is_one() -> None:
    named = {
        name
        for path in K8S.rglob("*.yaml")
        for name in re.findall(r"\bDOD_[A-Z_]+[A-Z]\b", path.read_text(encoding="utf-8"))
    }
    assert {name.removeprefix("DOD_").lower() for name in named} <= set(Settings.model_fields)
