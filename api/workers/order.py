"""Orders to workers at their start: how many there are, and which of their limits they share."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping

    from api.settings.service import Settings

DIVIDED: Final[Mapping[str, int]] = {
    "answers_bytes_max": 32_000_000,
    "changes_listeners_max": 1,
    "client_requests_max": 4,
    "commit_queue_bytes_max": 1_000_000,
    "commit_queue_max": 1,
    "connections_max": 16,
    "connections_per_address_max": 1,
    "mllp_bytes_max": 1_000_000,
    "mllp_connections_max": 1,
    "pool_size": 4,
    "push_bytes_max": 1_000_000,
    "reads_max": 2,
    "search_queue_max": 1,
}
"""Limits of the whole service, of which each worker has its part, with the least a worker needs. Shares of
tenants and clients are parts of these, so they hold for the whole too."""


@dataclass(frozen=True, slots=True)
class WorkOrder:
    """All that a worker needs to know. It comes on its standard input, since it may hold a password."""

    module: ClassVar = "api.workers.worker"
    """Program that takes the order."""

    options: Mapping[str, Any]
    """Options of the command line that were given."""
    uri: str | None
    """Address of the supervisor's embedded MongoDB; None: the settings name one."""
    listening: tuple[int, ...]
    """Descriptors of the sockets that listen for FHIR."""
    admin: str
    """Path of the unix socket of the worker's own admin endpoint."""
    url: str
    """The address that clients use."""
    workers: int
    """The number of workers that share the limits."""
    is_timekeeper: bool
    """Whether the jobs on a timer are this worker's."""

    def line(self) -> bytes:
        """The order as one line."""
        return orjson.dumps(asdict(self), default=str) + b"\n"

    @classmethod
    def read(cls, line: bytes) -> WorkOrder:
        """The order of a line."""
        said = orjson.loads(line)
        return cls(**{**said, "listening": tuple(said["listening"])})


def divided(settings: Settings, workers: int) -> Settings:
    """The settings of one of so many workers."""
    if workers == 1:
        return settings
    parts = {
        name: max(least, whole // workers)
        for name, least in DIVIDED.items()
        if (whole := getattr(settings, name))  # 0 is no limit.
    }
    return settings.model_copy(update=parts)


def cores(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Processors that this process may use: those of its affinity, or fewer by its control group."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):  # Another version of control groups, or none; or "max".
        quota, period = (cgroup / "cpu.max").read_text(encoding="ascii").split()
        found = min(found, math.ceil(int(quota) / int(period)))
    return max(1, found)


def count_of(settings: Settings) -> int:
    """Number of workers that the settings ask for."""
    return cores() if settings.workers == "auto" else settings.workers
