"""`/explorer`: a page that shows reports, as a client of the same API with the visitor's own token.

The page holds no data and needs no token; what it shows it asks for like any client. Nothing in it comes from
another host, and its policy lets nothing else run, load or be sent to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiohttp import hdrs, web

from api.explorer.assets import PAGE, library, own
from api.http.app_keys import SETTINGS
from api.http.headers import listed
from ingest.pipeline.preconditions import has_tag

if TYPE_CHECKING:
    from collections.abc import Mapping

    from api.explorer.assets import Asset

PATH: Final = "/explorer"
STATIC: Final = f"{PATH}/static/{{file:[a-z/-]+\\.(?:css|js|svg)}}"
LIBRARY: Final = f"{PATH}/library/{{file:[a-z]+\\.(?:css|js)}}"
POLICY: Final = (
    "default-src 'none'; "
    "script-src 'self'; "
    "style-src 'self'; "
    "img-src 'self' blob:; "
    "connect-src 'self'; "
    "frame-src blob:; "
    "base-uri 'none'; "
    "form-action 'none'; "
    "frame-ancestors 'none'"
)
"""https://www.w3.org/TR/CSP3/: scripts and styles are files of ours; documents are shown from memory."""
_HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": POLICY,
    hdrs.CACHE_CONTROL: "no-cache",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_OFF: Final = "The explorer is turned off here (`DOD_EXPLORER=false`)."
_MISSING: Final = (
    "The explorer needs its chart library, which is not installed: `pip install 'data-on-demand[explorer]'`."
    " The service runs without it."
)


async def page(request: web.Request) -> web.StreamResponse:
    """GET /explorer."""
    _refuse_when_off(request)
    if request.path.endswith("/"):  # Names in the page are relative, so that it works below any prefix.
        raise web.HTTPPermanentRedirect("../explorer")
    if not library():
        return web.Response(status=404, text=_MISSING)
    return _answer(request, own()[PAGE])


async def static(request: web.Request) -> web.StreamResponse:
    """GET /explorer/static/{file}."""
    _refuse_when_off(request)
    return _answer(request, own().get(request.match_info["file"]))


async def library_file(request: web.Request) -> web.StreamResponse:
    """GET /explorer/library/{file}."""
    _refuse_when_off(request)
    return _answer(request, library().get(request.match_info["file"]))


def _refuse_when_off(request: web.Request) -> None:
    if not request.app[SETTINGS].explorer:
        raise web.HTTPNotFound(text=_OFF)


def _answer(request: web.Request, asset: Asset | None) -> web.Response:
    """The file, or 304 when the browser has it."""
    if asset is None:
        raise web.HTTPNotFound(text="The explorer has no such file.")
    headers = {**_HEADERS, hdrs.ETAG: asset.tag}
    if has_tag(listed(request, hdrs.IF_NONE_MATCH), asset.tag):
        return web.Response(status=304, headers=headers)
    return web.Response(body=asset.body, content_type=asset.content_type, charset="utf-8", headers=headers)
