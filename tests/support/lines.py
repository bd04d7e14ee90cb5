"""Lines that the log would show."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import orjson
from typing_extensions import override

from api.server.logs import render_record

if TYPE_CHECKING:
    from collections.abc import Iterator


class Lines(logging.Handler):
    """Renders each record as it would be written."""

    def __init__(self) -> None:
        super().__init__()
        self.raw: list[bytes] = []

    @override
    def emit(self, record: logging.LogRecord) -> None:
        self.raw.append(render_record(record))

    @property
    def parsed(self) -> list[dict[str, Any]]:
        return [orjson.loads(line) for line in self.raw]


@contextmanager
def logged(level: int = logging.DEBUG) -> Iterator[Lines]:
    """All lines that are logged meanwhile, by whomever."""
    lines, root = Lines(), logging.getLogger()
    before = root.level
    root.addHandler(lines)
    root.setLevel(level)
    try:
        yield lines
    finally:
        root.setLevel(before)
        root.removeHandler(lines)
