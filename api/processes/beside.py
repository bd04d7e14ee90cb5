"""Processes beside this one, as whoever adds up metrics sees them, and the folder of their sockets."""

from __future__ import annotations

import logging
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from aiohttp import web

from api.processes.ended import FOLDER_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from api.processes.families import Row

LOG: Final = logging.getLogger("api.processes")
FOLDER_MAX: Final = 90
"""Bytes of the path of a folder of sockets: that of a unix socket has 107."""


class Beside(Protocol):
    """Further processes of one kind."""

    async def rows(self) -> list[Iterable[Row]]:
        """All that was counted by the one that runs, and by those that have ended."""


BESIDE: Final[web.AppKey[list[Beside]]] = web.AppKey("beside")
"""Kinds of processes that this one may have begun."""


@contextmanager
def folder() -> Iterator[Path | None]:
    """Folder for sockets and counts of further processes, for as long as it is needed; None: there is no
    place for one, and the log says why. That of a worker lies in its supervisor's, which goes with that one.
    """
    try:
        made = tempfile.TemporaryDirectory(prefix="dod-", dir=os.environ.get(FOLDER_VARIABLE))
    except OSError as error:
        reason = error.strerror
        LOG.warning("no temporary directory: all is done in one process", extra={"reason": reason})
        yield None
        return
    with made as name:
        if len(os.fsencode(name)) > FOLDER_MAX:
            LOG.warning("the path of the temporary directory is too long: all is done in one process")
            yield None
        else:
            yield Path(name)
