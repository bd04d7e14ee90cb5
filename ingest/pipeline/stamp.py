"""JSON → the bytes that every later read returns, serialised once.

The version and the moment are the store's to give: the bytes are left open at `meta.versionId` and
`meta.lastUpdated`. What the source wrote there is dropped, as R4 asks. https://hl7.org/fhir/R4/http.html#create
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

import orjson

from store.errors import Category, ServiceError
from store.fhir.datatypes import Number
from store.fhir.issues import Issue
from store.resources.resource_keys import ResourceKey
from store.resources.versions import Unstamped

if TYPE_CHECKING:
    from store.fhir.datatypes import Json, JsonObject


def unstamped(resource: JsonObject, key: ResourceKey) -> Unstamped:
    """The resource under this key, open at the places of the store.

    Raises ServiceError `incorrect` for text that is not Unicode and for nesting past 250 levels.
    """
    rest = dict(resource)
    for name in ("resourceType", "id", "meta"):
        rest.pop(name, None)
    meta = resource.get("meta")
    kept = (
        {name: value for name, value in meta.items() if name not in ("versionId", "lastUpdated")}
        if isinstance(meta, dict)
        else {}
    )
    head = b'{"resourceType":"%b","id":"%b","meta":{' % (key.type.encode(), key.id.encode())
    if kept:
        head += dump(kept)[1:-1] + b","
    tail = b'"}}' if not rest else b'"},' + dump(rest)[1:]
    return Unstamped(head + b'"versionId":"', tail)


def digest(body: Unstamped) -> bytes:
    """Equal for equal content under one key, whatever version it became."""
    return blake2b(body.tail, digest_size=16, key=blake2b(body.head, digest_size=32).digest()).digest()


def dump(value: Json) -> bytes:
    """JSON bytes with every digit in place."""
    try:
        return orjson.dumps(value, default=_number)
    except orjson.JSONEncodeError as error:
        text = "the JSON is nested too deep" if "ecursion" in str(error) else "a text holds a lone surrogate"
        raise ServiceError(Category.INCORRECT, Issue("structure", text)) from None


def _number(value: object) -> orjson.Fragment:
    if isinstance(value, Number):
        return orjson.Fragment(value.text)
    raise TypeError
