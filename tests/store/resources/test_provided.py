"""Writes that hold only while a stored record is who it was taken for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from store.errors import Category, ServiceError
from store.resources.resource_keys import ResourceKey
from store.resources.versions import ANOTHER_BY_NOW, Gone, Provided, Stored
from tests.support.fhir import MRN, identified, patient, report
from tests.support.store import LAB, REPORT, prepared, put

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from store.mongo.resources.resources import MongoResources
    from store.resources.resources import ResourceStore

ANNA = ResourceKey("Patient", "a")


def numbers(told: Mapping[str, Any] | None) -> list[str]:
    return [] if told is None else [value for _, _, value in told.get("numbers", ())]


def of(number: str | None) -> tuple[Provided, ...]:
    """Condition that the record has this number; None: that it is not there."""
    return (Provided(ANNA, lambda told: told is None if number is None else number in numbers(told)),)


async def alone(store: MongoResources, work: Callable[[ResourceStore], Any]) -> Any:
    return await work(store)


async def as_one(store: MongoResources, work: Callable[[ResourceStore], Any]) -> Any:
    return await store.atomically(work)


@pytest.mark.parametrize("way", [alone, as_one])
async def test_all_that_relies_on_a_record_is_refused_together(store: MongoResources, way: Any) -> None:
    anna, of_hers = patient("a", identified(MRN, "1")), report("r1", "a")

    def written(condition: tuple[Provided, ...]) -> Any:
        sent = [prepared(one, provided=condition) for one in (of_hers, anna)]
        return way(store, lambda within: within.put_many(LAB, sent))

    for there, condition in ((None, of("1")), ("2", of("1")), ("2", of(None))):
        if there is not None:
            await put(store, patient("a", identified(MRN, there)))
        with pytest.raises(ServiceError) as refused:
            await written(condition)
        assert (refused.value.category, refused.value.issues) == (Category.PRECONDITION, (ANOTHER_BY_NOW,))
        assert await store.get(LAB, REPORT) is None
    assert len(await written(of("2"))) == 2
    assert isinstance(await store.get(LAB, REPORT), Stored)


@pytest.mark.parametrize("way", [alone, as_one])
async def test_a_deletion_whose_condition_does_not_hold_does_nothing(store: MongoResources, way: Any) -> None:
    await put(store, patient("a", identified(MRN, "1")), report("r1", "a"))

    def deleted(condition: tuple[Provided, ...]) -> Any:
        return way(store, lambda within: within.delete(LAB, REPORT, provided=condition))

    assert await deleted(of("2")) is None
    assert isinstance(await store.get(LAB, REPORT), Stored)
    assert isinstance(await deleted(of("1")), Gone)
