"""Parameters of an operation that changes nothing: by GET in the URL, by POST in the body too.

https://hl7.org/fhir/R4/operations.html#request
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiohttp import hdrs

from api.http.fhir_json import FHIR_BODIES, FORM_BODIES
from ingest.http.body import body_of
from ingest.pipeline.decode import decode
from store.fhir.datatypes import listed
from store.search.parsing.query_text import TEXT_MAX, pairs_of, pairs_of_form

if TYPE_CHECKING:
    from aiohttp import web

    from store.search.parsing.query_text import Pair

PARAMETERS: Final = FHIR_BODIES | FORM_BODIES
"""Media types of the parameters of an operation."""


async def sent_parameters(request: web.Request) -> list[Pair]:
    """Parameters in the URL, then those in a posted Parameters resource or form. Raises ServiceError."""
    pairs = pairs_of(request.rel_url.raw_query_string)
    if request.method == hdrs.METH_POST:
        pairs += _posted(request, await body_of(request, most=TEXT_MAX))
    return pairs


def _posted(request: web.Request, sent: bytes | bytearray) -> list[Pair]:
    if request.content_type in FORM_BODIES:
        return pairs_of_form(sent)
    pairs: list[Pair] = []
    for one in listed(decode(sent).get("parameter")) if sent else ():
        if isinstance(one, dict) and isinstance(one.get("name"), str):
            value = next((value for name, value in one.items() if name.startswith("value")), "")
            text = str(value).lower() if isinstance(value, bool) else str(value)
            pairs.append((one["name"], text))
    return pairs
