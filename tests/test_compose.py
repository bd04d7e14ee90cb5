"""compose.yaml beside its schema, which `make files` checks: its mounts, its ports, Prometheus."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

ROOT = Path(__file__).parents[1]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def test_what_is_mounted_is_there() -> None:
    mounts = [one for service in SERVICES.values() for one in service.get("volumes", [])]
    for source in (one.split(":")[0] for one in mounts):
        assert (ROOT / source).is_file() if source.startswith("./") else source in COMPOSE["volumes"], source


def test_only_this_machine_reaches_it() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(ports) == 3
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert SERVICES["mongodb"]["networks"] == ["inside"]
    assert COMPOSE["networks"]["inside"]["internal"] is True
    assert not any(port.endswith(":9090") for port in SERVICES["dod"]["ports"])  # The admin port.


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool: Debian's package prometheus")
def test_prometheus_takes_its_configuration(tmp_path: Path) -> None:
    shutil.copy(ROOT / "compose" / "prometheus.yml", tmp_path)
    shutil.copy(ROOT / "k8s" / "monitoring" / "rules.yaml", tmp_path)
    promtool = shutil.which("promtool")
    assert promtool is not None
    subprocess.run([promtool, "check", "config", str(tmp_path / "prometheus.yml")], check=True)
