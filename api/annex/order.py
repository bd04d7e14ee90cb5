"""Order to the annex at its start: the settings as they are, and where to work."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, ClassVar, Final

if TYPE_CHECKING:
    from api.settings.service import Settings

POOL_PART: Final = 4
"""Connections to MongoDB, as a part of those of the process beside it."""
POOL_MIN: Final = 4


@dataclass(frozen=True, slots=True)
class AnnexOrder:
    """All that it needs to know. It comes on its standard input, since it may hold a password."""

    module: ClassVar = "api.annex.process"
    """Program that takes the order."""
    listening: ClassVar[tuple[int, ...]] = ()
    """Descriptors of sockets that it listens on: it makes its own."""

    settings: Settings
    uri: str
    """Address of the database."""
    admin: str
    """Path of the unix socket of its admin endpoint."""
    work: str
    """Path of the unix socket on which requests are handed over."""

    def line(self) -> bytes:
        """The order as it is sent."""
        return pickle.dumps(self)

    @classmethod
    def read(cls, source: IO[bytes]) -> AnnexOrder:
        """The order that comes."""
        read = pickle.load(source)  # noqa: S301 -- from the process that started this one
        assert isinstance(read, cls)  # noqa: S101
        return read


def settings_of(settings: Settings) -> Settings:
    """The settings of the annex beside a process with these."""
    return settings.model_copy(update={"pool_size": max(POOL_MIN, settings.pool_size // POOL_PART)})
