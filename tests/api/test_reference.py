"""The pages under `docs/` say what the tables say, and name each metric that there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from api.app import create_app
from api.http.app_keys import REGISTRY
from api.reference import PAGES, all_metrics
from api.routes import routes
from api.settings.service import Settings, load_settings
from store.errors import StartupError
from store.metrics import StoreMetrics

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client.metrics_core import Metric

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SUFFIXES = {"counter": "_total", "info": "_info"}
MADE_BY = "Counter|Gauge|Histogram|Info|CounterMetricFamily"
SERIES_MAX = 4_000
"""Time series of a process that has not served anybody yet."""


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_make_docs_would_write(name: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == PAGES[name]()


def named(families: Iterable[Metric]) -> set[str]:
    return {one.name + SUFFIXES.get(one.type, "") for one in families}


def test_each_metric_that_the_code_names_is_on_the_page_and_the_other_way_round() -> None:
    files = [file for folder in ("api", "ingest", "store") for file in (ROOT / folder).rglob("*.py")]
    sources = [file.read_text() for file in files]
    in_code = {name for text in sources for name in re.findall(rf'(?:{MADE_BY})\(\s*"(\w+)"', text)}
    on_page = re.findall(r"^\| `(dod_\w+)`", (DOCS / "metrics.md").read_text(), re.MULTILINE)
    assert {bare(name) for name in in_code} == {bare(name) for name in on_page}


def bare(name: str) -> str:
    return name.removesuffix("_total").removesuffix("_info")


def idle() -> list[Metric]:
    """The metrics of a service that nobody has asked yet."""
    app = create_app(
        Settings(metric_sources="lab one, lab two"),
        routes=routes(),
        open_stores=lambda _: pytest.fail("opened"),
    )
    StoreMetrics(app[REGISTRY])
    return list(app[REGISTRY].collect())


def test_the_page_has_the_labels_of_a_metric_without_series() -> None:
    page = PAGES["metrics.md"]()
    assert "| `dod_http_requests_total` | counter | route, method, code |" in page
    assert "| `dod_http_request_duration_seconds` | histogram | route, method |" in page


def test_what_a_service_has_is_on_the_page() -> None:
    assert named(idle()) <= named(all_metrics().collect())


def test_series_are_there_from_the_start_and_few() -> None:
    families = idle()
    assert sum(len(one.samples) for one in families) < SERIES_MAX
    unseen = {one.name for one in families if not one.samples}
    # By code of an issue, and by operation: their values come with what happens.
    # Those of HL7 v2 by source and listener: there are none.
    feeds = {one.name for one in families if one.name.startswith(("dod_hl7v2", "dod_mllp"))}
    assert unseen == {"dod_dead_letters", "dod_store_operation_duration_seconds", *feeds}
    sources = {s.labels["source"] for one in families if one.name == "dod_source_pushes" for s in one.samples}
    assert sources == {"lab one", "lab two", "other"}


def test_sources_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOD_METRIC_SOURCES", ",".join(map(str, range(51))))
    with pytest.raises(StartupError, match="at most 50"):
        load_settings()
