"""Read and vread: stored bytes, with the headers that let a client keep them.

https://hl7.org/fhir/R4/http.html#read
"""

from __future__ import annotations

from datetime import UTC, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from aiohttp import hdrs, web

from ingest.keys import RESOURCES, TENANT
from ingest.replies import etag, fhir_json, version_headers
from store.resources import ResourceKey, Stored, present

if TYPE_CHECKING:
    from datetime import datetime


async def read(request: web.Request) -> web.StreamResponse:
    """GET {base}/{Type}/{id}; 304 when the client has this version."""
    found = await request.app[RESOURCES].get(request[TENANT].tenant, _key(request))
    stored = present(found)
    headers = version_headers(stored)
    if _has_it(request, stored):
        return web.Response(status=304, headers=headers)
    return fhir_json(stored.raw, headers=headers)


async def vread(request: web.Request) -> web.StreamResponse:
    """GET {base}/{Type}/{id}/_history/{version}."""
    version = int(request.match_info["version"])
    store = request.app[RESOURCES]
    stored = present(await store.get_version(request[TENANT].tenant, _key(request), version))
    return fhir_json(stored.raw, headers=version_headers(stored))


def _key(request: web.Request) -> ResourceKey:
    return ResourceKey(request.match_info["type"], request.match_info["id"])


def _has_it(request: web.Request, stored: Stored) -> bool:
    """`If-None-Match` decides when it is there, else `If-Modified-Since`. RFC 9110, section 13.2.2."""
    known = request.headers.get(hdrs.IF_NONE_MATCH)
    if known is not None:
        tags = {tag.strip() for tag in known.split(",")}
        return "*" in tags or etag(stored.version) in tags or f'"{stored.version}"' in tags
    since = _date(request.headers.get(hdrs.IF_MODIFIED_SINCE))
    # HTTP dates have whole seconds, so a change within that one goes unseen: ETags are the exact way.
    return since is not None and stored.last_updated < since + timedelta(seconds=1)


def _date(header: str | None) -> datetime | None:
    """An HTTP date; None when there is none, or none that can be read."""
    if header is None:
        return None
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
