"""Values of header fields: lists, which may come in several fields, and dates.

https://www.rfc-editor.org/rfc/rfc9110#section-5.3, https://www.rfc-editor.org/rfc/rfc9110#section-5.6.7
"""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

    from aiohttp import web

MEMBERS_MAX: Final = 200
"""Members of a list that are read: thirty thousand media types, each looked at, take 50 ms of everybody."""


def listed(request: web.Request, name: str) -> str | None:
    """The list of all fields of a name, its first members; None when there is none."""
    fields = request.headers.getall(name, ())
    if not fields:
        return None
    return shortened(fields[0] if len(fields) == 1 else ", ".join(fields))


def shortened(text: str) -> str:
    """The first `MEMBERS_MAX` members of a list."""
    if text.count(",") < MEMBERS_MAX:
        return text
    return ",".join(text.split(",", MEMBERS_MAX)[:MEMBERS_MAX])


def read_date(header: str | None) -> datetime | None:
    """The moment of a header; None when there is none, or none that can be read."""
    if header is None:
        return None
    try:
        moment = parsedate_to_datetime(header)
    except (ValueError, TypeError, OverflowError, IndexError):  # By the part that is wrong, and how.
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
