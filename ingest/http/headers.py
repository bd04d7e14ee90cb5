"""Header fields whose value is a list, which may come in several fields.

https://www.rfc-editor.org/rfc/rfc9110#section-5.3
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiohttp import web


def listed(request: web.Request, name: str) -> str | None:
    """The list of all fields of a name; None when there is none."""
    fields = request.headers.getall(name, ())
    return fields[0] if len(fields) == 1 else ", ".join(fields) if fields else None
