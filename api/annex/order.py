"""Order to the annex at its start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from api.processes.order import ProcessOrder, with_pool

if TYPE_CHECKING:
    from api.settings.service import Settings

POOL_PART: Final = 4
"""Connections to MongoDB, as a part of those of the process beside it."""
POOL_MIN: Final = 4


@dataclass(frozen=True, slots=True)
class AnnexOrder(ProcessOrder):
    """All that it needs to know, where to work with it."""

    module: ClassVar[str] = "api.annex.process"

    work: str
    """Path of the unix socket on which requests are handed over."""


def settings_of(settings: Settings) -> Settings:
    """The settings of the annex beside a process with these."""
    return with_pool(settings, part=POOL_PART, least=POOL_MIN)
