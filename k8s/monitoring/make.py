"""Write what is made of the rules and of the table below, for Prometheus's operator and for Grafana.

`make monitoring` calls it; a test compares what stands there with what it would write.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import yaml

HERE = Path(__file__).parent
COMPONENT = HERE.parent / "components" / "monitoring"
MADE = "# Made by `make monitoring` from k8s/monitoring. Do not edit.\n"
WIDTH, HEIGHT = 8, 8
"""Size of a panel, in Grafana's grid of 24 columns."""


class Panel(NamedTuple):
    """A picture: queries by legend."""

    title: str
    unit: str
    queries: dict[str, str]
    text: str = ""


def quantiles(metric: str, by: str = "") -> dict[str, str]:
    """Median and 99th percentile of a histogram, by a label."""
    labels, legend = (f"le, {by}", f"{{{{{by}}}}} ") if by else ("le", "")
    return {
        f"{legend}p{share}": f"histogram_quantile(0.{share},"
        f" sum by ({labels}) (rate({metric}_bucket[$__rate_interval])))"
        for share in ("50", "99")
    }


def rate(metric: str, by: str, select: str = "") -> dict[str, str]:
    """Events a second by a label."""
    return {f"{{{{{by}}}}}": f"sum by ({by}) (rate({metric}{select}[$__rate_interval]))"}


SEARCH = '{route=~"search.*|query"}'
ROWS: dict[str, list[Panel]] = {
    "Users": [
        Panel("Requests by interaction", "reqps", rate("dod_http_requests_total", "route")),
        Panel(
            "Answers that are our fault",
            "reqps",
            rate("dod_http_requests_total", "code", '{code=~"5.."}'),
            "503 is no room or no database, 504 too long, 500 a fault of the service.",
        ),
        Panel("Seconds by interaction", "s", quantiles("dod_http_request_duration_seconds", "route")),
        Panel(
            "Part of the month's budget burnt, an hour's pace",
            "percentunit",
            {
                "searches": "dod:search_errors:ratio_rate1h / 0.001",
                "pushes": "dod:push_errors:ratio_rate1h / 0.001",
                "slow searches": "dod:search_slow:ratio_rate1h / 0.01",
            },
            "Above 1 the budget does not last the month; above 14.4 somebody is called.",
        ),
        Panel("Requests under way", "short", {"requests": "sum(dod_http_requests_in_flight)"}),
        Panel(
            "Replicas",
            "short",
            {"processes": "sum(dod_build_info)", "away": "sum(dod_store_available == bool 0)"},
        ),
    ],
    "Pushes": [
        Panel("Resources by outcome", "ops", rate("dod_ingest_resources_total", "outcome")),
        Panel("Pushes by source", "ops", rate("dod_source_pushes_total", "source")),
        Panel("Deviations from R4 that were mended", "ops", rate("dod_ingest_tolerances_total", "tolerance")),
        Panel("Seconds by part of a push", "s", quantiles("dod_ingest_phase_seconds", "phase")),
        Panel("Wait for a group commit", "s", quantiles("dod_store_commit_wait_seconds")),
        Panel("Pushes in a group commit", "short", quantiles("dod_store_commit_size")),
        Panel("Pushes that wait", "short", {"pushes": "sum(dod_store_commit_queue)"}),
        Panel("Pushes refused for want of room", "ops", rate("dod_store_pushes_rejected_total", "reason")),
        Panel("Open dead letters", "short", {"letters": "max(dod_dead_letters_open)"}),
        Panel("Doubts about who is who", "ops", rate("dod_ingest_identities_total", "finding")),
    ],
    "Searches and the store": [
        Panel("Seconds by part of a search", "s", quantiles("dod_search_phase_seconds", "phase")),
        Panel("Wait for a thread", "s", quantiles("dod_store_read_wait_seconds")),
        Panel("Store operations", "s", quantiles("dod_store_operation_duration_seconds", "operation")),
        Panel(
            "Store operations that failed",
            "ops",
            rate("dod_store_operation_duration_seconds_count", "outcome", '{outcome!="ok"}'),
        ),
        Panel(
            "Connections to MongoDB",
            "short",
            {
                "open": "sum(dod_store_connections)",
                "in use": "sum(dod_store_connections_in_use)",
                "at most": "sum(dod_store_connections_max)",
            },
        ),
        Panel("Searches that wait", "short", {"searches": "sum(dod_store_reads_waiting)"}),
    ],
    "Processes": [
        Panel("Lag of the event loop", "s", quantiles("dod_event_loop_lag_seconds")),
        Panel("Processors", "short", {"{{instance}}": "rate(process_cpu_seconds_total[$__rate_interval])"}),
        Panel("Memory", "bytes", {"{{instance}}": "process_resident_memory_bytes"}),
        Panel("Open files", "short", {"{{instance}}": "process_open_fds"}),
        Panel("Log lines lost", "ops", {"lines": "sum(rate(dod_log_lines_lost_total[$__rate_interval]))"}),
        Panel("Versions", "short", {"{{version}}": "count by (version) (dod_build_info)"}),
    ],
    "The change feed": [
        Panel("Changes by kind", "ops", rate("dod_changes_total", "kind")),
        Panel("Behind", "s", {"age": "max(dod_changes_behind_seconds)"}),
        Panel("From commit to feed", "s", quantiles("dod_changes_lag_seconds")),
        Panel("Listeners", "short", {"listeners": "sum(dod_changes_listeners)"}),
    ],
    "Forgetting": [
        Panel("Deleted by reason", "ops", rate("dod_retention_deleted_total", "reason")),
        Panel("Overdue", "short", {"documents": "max(dod_retention_overdue)"}),
        Panel("Age of the oldest overdue", "s", {"age": "max(dod_retention_oldest_overdue_seconds)"}),
        Panel(
            "Since the last complete sweep",
            "s",
            {"time": "time() - max(dod_retention_last_success_timestamp_seconds > 0)"},
        ),
    ],
}
"""Rows of panels, from what users feel down to the machine."""


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana reads it."""
    panels: list[dict[str, Any]] = []
    top = 0
    for title, row in ROWS.items():
        panels.append({"type": "row", "title": title, "id": len(panels) + 1, "gridPos": _at(0, top, 24, 1)})
        top += 1
        for number, panel in enumerate(row):
            left = number % (24 // WIDTH) * WIDTH
            panels.append(_panel(panel, len(panels) + 1, _at(left, top, WIDTH, HEIGHT)))
            if left + WIDTH == 24 or number + 1 == len(row):
                top += HEIGHT
    variable = {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"}
    return {
        "uid": "data-on-demand",
        "title": "data on demand",
        "tags": ["fhir", "data-on-demand"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": [variable]},
        "panels": panels,
    }


def _at(left: int, top: int, width: int, height: int) -> dict[str, int]:
    return {"x": left, "y": top, "w": width, "h": height}


def _panel(panel: Panel, number: int, at: dict[str, int]) -> dict[str, Any]:
    source = {"type": "prometheus", "uid": "${datasource}"}
    targets = [
        {"refId": chr(ord("A") + place), "expr": query, "legendFormat": legend, "datasource": source}
        for place, (legend, query) in enumerate(panel.queries.items())
    ]
    return {
        "type": "timeseries",
        "id": number,
        "title": panel.title,
        "description": panel.text,
        "datasource": source,
        "gridPos": at,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": targets,
    }


def prometheus_rule() -> str:
    """The rules as a PrometheusRule of the operator."""
    groups = yaml.safe_load((HERE / "rules.yaml").read_text(encoding="utf-8"))
    manifest = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "data-on-demand", "labels": {"app.kubernetes.io/name": "data-on-demand"}},
        "spec": groups,
    }
    return MADE + yaml.safe_dump(manifest, sort_keys=False, width=100)


def files() -> dict[Path, str]:
    """Files to write, by path."""
    return {
        COMPONENT / "prometheusrule.yaml": prometheus_rule(),
        COMPONENT / "dashboard.json": json.dumps(dashboard(), indent=1) + "\n",
    }


def main() -> None:
    """Write them."""
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
