"""Alert rules: they ask for metrics that are there and, says promtool where it is, fire when they should."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from store.retention.metrics import OUTCOMES, RetentionMetrics

yaml = pytest.importorskip("yaml")
FOLDER = Path(__file__).parent.parent / "k8s" / "alerts"
RULES = FOLDER / "retention.yaml"


def rules() -> list[dict[str, Any]]:
    [group] = yaml.safe_load(RULES.read_text())["groups"]
    assert group.keys() == {"name", "rules"}
    assert isinstance(group["rules"], list)
    return group["rules"]


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_a_rule_is_of_the_shape_that_prometheus_reads(rule: dict[str, Any]) -> None:
    assert rule.keys() == {"alert", "expr", "for", "labels", "annotations"}
    assert re.fullmatch(r"[A-Za-z]+", rule["alert"])
    assert re.fullmatch(r"\d+[mh]", rule["for"])
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert rule["annotations"].keys() == {"summary", "description"}
    assert rule["expr"].count("(") == rule["expr"].count(")")


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_a_rule_asks_for_metrics_that_there_are(rule: dict[str, Any]) -> None:
    registry = CollectorRegistry()
    RetentionMetrics(registry)
    there = {sample.name for metric in registry.collect() for sample in metric.samples}
    there |= {f"{metric.name}_total" for metric in registry.collect() if metric.type == "counter"}
    asked = set(re.findall(r"dod_[a-z_]+", rule["expr"]))
    assert asked
    assert asked <= there
    assert set(re.findall(r'outcome="([a-z-]+)"', rule["expr"])) <= set(OUTCOMES)


def test_every_rule_is_in_the_operations_page() -> None:
    page = (FOLDER.parent.parent / "docs" / "operations.md").read_text()
    assert all(f"`{rule['alert']}`" in page for rule in rules())


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
@pytest.mark.parametrize(
    "arguments", [("check", "rules", "retention.yaml"), ("test", "rules", "retention_test.yaml")]
)
def test_promtool_agrees(arguments: tuple[str, ...]) -> None:
    done = subprocess.run(["promtool", *arguments], cwd=FOLDER, capture_output=True, text=True, check=False)  # noqa: S607
    assert done.returncode == 0, done.stdout + done.stderr
