"""MongoDB filters, as plain mappings: the shape that every search type's `to_filter` gives. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

Filter: TypeAlias = "Mapping[str, object]"
"""A MongoDB filter."""
