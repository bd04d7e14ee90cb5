"""The pure line of a push: JSON ─mend▶ JSON ─validate▶ issues? ─stamp▶ bytes ─index▶ Prepared."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ingest.stamp import digest, unstamped
from ingest.tolerances import mend
from ingest.validate import validate
from store.errors import Category, ServiceError
from store.resources import Prepared, ResourceKey
from store.search.index import index

if TYPE_CHECKING:
    from store.fhir.datatypes import JsonObject


class Ready(NamedTuple):
    """A resource ready to be put, and the names of the tolerances it needed."""

    prepared: Prepared
    tolerances: tuple[str, ...]


def prepare(
    resource: JsonObject,
    resource_id: str,
    *,
    base: str,
    fresh: bool = False,
    companion: bool = False,
    strict: bool = False,
) -> Ready:
    """One pushed resource under the id it will have.

    A companion of a report is kept with faults that do not touch search, unless handling is strict.
    Raises ServiceError `unprocessable` with every issue found.
    """
    mended, applied = mend(resource)
    issues = validate(mended)
    if issues:
        raise ServiceError(Category.UNPROCESSABLE, *issues)
    key = ResourceKey(str(mended["resourceType"]), resource_id)
    indexed = index(mended, key.type, base=base, resource_id=resource_id)
    if indexed.issues:
        raise ServiceError(Category.UNPROCESSABLE, *indexed.issues)
    body = unstamped(mended, key)
    return Ready(Prepared(key, body, digest(body), indexed, fresh), applied)
