"""Answers to requests that must take effect once: sent again, a request gets the same answer.

No resource is copied here: an answer that shows one names its version, and is put together from the store.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from store.resources.resource_keys import ResourceKey


class Slot(NamedTuple):
    """Identity of a request: two with one slot are the same request, or a key used twice."""

    client: str
    name: str
    """A digest of the client's key, or of the whole Bundle: a key may hold a patient's value."""
    fingerprint: bytes
    """Digest of method, path, conditions and body: another one under the same name is another request."""


class Shown(NamedTuple):
    """A resource that an answer shows."""

    place: int | None
    """The number of the entry; None: the resource is the whole body."""
    key: ResourceKey
    version: int


@dataclass(frozen=True, slots=True)
class Remembered:
    """The answer that was given, less the resources it showed."""

    fingerprint: bytes
    status: int
    headers: Mapping[str, str]
    body: bytes
    shown: tuple[Shown, ...]
    until: datetime
    """Moment from which it may be forgotten."""
    creates: ResourceKey | None = None
    """Key of the resource that the request creates, under an id that nothing else ever has; kept before it is
    done.
    """
    done: bool = True
    """Whether what the answer says is known to have happened."""
