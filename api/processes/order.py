"""Order to a further process at its start: the settings as they are, and where it is asked how it is."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from typing import Self

    from api.settings.service import Settings


@dataclass(frozen=True, slots=True)
class ProcessOrder:
    """All that it needs to know. It comes on its standard input, since it may hold a password."""

    module: ClassVar[str]
    """Program that takes the order."""
    listening: ClassVar[tuple[int, ...]] = ()
    """Descriptors of sockets that it listens on: it makes its own."""

    settings: Settings
    uri: str
    """Address of the database."""
    admin: str
    """Path of the unix socket of its admin endpoint."""

    def line(self) -> bytes:
        """The order as it is sent."""
        return pickle.dumps(self)

    @classmethod
    def read(cls, source: IO[bytes]) -> Self:
        """The order that comes."""
        read = pickle.load(source)  # noqa: S301 -- from the process that started this one
        assert isinstance(read, cls)  # noqa: S101
        return read


def with_pool(settings: Settings, *, part: int, least: int) -> Settings:
    """Settings of a process whose connections to MongoDB are a part of those of the process beside it."""
    return settings.model_copy(update={"pool_size": max(least, settings.pool_size // part)})
