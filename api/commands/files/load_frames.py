"""Frames between `dod load` and its workers, over a socket of their own: a length, and a pickled tuple."""

from __future__ import annotations

import asyncio
import pickle
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from ingest.load.results import Refusal
from store.errors import Category
from store.fhir.issues import Issue

_LENGTH_BYTES: Final = 4


@dataclass(frozen=True, slots=True)
class LoadOrder:
    """All that a worker needs to know. It may hold a password, so it comes as the first frame."""

    options: Mapping[str, Any]
    """Options of the command line that name settings."""
    uri: str
    tenant: str
    origin: str | None


class Outcome(NamedTuple):
    """Outcomes of a body."""

    counts: Counter[str]
    refusals: tuple[Refusal, ...]


class Failure(NamedTuple):
    """Reason why nothing is known of a body."""

    category: Category | None
    """Category of a ServiceError; None: an error that nobody thought of."""
    issues: tuple[Issue, ...] = ()
    kind: str = ""
    """Class of that error."""


def frame(*said: object) -> bytes:
    """A frame of these."""
    body = pickle.dumps(said, protocol=pickle.HIGHEST_PROTOCOL)
    return len(body).to_bytes(_LENGTH_BYTES, "big") + body


async def next_frame(reader: asyncio.StreamReader) -> tuple[Any, ...] | None:
    """Content of the next frame; None at the end."""
    try:
        length = int.from_bytes(await reader.readexactly(_LENGTH_BYTES), "big")
        body = await reader.readexactly(length)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    said: tuple[Any, ...] = pickle.loads(body)  # noqa: S301 -- of the other half of one command
    return said
