"""The pages under `docs/` say what the tables say, and the operations page names each metric."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from api.metrics import ApiMetrics
from api.reference import PAGES
from ingest.metrics import IngestMetrics
from store.metrics import StoreMetrics

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_make_docs_would_write(name: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == PAGES[name]()


def test_each_metric_is_documented() -> None:
    registry = CollectorRegistry()
    for metrics in (ApiMetrics, IngestMetrics, StoreMetrics):
        metrics(registry)
    page = (DOCS / "operations.md").read_text(encoding="utf-8")
    suffixes = {"counter": "_total", "info": "_info"}
    names = [metric.name + suffixes.get(metric.type, "") for metric in registry.collect()]
    assert names
    assert [name for name in names if f"`{name}`" not in page] == []
