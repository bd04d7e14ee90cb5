"""Request targets in absolute form, as proxies send them: the server is named there, and not by `Host`. Pure.

aiohttp keeps the host of such a target without its port, which page links then lack.
https://www.rfc-editor.org/rfc/rfc9112#section-3.2.2
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import hdrs
from multidict import CIMultiDict, CIMultiDictProxy

if TYPE_CHECKING:
    from aiohttp.http_parser import RawRequestMessage


def in_origin_form(message: RawRequestMessage) -> RawRequestMessage:
    """The request as it would be sent without a proxy: its target is a path, its server the `Host`."""
    target = message.url
    if not target.absolute or not target.scheme:
        return message
    headers = CIMultiDict(message.headers)
    headers[hdrs.HOST] = target.host_port_subcomponent or ""
    path = target.relative()
    return message._replace(url=path, path=path.raw_path_qs, headers=CIMultiDictProxy(headers))
