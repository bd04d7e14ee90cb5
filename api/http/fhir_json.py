"""Checks of a request before a handler sees it: that JSON will do, and that its body can be read.

`api.http.routing` applies the refusals by the row of the route table.
https://hl7.org/fhir/R4/http.html#mime-type
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from aiohttp import hdrs, web
from aiohttp.helpers import parse_mimetype

from api.http.headers import listed
from ingest.http.body import ENCODINGS
from store.search.parsing.query_text import value_of

if TYPE_CHECKING:
    from collections.abc import Mapping

FHIR_BODIES: Final = frozenset({"application/fhir+json", "application/json"})
JSON_BODIES: Final = frozenset({"application/json"})
FORM_BODIES: Final = frozenset({"application/x-www-form-urlencoded"})
PATCH_FORMATS: Final = frozenset({"application/json-patch+json", "application/merge-patch+json"})
PATCH_BODIES: Final = PATCH_FORMATS | {"application/json"}
"""Some clients do not tell which one of them theirs is."""
_UNICODE: Final = FHIR_BODIES | FORM_BODIES | PATCH_BODIES
_OTHER_BODIES: Final[Mapping[frozenset[str], str]] = {
    FORM_BODIES: " A search by POST is a form: `name=value&…`.",
    PATCH_BODIES: " FHIRPath Patch and XML Patch are not offered.",
}
JSON_FORMATS: Final = frozenset(
    {"json", "application/json", "application/fhir+json", "application/fhir json", "text/json"}
)
"""Values of `_format` and media types of `Accept` that JSON satisfies; a `+` in a query is a space."""
RANGE_MAX: Final = 500
"""Characters of a media range that is read, parameters included."""
WILDCARDS: Final = frozenset({"*/*", "application/*"})
FHIR_VERSIONS: Final = frozenset({"4.0", "4.0.1"})


def refuse_unacceptable(request: web.Request) -> None:
    """Raise 406 unless JSON is what the client wants. `_format` wins over `Accept`."""
    wanted = value_of(request.rel_url.raw_query_string, "_format")
    if wanted is not None:
        refuse_unknown_format(wanted)
        return
    accept = listed(request, hdrs.ACCEPT)
    if accept is not None and not accepts_json(accept):
        raise web.HTTPNotAcceptable(text="Only FHIR JSON is served: `Accept: application/fhir+json`.")


def refuse_unknown_format(wanted: str) -> None:
    """Raise 406 unless this value of `_format` (in a query or a search form) means JSON."""
    known = wanted.partition(";")[0].strip().lower() in JSON_FORMATS and _is_of_our_version(wanted)
    if wanted and not known:
        raise web.HTTPNotAcceptable(text="Only FHIR JSON is served: `_format=json`.")


@lru_cache(maxsize=256)
def accepts_json(accept: str) -> bool:
    """Whether an `Accept` header leaves room for FHIR R4 JSON."""
    return not accept.strip() or any(_range_allows(part) for part in accept.split(","))


def _range_allows(part: str) -> bool:
    if len(part) > RANGE_MAX:
        return False
    media = parse_mimetype(part.strip().lower())
    name = f"{media.type}/{media.subtype}" + (f"+{media.suffix}" if media.suffix else "")
    version = media.parameters.get("fhirversion", "4.0")
    return (
        (name in JSON_FORMATS or name in WILDCARDS)
        and version in FHIR_VERSIONS
        and media.parameters.get("q", "1").rstrip("0") not in {"", "0.", "."}
    )


def refuse_unreadable_body(request: web.Request, media_types: frozenset[str]) -> None:
    """Raise 415 unless the body is of one of these media types and in an encoding we decode."""
    refuse_unknown_encoding(request)
    if request.content_type not in media_types and request.body_exists:
        offered = ", ".join(sorted(media_types))
        others = _OTHER_BODIES.get(media_types, "")
        if media_types == FHIR_BODIES and request.content_type in FORM_BODIES:
            others = " A form, which curl sends without this header, is for `{Type}/_search`."
        raise web.HTTPUnsupportedMediaType(text=f"`Content-Type` is one of {offered}.{others}")
    refuse_other_version(request)
    charset = request.charset
    # Where other than FHIR's bodies are taken, they may be in any charset.
    if media_types <= _UNICODE and charset is not None and charset.lower() not in {"utf-8", "utf8"}:
        raise web.HTTPUnsupportedMediaType(text="The charset of a body is UTF-8.")


def refuse_other_version(request: web.Request) -> None:
    """Raise 415 for a body that says it is of another FHIR version."""
    content_type = request.headers.get(hdrs.CONTENT_TYPE)
    if content_type is not None and not _is_of_our_version(content_type):
        raise web.HTTPUnsupportedMediaType(text="Bodies are FHIR R4: `fhirVersion=4.0`, or leave it out.")


@lru_cache(maxsize=256)
def _is_of_our_version(media_type: str) -> bool:
    version = parse_mimetype(media_type.strip().lower()).parameters.get("fhirversion", "4.0")
    return version.strip() in FHIR_VERSIONS


def refuse_unknown_encoding(request: web.Request) -> None:
    """Raise 415 unless the body is in an encoding we decode."""
    encoding = listed(request, hdrs.CONTENT_ENCODING)
    if encoding is not None and encoding.strip().lower() not in ENCODINGS:
        offered = ", ".join(sorted(ENCODINGS))
        raise web.HTTPUnsupportedMediaType(text=f"`Content-Encoding` is one of {offered}.")
