"""Pauses between the attempts of whatever is tried again: short at first, doubled, bounded, and spread.

Spread, so that writers who met once do not meet again at the next attempt.
"""

from __future__ import annotations

import asyncio
import os
from random import Random
from typing import Final

PAUSE_SECONDS: Final = 0.002
"""Pause behind the first attempt, give or take half of it."""
PAUSE_SECONDS_MAX: Final = 0.1
"""Longest pause, give or take half of it."""
_RANDOM: Final = Random()  # noqa: S311 -- no secret
os.register_at_fork(after_in_child=_RANDOM.seed)


def pause_behind(attempt: int) -> float:
    """Seconds from the end of an attempt to the next one; attempts are counted from 0."""
    longest: float = min(PAUSE_SECONDS * 2 ** min(attempt, 10), PAUSE_SECONDS_MAX)
    return longest * (0.5 + _RANDOM.random())


async def pause_before(attempt: int) -> None:
    """Wait as long as an attempt should: not at all before the first, which is number 0."""
    if attempt:
        await asyncio.sleep(pause_behind(attempt - 1))
