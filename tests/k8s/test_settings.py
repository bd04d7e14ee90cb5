"""The settings in the Kubernetes base are ones that the service takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from api.http.routing import Group
from api.routes import routes
from api.settings.service import Settings, load_settings

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


def test_the_ingress_leads_to_each_path_that_a_role_serves() -> None:
    yaml = pytest.importorskip("yaml")
    ingress = yaml.safe_load_all(
        (K8S / "components" / "ingress" / "ingress.yaml").read_text(encoding="utf-8")
    )
    led: dict[str, list[tuple[str, str]]] = {
        one["metadata"]["labels"]["app.kubernetes.io/component"]: [
            (path["path"], path["pathType"]) for path in one["spec"]["rules"][0]["http"]["paths"]
        ]
        for one in ingress
    }
    own = {"query": {Group.READ, Group.SEARCH, Group.META}, "ingest": {Group.WRITE, Group.ADMIN}}
    missing = {
        (role, route.path)
        for role, groups in own.items()
        for route in routes()
        if route.group in groups
        and not any(
            route.path == path or (kind == "Prefix" and route.path.startswith(f"{path}/"))
            for path, kind in led[role]
        )
    }
    assert missing == set()


def test_each_setting_that_a_manifest_names_is_one() -> None:
    named = {
        name
        for path in K8S.rglob("*.yaml")
        for name in re.findall(r"\bDOD_[A-Z_]+[A-Z]\b", path.read_text(encoding="utf-8"))
    }
    assert {name.removeprefix("DOD_").lower() for name in named} <= set(Settings.model_fields)
