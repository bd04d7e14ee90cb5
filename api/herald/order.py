"""Order to the herald at its start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from api.processes.order import ProcessOrder, with_pool

if TYPE_CHECKING:
    from api.settings.service import Settings

POOL_PART: Final = 2
"""Connections to MongoDB, as a part of those of the process beside it."""
POOL_MIN: Final = 8


@dataclass(frozen=True, slots=True)
class HeraldOrder(ProcessOrder):
    """All that it needs to know."""

    module: ClassVar[str] = "api.herald.process"


def settings_of(settings: Settings) -> Settings:
    """The settings of the herald beside a process with these: it serves nobody."""
    own = settings.model_copy(update={"role": "jobs"})
    return with_pool(own, part=POOL_PART, least=POOL_MIN)
