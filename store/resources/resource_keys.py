"""Names of resources within a tenant."""

from __future__ import annotations

from typing import NamedTuple

from typing_extensions import override


class ResourceKey(NamedTuple):
    """Name of a resource within a tenant: `DiagnosticReport/27894d07…`."""

    type: str
    id: str

    @override
    def __str__(self) -> str:
        return f"{self.type}/{self.id}"
