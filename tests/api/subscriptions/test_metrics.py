"""Metrics of subscriptions: what waits, and what nobody waits for any more."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram

from api.subscriptions.metrics import SECONDS, SubscriptionMetrics, observe_all
from store.subscriptions.records import Progress, Status
from tests.support.subscriptions import NOW, kept


@pytest.mark.parametrize(
    ("changed", "seconds"),
    [
        ({}, 60),
        ({"status": Status.REQUESTED}, 60),
        ({"status": Status.ERROR}, 0),
        ({"status": Status.OFF}, 0),
        ({"paused": True}, 0),
        ({"progress": Progress(last=2, delivered=2)}, 0),
    ],
    ids=["active", "requested", "given up", "off", "paused", "delivered"],
)
def test_the_oldest_event_that_waits_is_of_those_that_are_sent_to(
    changed: dict[str, Any], seconds: int
) -> None:
    registry = CollectorRegistry()
    told, one = SubscriptionMetrics(registry), kept(**{"progress": Progress(last=2), **changed})
    told.waiting(one.name, NOW)
    told.measured([one], NOW + timedelta(minutes=1), circuits=0)
    assert registry.get_sample_value("dod_subscription_oldest_waiting_seconds") == seconds


@given(st.lists(st.sampled_from(SECONDS) | st.integers(0, 100_000).map(lambda seconds: seconds / 4)))
def test_values_observed_together_are_those_observed_one_by_one(values: list[float]) -> None:
    together, one_by_one = CollectorRegistry(), CollectorRegistry()
    observe_all(Histogram("seconds", "", buckets=SECONDS, registry=together), values)
    histogram = Histogram("seconds", "", buckets=SECONDS, registry=one_by_one)
    for value in values:
        histogram.observe(value)
    shown = [
        [
            (one.name, one.labels, pytest.approx(one.value))
            for one in family.samples
            if "created" not in one.name
        ]
        for registry in (together, one_by_one)
        for family in registry.collect()
    ]
    assert shown[0] == shown[1]
