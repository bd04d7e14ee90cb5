"""Connection that has a place, and says whether it gave way."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(eq=False)
class One:
    address: str = "10.0.0.1"
    is_awaited: bool = False
    is_open: bool = True

    def give_way(self) -> None:
        self.is_open = False
