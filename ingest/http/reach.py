"""The reach of a caller's scopes, tested on one stored resource: its bytes tell what part it belongs to."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from ingest.pipeline.budget import LIGHT_BYTES
from ingest.pipeline.decode import decode
from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.resources.versions import Stored, present
from store.search.reach import holds, reaches

if TYPE_CHECKING:
    from collections.abc import Callable

    from store.resources.versions import Gone
    from store.search.criteria import Clause
    from store.search.reach import Reach

READ: Final = "r"
_NO_SUCH: Final = Issue("not-found", "there is no such resource")


async def seen(caller: Reach, found: Stored | Gone | None, *, base: Callable[[], str]) -> Stored:
    """Version that was found, if the caller may read it. Raises ServiceError `gone` or `not-found`.

    What is outside of the caller's scopes is not told apart from what never was. `base` gives the tenant's
    own base URL, when it is needed.
    """
    if found is None or caller.may(found.key.type, READ):
        return present(found)
    if isinstance(found, Stored) and await is_seen(caller, found, base=base):
        return found
    raise ServiceError(Category.NOT_FOUND, _NO_SUCH)


async def is_seen(caller: Reach, stored: Stored, *, base: Callable[[], str]) -> bool:
    """Whether the caller may read this version."""
    if caller.may(stored.key.type, READ):
        return True
    clause = caller.within(stored.key.type, READ)
    if clause is None:
        return False
    if len(stored.raw) > LIGHT_BYTES:
        return await asyncio.to_thread(_holds, clause, stored, base())
    return _holds(clause, stored, base())


def _holds(clause: Clause, stored: Stored, base: str) -> bool:
    return holds(clause, decode(stored.raw), type=stored.key.type, id=stored.key.id, base=base)


def check_reading(caller: Reach, resource_type: str, letters: str) -> None:
    """Raise ServiceError `forbidden` unless the scopes allow to read or search the type, or a part of it."""
    if not reaches(caller, resource_type, letters):
        text = f"the token's scopes do not allow `{letters}` on this resource type"
        raise ServiceError(Category.FORBIDDEN, Issue("forbidden", text))
