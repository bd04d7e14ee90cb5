"""A connection kept for the commands of one turn.

The driver chooses a server and takes a connection out of its pool for each command, and prepares to repeat
it: a third of what a find costs here. What is called below of it has no public name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymongo import ReadPreference

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


class Lane:
    """Runs commands one after the other on one connection; taken when the first one comes."""

    def __init__(self, database: Any) -> None:  # noqa: ANN401 -- pymongo's
        self._database = database
        # Asked of the class: of a database each name is a collection.
        self._routed = getattr(type(database), "routed", None)
        """Way of a command behind mongos."""
        self._held: tuple[AbstractContextManager[Any], Any, Any] | None = None

    def command(self, command: dict[str, Any]) -> dict[str, Any]:
        """The reply. Raises what `Database.command` does; the next command takes another connection then."""
        _, connection, preference = self._held = self._held or self._take()
        client = self._database.client
        try:
            reply: dict[str, Any] = connection.command(
                self._database.name,
                command if self._routed is None else self._routed(command),
                preference,
                codec_options=self._database.codec_options,
                client=client,
            )
        except BaseException as error:
            self.give_back(error)
            raise
        return reply

    def _take(self) -> tuple[AbstractContextManager[Any], Any, Any]:
        taken = self._database.client._conn_for_reads(ReadPreference.PRIMARY, None, "find")  # noqa: SLF001
        return (taken, *taken.__enter__())

    def give_back(self, error: BaseException | None = None) -> None:
        """End with it; after an error the driver looks at what that says of the server."""
        held, self._held = self._held, None
        if held is not None:
            held[0].__exit__(type(error) if error else None, error, error.__traceback__ if error else None)
