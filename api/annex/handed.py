"""A request on its way to the annex: its head as it came, and what was found out about it.

It crosses a socket in a folder that nobody else can open, between two processes of one program; so pickle
reads it, as in `multiprocessing`. The body follows as it is, and is looked at over there.
"""

from __future__ import annotations

import pickle
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from aiohttp import hdrs

from api.http.app_keys import REQUEST_ID, TRACE_PARENT
from ingest.http.app_keys import PRINCIPAL, TENANT, CameIn, address_of, origin_of

if TYPE_CHECKING:
    from aiohttp import web
    from yarl import URL

    from ingest.caller import Caller
    from store.tenancy import TenantSettings

HEADER: Final = "Dod-Handed"
TENANT_HEADER: Final = "Dod-Tenant"
"""Header field of the answer: the tenant, which the body may have named."""
FIELD_BYTES_MAX: Final = 16_000_000
"""Longest header field between the two: a token may be for a thousand tenants."""
_OF_BODY: Final = frozenset({"content-encoding", "content-length", "transfer-encoding", "traceparent"})
"""Header fields of the body as it came, and of the trace, which goes on as ours."""
_TRACE: Final = "traceparent"
_UNTRACED: Final = f"00-{1:032x}-{1:016x}-00"
"""Parent of what is not traced: its child decides nothing by chance."""


class Handed(NamedTuple):
    """Request as it is handed over."""

    method: str
    path: str
    url: URL
    headers: tuple[tuple[str, str], ...]
    request_id: str
    came_in: CameIn
    caller: Caller
    tenant: TenantSettings | None
    """None: the body names it."""

    @classmethod
    def of(cls, request: web.Request, size: int) -> Self:
        """The request, with a body of so many bytes. Raises 421."""
        kept = [(name, value) for name, value in request.headers.items() if name.lower() not in _OF_BODY]
        told = (hdrs.CONTENT_LENGTH, str(size)), (_TRACE, request.get(TRACE_PARENT, _UNTRACED))
        return cls(
            request.method,
            request.raw_path,
            request.rel_url,
            (*kept, *told),
            request[REQUEST_ID],
            CameIn(origin_of(request), address_of(request)),
            request[PRINCIPAL],
            request.get(TENANT),
        )

    def header(self) -> str:
        """All of it, as the value of a header field."""
        return b64encode(pickle.dumps(self)).decode()

    @classmethod
    def read(cls, header: str) -> Self:
        """The request of a header field."""
        read = pickle.loads(b64decode(header))  # noqa: S301 -- from ourselves, see above
        assert isinstance(read, cls)  # noqa: S101 -- nobody else can write there
        return read
