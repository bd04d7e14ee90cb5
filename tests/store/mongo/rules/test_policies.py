"""Policies on a real MongoDB: the current one, all that there were, and what a writer remembers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from store.errors import Category, ServiceError
from store.mongo.rules.policies import Policies, from_document, to_document
from store.retention.policy import KEEPS_ALL, CountedFrom, Policy, Rule
from store.settings import StoreSettings
from tests.support.store import LAB, NOW, OTHER, metrics, mongo_policies

if TYPE_CHECKING:
    from store.mongo.driver.client import Database

RICH = Policy(
    made_at=NOW,
    keep_days=10,
    counted_from=CountedFrom.ISSUED,
    rules=(Rule(None, CountedFrom.EFFECTIVE, "Observation", ("lab",), ("final", "amended")), Rule(3)),
    superseded_days=1,
    dead_letter_days=2,
    audit_days=3,
    page_token_days=4,
    idempotency_days=5,
    erasure_days=6,
)


def test_a_policy_comes_back_as_it_was() -> None:
    assert from_document(to_document(RICH)) == RICH


async def test_each_change_is_a_version(database: Database) -> None:
    policies = mongo_policies(database)
    assert await policies.retention(LAB) == KEEPS_ALL
    first = await policies.put(LAB, RICH, instead_of=0)
    second = await policies.put(LAB, Policy(keep_days=5), instead_of=1)
    assert (first, second) == (RICH._replace(version=1), Policy(version=2, keep_days=5))
    assert (await policies.retention(LAB)).policy == second
    assert await policies.versions(LAB) == (second, first)
    assert (await policies.retention(OTHER), await policies.versions(OTHER)) == (KEEPS_ALL, ())


@pytest.mark.parametrize("instead_of", [0, 2])
async def test_two_at_the_same_time_do_not_overwrite_one_another(database: Database, instead_of: int) -> None:
    policies = mongo_policies(database)
    await policies.put(LAB, RICH, instead_of=0)
    with pytest.raises(ServiceError) as refused:
        await policies.put(LAB, Policy(), instead_of=instead_of)
    assert refused.value.category is Category.CONFLICT
    assert (await policies.retention(LAB)).policy == RICH._replace(version=1)


async def test_a_policy_is_current_and_kept_for_good_or_neither(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Receipts name the version by which something ended: none may be missing after a crash."""
    policies = mongo_policies(database)
    first = await policies.put(LAB, Policy(keep_days=5), instead_of=0)

    async def killed(*_: object, **__: object) -> None:
        raise InterruptedError

    with monkeypatch.context() as patched:
        patched.setattr(policies._plain_policies, "replace_one", killed)
        with pytest.raises(InterruptedError):
            await policies.put(LAB, RICH, instead_of=1)
    assert (await policies.retention(LAB)).policy == first
    assert await policies.versions(LAB) == (first,)


UNMADE = KEEPS_ALL._replace(made=False)


async def test_a_writer_asks_again_after_a_moment(database: Database) -> None:
    now = [0.0]
    settings = StoreSettings(mongodb_database=database.name, policy_cache_seconds=2)
    writer = Policies(database, settings=settings, metrics=metrics(), monotonic=lambda: now[0])
    assert await writer.of([str(LAB)]) == {str(LAB): UNMADE}
    made = await mongo_policies(database).put(LAB, RICH, instead_of=0)
    now[0] = 1.9
    assert await writer.of([str(LAB)]) == {str(LAB): UNMADE}
    now[0] = 2.0
    both = await writer.of([str(LAB), str(OTHER)])
    assert (both[str(LAB)].policy, both[str(OTHER)]) == (made, UNMADE)
