"""The conditions that a write may name: `If-Match`, `If-None-Match`, as headers or in a Bundle's entry. Pure.

https://hl7.org/fhir/R4/http.html#concurrency
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from store.errors import Category, ServiceError
from store.fhir.instants import parse, to_datetime
from store.fhir.issues import Issue
from store.resources.versions import ANY_VERSION, Stored, present, version_matches

if TYPE_CHECKING:
    from datetime import datetime

    from store.resources.versions import Gone

_INSTANT: Final = re.compile(r".+T\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)
_VERSION: Final = re.compile(r'(?:W/)?"(\d{1,9})"')


def if_match(header: str | None) -> int | None:
    """The version that must be current, or `ANY_VERSION`; None: there is no header.

    Raises ServiceError `incorrect` for any other text.
    """
    if header is None:
        return None
    if header.strip() == "*":
        return ANY_VERSION
    match = _VERSION.fullmatch(header.strip())
    if match is None:
        rule = 'must be one version, as `ETag` has it, such as `W/"3"`, or `*`; a list is not offered here'
        issue = Issue("value", f"`If-Match` {rule}", ("If-Match",))
        raise ServiceError(Category.INCORRECT, issue)
    return int(match[1])


def holds(only_version: int | None, found: Stored | None) -> bool:
    """Whether what is current fulfils an `If-Match`."""
    return version_matches(only_version, None if found is None else found.version)


def names_version(only_version: int | None) -> bool:
    """Whether an `If-Match` is about one version: another client's write then makes it fail."""
    return only_version not in (None, ANY_VERSION)


def current(there: Stored | Gone | None, only_version: int | None) -> Stored:
    """Resource to be changed, if it is there. Raises ServiceError: with `*` the condition is what fails."""
    if only_version == ANY_VERSION and not isinstance(there, Stored):
        raise not_held(only_version)
    return present(there)


def not_held(only_version: int | None) -> ServiceError:
    """The refusal for an `If-Match` that does not hold."""
    text = "`If-Match` names a version that is not the current one"
    if only_version == ANY_VERSION:
        text = "`If-Match: *` was asked for, and there is no such resource"
    return ServiceError(Category.PRECONDITION, Issue("conflict", text, ("If-Match",)))


def has_tag(header: str | None, tag: str) -> bool:
    """Whether an `If-None-Match` names this tag, as strong or weak a one, or any."""
    if header is None:
        return False
    known = {one.strip().removeprefix("W/") for one in header.split(",")}
    return "*" in known or tag.removeprefix("W/") in known


def has_it(stored: Stored, *, none_match: str | None, modified_since: datetime | None) -> bool:
    """Whether the client has this version: `If-None-Match` decides when it is there (RFC 9110, 13.2.2)."""
    if none_match is not None:
        return has_tag(none_match, f'"{stored.version}"')
    if modified_since is None:
        return False
    if stored.last_updated <= modified_since:
        return True
    # A date of HTTP is a whole second, which may have seen several versions: the first alone is surely it.
    within = not modified_since.microsecond and stored.last_updated - timedelta(seconds=1) < modified_since
    return within and stored.version == 1


def since(text: str | None) -> datetime | None:
    """The moment of an `ifModifiedSince`; None: there is none. Raises ServiceError for what is no instant."""
    if text is None:
        return None
    try:
        if _INSTANT.fullmatch(text):
            return to_datetime(parse(text).start)
    except ValueError:
        pass
    rule = "must be an instant with seconds and zone, such as 2026-11-22T12:00:00Z"
    path = "Bundle.entry.request.ifModifiedSince"
    raise ServiceError(Category.INCORRECT, Issue("value", f"`{path}` {rule}", (path,)))


def if_none_match(header: str | None) -> bool:
    """Whether nothing may be there yet. Of other values none is offered, so none is passed over."""
    if header is not None and header.strip() != "*":
        issue = Issue("value", "`If-None-Match` of an update must be `*`", ("If-None-Match",))
        raise ServiceError(Category.INCORRECT, issue)
    return header is not None
