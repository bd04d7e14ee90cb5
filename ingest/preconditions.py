"""The conditions that a write may name: `If-Match`, `If-None-Match`, as headers or in a Bundle's entry. Pure.

https://hl7.org/fhir/R4/http.html#concurrency
"""

from __future__ import annotations

import re
from typing import Final

from store.errors import Category, ServiceError
from store.fhir.issues import Issue

_VERSION: Final = re.compile(r'(?:W/)?"(\d{1,9})"')


def if_match(header: str | None) -> int | None:
    """The version that must be current. Raises ServiceError `incorrect` for anything but one version."""
    if header is None:
        return None
    match = _VERSION.fullmatch(header.strip())
    if match is None:
        issue = Issue("value", '`If-Match` must be one version, such as `W/"3"`', ("If-Match",))
        raise ServiceError(Category.INCORRECT, issue)
    return int(match[1])


def if_none_match(header: str | None) -> bool:
    """Whether nothing may be there yet. Of other values none is offered, so none is passed over."""
    if header is not None and header.strip() != "*":
        issue = Issue("value", "`If-None-Match` of an update must be `*`", ("If-None-Match",))
        raise ServiceError(Category.INCORRECT, issue)
    return header is not None
