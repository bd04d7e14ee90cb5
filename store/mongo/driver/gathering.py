"""Gathering: questions of one moment are asked as one, and each who asked gets its own answer.

While one is under way, those that come wait, and go together: a lone question waits for nobody, and many cost
little more than one.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from store.detached import detached
from store.errors import Category, ServiceError
from store.fhir.issues import Issue

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")

_STOPPING: Final = Issue("transient", "the service is stopping")


class Gathering(Generic[Asked, Answer]):
    """Questions in front of a function that answers many at once, in their order."""

    def __init__(
        self, answers: Callable[[Sequence[Asked]], Awaitable[Sequence[Answer]]], *, most: int
    ) -> None:
        """At most so many go together. What `answers` raises is the answer to all of them."""
        self._answers = answers
        self._most = most
        self._waiting: list[tuple[Asked, asyncio.Future[Answer]]] = []
        self._asking: asyncio.Task[None] | None = None

    async def ask(self, question: Asked) -> Answer:
        """The answer to one question. Raises what the function raises."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, future))
        if self._asking is None or self._asking.done():
            self._asking = detached(self._ask_all())
        return await future

    async def _ask_all(self) -> None:
        while self._waiting:
            await asyncio.sleep(0)  # All that were woken together are here by then.
            some, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            try:
                answers = await self._answers([question for question, _ in some])
            except BaseException as error:
                for _, future in some:
                    if not future.done():
                        future.set_exception(_own(error))
                if not isinstance(error, Exception):
                    raise
            else:
                for (_, future), answer in zip(some, answers, strict=True):
                    if not future.done():  # Who asked may have gone.
                        future.set_result(answer)


def _own(error: BaseException) -> BaseException:
    """An error for one of those that share it: one object raised in many tasks would mix their tracebacks."""
    if isinstance(error, ServiceError):
        return ServiceError(error.category, *error.issues)
    if isinstance(error, asyncio.CancelledError):
        return ServiceError(Category.UNAVAILABLE, _STOPPING)
    return error
