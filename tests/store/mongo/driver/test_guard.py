"""Translation of the driver's exceptions: the category; no word of them leaves."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry
from pymongo import errors

from store.errors import Category, ServiceError
from store.metrics import StoreMetrics
from store.mongo.driver.guard import LEAST_SECONDS, bounded, guarded, translate, within

SENTINEL = "sentinel-7391"


def retryable() -> errors.PyMongoError:
    error = errors.OperationFailure(SENTINEL, 91)
    error._add_error_label("RetryableWriteError")
    return error


def bulk(*written: int, concern: tuple[int, ...] = ()) -> errors.PyMongoError:
    said = {"writeErrors": written, "writeConcernErrors": concern}
    details = {name: [{"code": code, "errmsg": SENTINEL} for code in codes] for name, codes in said.items()}
    return errors.BulkWriteError(details)


CASES = [
    (bulk(concern=(11602,)), Category.UNAVAILABLE, "transient"),
    (bulk(concern=(189,)), Category.UNAVAILABLE, "transient"),
    (bulk(concern=(64,)), Category.TIMEOUT, "timeout"),
    (bulk(10107, 10107), Category.UNAVAILABLE, "transient"),
    (bulk(11602, concern=(64,)), Category.UNAVAILABLE, "transient"),
    (bulk(10107, 2), Category.FAULT, "exception"),
    (bulk(2, concern=(189,)), Category.FAULT, "exception"),
    (errors.WriteConcernError(SENTINEL, 189), Category.UNAVAILABLE, "transient"),
    (errors.OperationFailure(SENTINEL, 11600), Category.UNAVAILABLE, "transient"),
    (errors.OperationFailure(SENTINEL, 134), Category.UNAVAILABLE, "transient"),
    (errors.DocumentTooLarge(SENTINEL), Category.TOO_LARGE, "too-long"),
    (errors.ExecutionTimeout(SENTINEL, 50), Category.TIMEOUT, "timeout"),
    (errors.NetworkTimeout(SENTINEL), Category.TIMEOUT, "timeout"),
    (errors.WTimeoutError(SENTINEL, 64), Category.TIMEOUT, "timeout"),
    (errors.WaitQueueTimeoutError(SENTINEL), Category.TIMEOUT, "timeout"),
    (errors.AutoReconnect(SENTINEL), Category.UNAVAILABLE, "transient"),
    (errors.NotPrimaryError(SENTINEL), Category.UNAVAILABLE, "transient"),
    (errors.ServerSelectionTimeoutError(SENTINEL), Category.UNAVAILABLE, "transient"),
    (retryable(), Category.UNAVAILABLE, "transient"),
    (errors.DuplicateKeyError(SENTINEL, 11000), Category.FAULT, "exception"),
    (errors.OperationFailure(SENTINEL, 2), Category.FAULT, "exception"),
    (errors.OperationFailure(SENTINEL, 50), Category.TIMEOUT, "timeout"),
    (errors.InvalidOperation(SENTINEL), Category.FAULT, "exception"),
    (errors.PyMongoError(SENTINEL), Category.FAULT, "exception"),
    (
        errors.BulkWriteError({"writeErrors": [{"code": 11000, "errmsg": SENTINEL}]}),
        Category.FAULT,
        "exception",
    ),
]


@pytest.mark.parametrize(("error", "category", "code"), CASES, ids=[type(case[0]).__name__ for case in CASES])
def test_translate(error: errors.PyMongoError, category: Category, code: str) -> None:
    translated = translate(error)
    assert (translated.category, [issue.code for issue in translated.issues]) == (category, [code])
    assert SENTINEL not in str(translated)


def outcome_counts(registry: CollectorRegistry) -> dict[str, float]:
    return {
        sample.labels["outcome"]: sample.value
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name == "dod_store_operation_duration_seconds_count"
    }


def test_guarded_counts_and_translates() -> None:
    registry = CollectorRegistry()
    metrics = StoreMetrics(registry)
    with guarded(metrics, "get", seconds=1):
        pass
    with pytest.raises(ServiceError) as caught, guarded(metrics, "get", seconds=1):
        raise errors.NetworkTimeout(SENTINEL)
    assert isinstance(caught.value.__cause__, errors.NetworkTimeout)
    assert outcome_counts(registry) == {"ok": 1, "timeout": 1}


def test_a_refusal_of_our_own_passes_as_it_is() -> None:
    ours = ServiceError(Category.PRECONDITION)
    with pytest.raises(ServiceError) as caught, guarded(StoreMetrics(CollectorRegistry()), "put", seconds=1):
        raise ours
    assert caught.value is ours


async def test_a_deadline_around_several_operations_bounds_each() -> None:
    assert bounded(5) == 5
    with within(1):
        assert 0.5 < bounded(5) <= 1
        assert bounded(0.2) == 0.2
        with within(60):
            assert bounded(5) <= 1
    assert bounded(5) == 5
    with within(-1):
        assert bounded(5) == LEAST_SECONDS, "the driver takes 0 for `without end`"
