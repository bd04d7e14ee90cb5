"""Subscriptions that name an erased patient: what is left of them, and for how long."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from store.mongo.subscriptions.forgetting import LASTING, NOBODY, forget_named
from tests.support.store import metrics
from tests.support.subscriptions import LAB, NOW, bench, kept

if TYPE_CHECKING:
    from store.mongo.driver.client import Database


async def test_one_that_named_a_patient_is_another_version_of_that_moment(database: Database) -> None:
    async with bench(database) as on:
        await on.store.create(kept(filters=("patient=Patient/p1",)))
        await on.store.create(kept("s2", filters=("patient=Patient/p2",)))
        later = NOW + timedelta(hours=1)

        def names_p1(text: bytes) -> bool:
            return b"Patient/p1" in text

        done = await forget_named(database, LAB, names_p1, now=later, metrics=metrics(), seconds=10)
        one, other = await on.get(), await on.get("s2")
    assert done == 1
    assert (one.version, one.updated, one.filters, one.ends) == (2, later, NOBODY, later + LASTING)
    assert other.filters == ("patient=Patient/p2",)
