"""Metrics of subscriptions: what waits, and what nobody waits for any more."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from api.subscriptions.metrics import SubscriptionMetrics
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
