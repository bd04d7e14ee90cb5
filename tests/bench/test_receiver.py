"""The benchmark's receiver measures from the change to the arrival, by the notification itself."""

from __future__ import annotations

import orjson

from bench.subscriptions.receiver import Notifications, moments


def event(instant: str) -> dict[str, object]:
    number = {"name": "event-number", "valueString": "1"}
    return {"name": "notification-event", "part": [number, {"name": "timestamp", "valueInstant": instant}]}


def notification(*instants: str) -> dict[str, object]:
    kind = {"name": "type", "valueCode": "event-notification"}
    status = {"resourceType": "Parameters", "parameter": [kind, *map(event, instants)]}
    return {"resourceType": "Bundle", "entry": [{"resource": status}]}


def test_moments_are_those_of_the_events() -> None:
    assert moments(notification("1970-01-01T00:00:01.5Z", "1970-01-01T02:00:02+02:00")) == [1.5, 2.0]
    assert moments(notification()) == []


def test_what_was_told_is_forgotten() -> None:
    some = Notifications()
    some.came(orjson.dumps(notification()))
    some.came(orjson.dumps(notification("1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z")))
    told = orjson.loads(some.told())
    assert (told["events"], told["notifications"]) == (2, 2)
    assert told["p50"] > 0
    assert orjson.loads(some.told())["events"] == 0
