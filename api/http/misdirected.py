"""The answer to a request that no route takes: which part of the path is wrong, and the rule for it. Pure.

Nothing of the path is repeated but known names: an id may stand anywhere in it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from store.fhir.references import ID
from store.near import near, unknown_type
from store.search.parameters import TYPES
from store.tenancy import parse_tenant

if TYPE_CHECKING:
    from collections.abc import Collection

OPERATION: Final = re.compile(r"(\$[a-z][a-z-]{0,40})/?$")
_ROOT: Final = ("fhir", "R4")
_NOTHING: Final = "There is nothing at this path."
_BASE: Final = "The base is `/fhir/R4/{organization}/{environment}`, in this spelling."
_SERVED: Final = (
    "Below the base are `{Type}`, `{Type}/_search`, `{Type}/{id}`, `{Type}/{id}/_history`,"
    " `Patient/{id}/{Type}`, `metadata`."
)
_BELOW_BASE: Final = ("metadata", "openapi.json")
_BELOW_TYPE: Final = ("_search", "_history")


def nothing_here(path: str, operations: Collection[str]) -> str:
    """The sentences of a 404: `operations` are those that are served, such as `$process-message`."""
    said = _operation(path, operations) or _empty_part(path)
    if said is None:
        parts = tuple(part for part in path.split("/") if part)
        said = _outside(parts) or _below(parts[len(_ROOT) + 2 :])
    return f"{_NOTHING} {said}"


def not_here(allowed: str, *, whole: bool = True) -> str:
    """The sentences of a 405, with the methods that the path takes; `whole` is a process of all roles."""
    said = f"This method is not served at this path; `Allow` lists those that are: {allowed}."
    return said if whole else f"{said} A process of another role may serve it (`DOD_ROLE`)."


def _operation(path: str, operations: Collection[str]) -> str | None:
    found = OPERATION.search(path)
    if found is None:
        return None
    if found[1] in operations:
        return f"The operation `{found[1]}` is offered, but of something else: `openapi.json` has its path."
    hint = near(found[1], operations)
    names = ", ".join(f"`{name}`" for name in sorted(operations))
    return f"The operation `{found[1]}` is not offered here{hint}; offered are {names}."


def _empty_part(path: str) -> str | None:
    return "A part of it is empty (`//`): is a variable unset?" if "//" in path else None


def _outside(parts: tuple[str, ...]) -> str | None:
    """Fault of a path before the base is complete."""
    if parts[: len(_ROOT)] != _ROOT or len(parts) < len(_ROOT) + 2:
        return _BASE
    try:
        parse_tenant("/".join(parts[len(_ROOT) :][:2]))
    except ValueError as error:
        return f"No such base: {error}."
    return None


def _below(parts: tuple[str, ...]) -> str:
    """Fault of a path behind the base."""
    if parts and parts[0] not in TYPES:
        return f"{unknown_type(parts[0], [*TYPES, *_BELOW_BASE]).text}. {_SERVED}"
    if len(parts) > 1 and parts[1] not in _BELOW_TYPE and not ID.fullmatch(parts[1]):
        hint = near(parts[1], _BELOW_TYPE) if parts[1].startswith("_") else ""
        return f"An id is 1 to 64 letters, digits, `-` or `.`; R4 knows no `_` in it{hint}. {_SERVED}"
    if len(parts) > 2 and parts[2] == "_history":  # noqa: PLR2004 -- the third part
        return "A version is a whole number from 1: `{Type}/{id}/_history/{version}`."
    if len(parts) > 2 and parts[2] in TYPES:  # noqa: PLR2004 -- the third part
        return "A Patient alone has what is about it below: `Patient/{id}/{Type}`; else search `{Type}?…`."
    if len(parts) > 2:  # noqa: PLR2004 -- the third part
        return f"Behind an id comes `_history`{near(parts[2], _BELOW_TYPE)}. {_SERVED}"
    return _SERVED
