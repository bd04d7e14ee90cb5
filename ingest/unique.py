"""Ids: those of requests and response Bundles, which nobody looks up by guessing, and those of resources."""

from __future__ import annotations

import os
from collections import deque
from random import Random
from typing import Final

_RANDOM: Final = Random()  # noqa: S311 -- no secret; seeded from the system once
"""`uuid4` asks the kernel each time, which lets go of the interpreter lock: with the driver's threads waiting
for it, the event loop then stands still. Measured: a quarter of a search's time at 32 connections."""


_SECRETS: Final[deque[str]] = deque()
"""Random bytes of the system's, in hexadecimal; each is used once."""
_SECRETS_BYTES: Final = 4_096
"""Secrets taken at once, for the same reason."""


def _forked() -> None:
    """A forked process shares neither what comes next nor the secrets at hand."""
    _RANDOM.seed()
    _SECRETS.clear()


os.register_at_fork(after_in_child=_forked)


def unique_id() -> str:
    """A random UUID, not for resources: the next ones can be told from those seen."""
    return _uuid(f"{_RANDOM.getrandbits(128):032x}")


def secret_id() -> str:
    """A random UUID that cannot be guessed, as `uuid4` makes it."""
    while True:
        try:
            return _uuid(_SECRETS.popleft())  # At once: large bodies are prepared in a thread.
        except IndexError:
            digits = os.urandom(_SECRETS_BYTES).hex()
            _SECRETS.extend(digits[at : at + 32] for at in range(0, len(digits), 32))


def _uuid(digits: str) -> str:
    # As `UUID` writes it, in a third of the time.
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"
