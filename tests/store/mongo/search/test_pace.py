"""Clients with slow searches, by the mean of their last ones."""

from __future__ import annotations

import threading

import pytest

from store.errors import Category, ServiceError
from store.fair import Asker
from store.mongo.search.pace import LATELY_SECONDS, REMEMBERED_MAX, REST_MAX, Company, Pace, Restraint
from store.mongo.search.searches import Searches
from store.settings import StoreSettings
from tests.support.fhir import report
from tests.support.service import opened_service

NOISY, CALM = Asker("a", "noisy"), Asker("b", "calm")


def test_a_client_is_slow_by_the_mean_of_its_searches() -> None:
    pace = Pace(slow_seconds=0.2)
    for _ in range(20):
        pace.took(CALM, 0.01)
        pace.took(NOISY, 0.5)
    assert (pace.is_slow(NOISY), pace.is_slow(CALM)) == (True, False)
    # A database that stands still once makes nobody slow.
    pace.took(CALM, 1.0)
    assert not pace.is_slow(CALM)
    for _ in range(15):
        pace.took(NOISY, 0.01)
    assert not pace.is_slow(NOISY)


def test_as_many_are_remembered_as_there_is_room_for() -> None:
    pace = Pace(slow_seconds=0.2)
    for number in range(REMEMBERED_MAX + 1):
        pace.took(Asker("t", str(number)), 5.0)
    assert not pace.is_slow(Asker("t", "0"))
    assert pace.is_slow(Asker("t", "1"))
    assert pace.is_slow(Asker("t", str(REMEMBERED_MAX)))


def test_a_client_has_the_database_for_itself_or_not() -> None:
    now = [0.0]
    company = Company(now=lambda: now[0])
    third = Asker("c", "third")
    assert not company.is_kept_by(NOISY)
    company.came(NOISY)
    assert (company.is_kept_by(NOISY), company.is_kept_by(CALM)) == (False, True)
    for asker in (CALM, third, NOISY):
        company.came(asker)
        now[0] += 0.1
    assert all(map(company.is_kept_by, (NOISY, CALM, third)))
    company.came(NOISY)
    now[0] += LATELY_SECONDS
    assert (company.is_kept_by(NOISY), company.is_kept_by(CALM)) == (False, True)
    now[0] += 0.1
    assert not company.is_kept_by(CALM)


async def test_searches_of_a_slow_client_share_no_turn_with_others(
    mongodb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: dict[str, str] = {}
    take = Searches.take

    def taken(self: Searches, search: object, seconds: float) -> object:
        name = threading.current_thread().name.rpartition("_")[0]
        threads[search.asker.client.partition(" ")[0]] = name  # type: ignore[attr-defined]
        return take(self, search, seconds)  # type: ignore[arg-type]

    monkeypatch.setattr(Searches, "take", taken)
    async with opened_service(mongodb, search_slow_seconds=0.000_001) as service:
        await service.load(report("r1"))
        for _ in range(2):
            assert (await service.search("patient=p1")).ids == ["r1"]
    assert set(threads.values()) == {"search-slow"}
    async with opened_service(mongodb) as service:
        await service.load(report("r1"))
        for _ in range(2):
            assert (await service.search("patient=p1")).ids == ["r1"]
    assert set(threads.values()) == {"search"}


def test_a_client_is_restrained_beside_others_alone() -> None:
    settings = StoreSettings(search_slow_beside_max=2, search_slow_rest=3.0)
    restraint = Restraint(settings, alone=4)
    restraint.came(NOISY)
    assert (restraint.most(NOISY), restraint.rest(NOISY, 0.25)) == (4, 0.0)
    restraint.came(CALM)
    assert (restraint.most(NOISY), restraint.rest(NOISY, 0.25)) == (2, 0.75)
    assert restraint.rest(NOISY, 5.0) == REST_MAX
    assert Restraint(settings, alone=1).most(NOISY) == 1


def test_who_would_wait_past_the_deadline_is_refused_at_once() -> None:
    settings = StoreSettings(search_slow_rest=1.0, search_timeout_seconds=5.0, search_slow_seconds=0.1)
    restraint = Restraint(settings, alone=4)
    restraint.admit(NOISY, 1_000)  # Nothing is known of it.
    for _ in range(100):
        restraint.took(NOISY, 0.25)
    restraint.admit(NOISY, 1_000)  # It is alone.
    restraint.came(CALM)
    restraint.admit(NOISY, 9)
    with pytest.raises(ServiceError) as refused:
        restraint.admit(NOISY, 12)
    assert refused.value.category is Category.THROTTLED
    restraint.admit(CALM, 1_000)
