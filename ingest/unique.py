"""Ids for things that nobody looks up by guessing: requests and response Bundles. Not for resources."""

from __future__ import annotations

from random import Random
from typing import Final
from uuid import UUID

_RANDOM: Final = Random()  # noqa: S311 -- no secret; seeded from the system once
"""`uuid4` asks the kernel each time, which lets go of the interpreter lock: with the driver's threads waiting
for it, the event loop then stands still. Measured: a quarter of a search's time at 32 connections."""


def unique_id() -> str:
    """A random UUID."""
    return str(UUID(int=_RANDOM.getrandbits(128), version=4))
