"""Bounds of what surrounds a body: the head as a whole, looked at before any route, and the chunks. Pure.

aiohttp bounds each line alone. Its router takes the parts off the end of a path one by one, and copies the
rest each time: 2.3 s for a path of 128 KB that is all slashes. A list in a hundred fields, `Accept` say,
takes 0.4 s to read.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple

from ingest.http.outcome import issue_of_status, render
from store.fhir.issues import Issue

if TYPE_CHECKING:
    from collections.abc import Sequence

END_OF_HEAD: Final = b"\r\n\r\n"
LINE_BYTES_MAX: Final = 131_072
"""Longest request line: a sealed page link holds the whole search."""
PATH_MAX: Final = 2_000
"""Characters of a path: ids, types and names of tenants have 64 each."""
FIELD_BYTES_MAX: Final = 16_384
"""Longest header field."""
FIELDS_MAX: Final = 100
"""Most header fields of a request."""
FIELDS_BYTES_MAX: Final = 65_536
"""Bytes of all header fields of a request together."""
HEAD_BYTES_MAX: Final = LINE_BYTES_MAX + FIELDS_BYTES_MAX
"""Bytes of a head that are taken while its end has not come."""
BLANK_BYTES_MAX: Final = 1_024
"""Bytes of empty lines that are passed over before a request: some clients send one behind a body, and parts
of a head that comes line by line look alike.

https://www.rfc-editor.org/rfc/rfc9112#section-2.2
"""
FRAMING_BYTES: Final = 32_768
"""Bytes of the framing of a body that are taken in any case."""
FRAMING_PART: Final = 8
"""Body bytes for each further one of its framing: chunks of 50 bytes and more. Chunks of one byte each, six
with their framing, keep the event loop for 0.3 s of each megabyte."""
LONG_PATH: Final = f"The path of a URL has at most {PATH_MAX} characters; a search may be sent as a form."
LARGE_FIELDS: Final = f"The header fields of a request have at most {FIELDS_BYTES_MAX} bytes together."
OTHER_CODING: Final = (
    "The body is sent with a `Content-Length`, or with `Transfer-Encoding: chunked` alone by HTTP/1.1; it is"
    " compressed by `Content-Encoding`."
)
SMALL_CHUNKS: Final = Issue(
    "too-costly", "the chunks of the body are too small: most of what was sent is their framing"
)


class Fault(NamedTuple):
    """Bound that a head exceeds, or a coding of its body that is not read."""

    status: int
    text: str


TOO_LARGE: Final = Fault(431, LARGE_FIELDS)
UNREAD: Final = Fault(501, OTHER_CODING)
"""Transfer codings beside `chunked` would be left in the body, as if they were its content.

https://www.rfc-editor.org/rfc/rfc9112#section-6.1
"""
TOO_BLANK: Final = Fault(400, "More empty lines came before the request than are passed over.")
TOO_LATE: Final = Fault(408, "The header fields of the request took too long to arrive.")


def fault_of(path: str, fields: Sequence[tuple[bytes, bytes]], *, is_http_11: bool = True) -> Fault | None:
    """The bound that a head exceeds, by its path as it was sent and its header fields; None: none."""
    if len(path) > PATH_MAX:
        return Fault(414, LONG_PATH)
    size = sum(len(name) + len(value) + 4 for name, value in fields)  # `: ` and the line end.
    if size > FIELDS_BYTES_MAX:
        return TOO_LARGE
    codings = [value for name, value in fields if name.lower() == b"transfer-encoding"]
    if codings and not (is_http_11 and [one.strip().lower() for one in codings] == [b"chunked"]):
        return UNREAD
    return None


def framing_max(body: int) -> int:
    """Bytes of framing that a body of so many bytes may have so far."""
    return FRAMING_BYTES + body // FRAMING_PART


def unheard(fault: Fault) -> bytes:
    """The whole answer to a head whose end is not waited for."""
    body = render((issue_of_status(fault.status, fault.text),))
    return (
        b"HTTP/1.1 %d %s\r\nContent-Type: application/fhir+json; charset=utf-8\r\n"
        b"Content-Length: %d\r\nServer: dod\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n%b"
    ) % (fault.status, HTTPStatus(fault.status).phrase.encode(), len(body), body)
