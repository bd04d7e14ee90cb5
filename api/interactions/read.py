"""Read and vread: stored bytes, or the part that is asked for, with the headers that let a client keep them.

https://hl7.org/fhir/R4/http.html#read
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from aiohttp import hdrs, web

from api.http.headers import listed, read_date
from api.search.subset import cut_as_asked
from ingest.http.answer_room import SMALL_BYTES
from ingest.http.app_keys import AUDITED, PRINCIPAL, RESOURCES, TENANT, base_of
from ingest.http.reach import seen
from ingest.http.replies import fhir_json, version_headers
from ingest.pipeline.preconditions import has_it
from store.resources.resource_keys import ResourceKey

if TYPE_CHECKING:
    from store.resources.versions import Stored


async def read(request: web.Request) -> web.StreamResponse:
    """GET {base}/{Type}/{id}; 304 when the client has this version."""
    found = await request.app[RESOURCES].get(request[TENANT].tenant, _key(request))
    return await _shown(request, await seen(request[PRINCIPAL], found, base=partial(base_of, request)))


async def vread(request: web.Request) -> web.StreamResponse:
    """GET {base}/{Type}/{id}/_history/{version}; 304 likewise."""
    version = int(request.match_info["version"])
    store = request.app[RESOURCES]
    found = await store.get_version(request[TENANT].tenant, _key(request), version)
    return await _shown(request, await seen(request[PRINCIPAL], found, base=partial(base_of, request)))


async def _shown(request: web.Request, stored: Stored) -> web.Response:
    if AUDITED in request:
        request[AUDITED].answers(stored.key, stored.raw)
    headers, known = version_headers(stored), listed(request, hdrs.IF_NONE_MATCH)
    modified_since = read_date(request.headers.get(hdrs.IF_MODIFIED_SINCE))
    if has_it(stored, none_match=known, modified_since=modified_since):
        return web.Response(status=304, headers=headers)
    query = request.rel_url.raw_query_string
    if query and len(stored.raw) > SMALL_BYTES:  # What is cut down is parsed.
        body = await asyncio.to_thread(cut_as_asked, stored, query)
    else:
        body = cut_as_asked(stored, query)
    return fhir_json(body, headers=headers)


def _key(request: web.Request) -> ResourceKey:
    return ResourceKey(request.match_info["type"], request.match_info["id"])
