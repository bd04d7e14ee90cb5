"""Alert rules: they ask for metrics that are there, fire at their fault, clear after it, are explained."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from api.http.routing import Group
from api.reference import all_metrics
from api.routes import routes
from tests.monitoring.rule_cases import CASES, Case

yaml = pytest.importorskip("yaml")
ROOT = Path(__file__).parents[2]
RULES = ROOT / "k8s" / "monitoring" / "rules.yaml"
ELSEWHERE = {"up", "mongodb_rs_members_optimeDate", "mongodb_rs_members_health"}
"""Series of Prometheus itself and of MongoDB's exporter."""
needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")


@cache
def rules() -> tuple[dict[str, Any], ...]:
    return tuple(rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"])


ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}
RECORDS = {rule["record"] for rule in rules() if "record" in rule}


@pytest.mark.parametrize("rule", ALERTS.values(), ids=list(ALERTS))
def test_an_alert_says_how_bad_it_is_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule.keys() == {"alert", "expr", "for", "labels", "annotations"}
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    assert f"\n### {rule['alert']}\n" in (ROOT / page).read_text(encoding="utf-8")
    assert anchor == rule["alert"].lower()


@cache
def series_there() -> set[str]:
    """Names of all series, which take a tenth of a second to make."""
    there = {sample.name for metric in all_metrics().collect() for sample in metric.samples}
    for metric in all_metrics().collect():
        there |= {metric.name + suffix for suffix in ("", "_total", "_bucket", "_sum", "_count", "_info")}
    return there | RECORDS | ELSEWHERE


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_asks_for_series_that_there_are(rule: dict[str, Any]) -> None:
    asked = set(re.findall(r"\b(?:dod[:_]|process_|mongodb_)[\w:]+|\bup\b", rule["expr"]))
    assert asked
    assert asked <= series_there()


@pytest.mark.parametrize(
    ("record", "group", "others"),
    [
        ("dod:push_requests:rate1h", Group.WRITE, {"verify"}),
        ("dod:search_requests:rate1h", Group.SEARCH, {"everything", "everything-post"}),
    ],
    ids=["pushes", "searches"],
)
def test_an_objective_is_of_all_its_routes(record: str, group: Group, others: set[str]) -> None:
    """Subscriptions are kept by few writes; a person's data may take as long as there is of them."""
    [rule] = [rule for rule in rules() if rule.get("record") == record]
    [pattern] = set(re.findall(r'route=~"([^"]*)"', rule["expr"]))
    counted = {one.name for one in routes() if re.fullmatch(pattern, one.name)}
    mine = {one.name for one in routes() if one.group is group and "{type:Subscription}" not in one.path}
    assert counted == mine - others


def test_each_alert_has_a_case() -> None:
    assert {case.alert for case in CASES} == set(ALERTS)


@needs_promtool
def test_promtool_reads_the_rules() -> None:
    done = promtool("check", "rules", str(RULES))
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_each_alert_fires_at_its_fault_and_clears_after_it(tmp_path: Path) -> None:
    files = [promtool_test(case, tmp_path) for case in CASES]
    done = promtool("test", "rules", *files)
    assert done.returncode == 0, done.stdout + done.stderr


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["promtool", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def promtool_test(case: Case, folder: Path) -> str:
    """A file with the test of one alert, beside one with its rule and what that is made of."""
    rule = ALERTS[case.alert]
    made_of = [other for other in rules() if "record" in other and other["record"] in rule["expr"]]
    name = f"{case.alert}-{case.fires_at}"
    only = folder / f"{name}.rules"
    only.write_text(json.dumps({"groups": [{"name": "only", "rules": [*made_of, rule]}]}))  # JSON is YAML.
    fires = {"exp_labels": {**rule["labels"], **case.labels}, "exp_annotations": rule["annotations"]}
    test = {
        "interval": case.interval,
        "input_series": [{"series": name, "values": values} for name, values in case.series.items()],
        "alert_rule_test": [
            {"eval_time": at, "alertname": case.alert, "exp_alerts": [fires] if at == case.fires_at else []}
            for at in (case.quiet_at, case.fires_at, case.clear_at)
        ],
    }
    file = folder / f"{name}.test"
    whole = {"rule_files": [str(only)], "evaluation_interval": case.interval, "tests": [test]}
    file.write_text(json.dumps(whole))
    return str(file)
