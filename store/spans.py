"""Spans of a request: what its parts took, for a tracer if there is one. Whoever tells knows of no tracer.

Work that requests share (`store.detached`) belongs to none of them, and so to no trace.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator


class Spans(Protocol):
    """Trace of one request."""

    def spent(self, on: str, seconds: float, said: dict[str, str | int]) -> None:
        """Note a part that ends now and took so long. What is `said` of it holds no value of a client's."""


_SPANS: ContextVar[Spans | None] = ContextVar("spans", default=None)


def spent(on: str, seconds: float, **said: str | int) -> None:
    """Tell the trace of this request, if it has one, of a part that ends now."""
    spans = _SPANS.get()
    if spans is not None:
        spans.spent(on, seconds, said)


def is_traced() -> bool:
    """Whether the request has a trace: what costs to say is said then only."""
    return _SPANS.get() is not None


@contextmanager
def traced(spans: Spans) -> Iterator[None]:
    """Trace that the parts within are told to."""
    token = _SPANS.set(spans)
    try:
        yield
    finally:
        _SPANS.reset(token)
