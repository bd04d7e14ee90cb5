"""Random values of a process that was forked: none that its parent or a sister draws."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from ingest.unique import secret_id, unique_id
from store.retrying import pause_behind

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("drawn", [secret_id, unique_id, lambda: str(pause_behind(3))])
def test_forked_processes_draw_other_values(drawn: Callable[[], str]) -> None:
    drawn()  # Some are at hand.
    values = {_in_a_child(drawn), _in_a_child(drawn), drawn()}
    assert len(values) == 3


def _in_a_child(drawn: Callable[[], str]) -> str:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writing, drawn().encode())
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(writing)
    with os.fdopen(reading) as said:
        return said.read()
