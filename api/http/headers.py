"""Values of header fields: lists, which may come in several fields, and dates.

https://www.rfc-editor.org/rfc/rfc9110#section-5.3, https://www.rfc-editor.org/rfc/rfc9110#section-5.6.7
"""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from aiohttp import web


def listed(request: web.Request, name: str) -> str | None:
    """The list of all fields of a name; None when there is none."""
    fields = request.headers.getall(name, ())
    return fields[0] if len(fields) == 1 else ", ".join(fields) if fields else None


def read_date(header: str | None) -> datetime | None:
    """The moment of a header; None when there is none, or none that can be read."""
    if header is None:
        return None
    try:
        moment = parsedate_to_datetime(header)
    except (ValueError, TypeError, OverflowError, IndexError):  # By the part that is wrong, and how.
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
