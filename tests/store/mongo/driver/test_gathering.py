"""Questions of one moment are one question, and each who asked gets its own answer."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from store.errors import Category, ServiceError
from store.mongo.driver.gathering import Gathering

if TYPE_CHECKING:
    from collections.abc import Sequence


class Asked:
    """Answers, each twice its question; questions that were asked together are noted."""

    def __init__(self) -> None:
        self.together: list[list[int]] = []
        self.begun = asyncio.Event()
        self.go = asyncio.Event()
        self.go.set()
        self.error: BaseException | None = None

    async def __call__(self, questions: Sequence[int]) -> list[int]:
        self.together.append(list(questions))
        self.begun.set()
        await self.go.wait()
        if self.error is not None:
            raise self.error
        return [2 * one for one in questions]


async def test_those_that_come_together_or_meanwhile_go_together() -> None:
    asked = Asked()
    gathering = Gathering(asked, most=3)
    assert await gathering.ask(1) == 2
    asked.go.clear()
    asked.begun.clear()
    first = [asyncio.ensure_future(gathering.ask(number)) for number in (2, 3)]
    await asked.begun.wait()
    later = [asyncio.ensure_future(gathering.ask(number)) for number in (4, 5, 6, 7)]
    await asyncio.sleep(0)
    asked.go.set()
    assert await asyncio.gather(*first, *later) == [4, 6, 8, 10, 12, 14]
    assert asked.together == [[1], [2, 3], [4, 5, 6], [7]]


async def test_a_failure_is_told_to_each_in_an_error_of_its_own_and_the_next_are_answered() -> None:
    asked = Asked()
    asked.error = ServiceError(Category.UNAVAILABLE)
    gathering = Gathering(asked, most=3)
    failed = await asyncio.gather(*map(gathering.ask, (1, 2)), return_exceptions=True)
    assert [isinstance(one, ServiceError) for one in failed] == [True, True]
    assert failed[0] is not failed[1]
    asked.error = None
    assert await gathering.ask(3) == 6


@pytest.mark.parametrize("waits", [True, False])
async def test_who_goes_away_fails_no_other(*, waits: bool) -> None:
    asked = Asked()
    gathering = Gathering(asked, most=3)
    asked.go.clear()
    gone, other = (asyncio.ensure_future(gathering.ask(number)) for number in (1, 2))
    await asyncio.sleep(0)
    if not waits:
        await asked.begun.wait()
    gone.cancel()
    with suppress(asyncio.CancelledError):
        await gone
    asked.go.set()
    assert await other == 4
