"""The file in a `multipart/form-data` body, found without a copy of what is around it. Pure.

https://www.rfc-editor.org/rfc/rfc7578, https://www.rfc-editor.org/rfc/rfc2046#section-5.1.1
"""

from __future__ import annotations

from email.message import EmailMessage
from email.parser import BytesHeaderParser
from email.policy import HTTP
from typing import Final, NamedTuple

from store.errors import Category, ServiceError
from store.fhir.issues import Issue

PARTS_MAX: Final = 20
"""Parts of a body that are looked at."""
HEADERS_MAX: Final = 2_000
"""Bytes of a part's headers. The library takes a second for 8 kB of them, if they are of quotes."""
_AS_IT_IS: Final = frozenset({"7bit", "8bit", "binary"})
_HEADERS: Final = BytesHeaderParser(EmailMessage, policy=HTTP)


class Part(NamedTuple):
    """A file of a form."""

    content_type: str | None
    content: memoryview


def file_of(body: bytearray, boundary: str) -> Part:
    """The only file of a form: the part with a file name, or named `file`. Raises ServiceError."""
    try:
        parts = [found for head, content in _parts(body, boundary) if (found := _file(head, content))]
    except RecursionError:  # The library's, of a header of brackets.
        raise _wrong("has parts with headers as they are in mail") from None
    if len(parts) != 1:
        raise _wrong("has one file: a part with a `filename`, or named `file`")
    return parts[0]


def _parts(body: bytearray, boundary: str) -> list[tuple[EmailMessage, memoryview]]:
    if not boundary:
        raise _wrong("is `multipart/form-data`, whose `Content-Type` names the `boundary`")
    mark = b"--" + boundary.encode("ascii", "replace")
    view, found = memoryview(body), list[tuple[EmailMessage, memoryview]]()
    at = 0 if body.startswith(mark) else body.find(b"\r\n" + mark) + 2
    if at == 1:
        raise _wrong("begins with the `boundary` that `Content-Type` names")
    while not body.startswith(b"--", at + len(mark)):
        start = body.find(b"\r\n", at, at + len(mark) + HEADERS_MAX) + 2
        head = body.find(b"\r\n\r\n", start - 2, start + HEADERS_MAX)
        end = body.find(b"\r\n" + mark, head + 2)
        if start == 1 or head < 0 or end < 0 or len(found) == PARTS_MAX:
            raise _wrong("is a form of a few parts, each with its headers, closed by its boundary and `--`")
        found.append((_headers(bytes(view[start:head])), view[min(head + 4, end) : end]))
        at = end + 2
    return found


def _headers(head: bytes) -> EmailMessage:
    return _HEADERS.parsebytes(head + b"\r\n\r\n")


def _file(head: EmailMessage, content: memoryview) -> Part | None:
    disposition = head["Content-Disposition"]
    told = dict(disposition.params) if disposition is not None else {}
    if "filename" not in told and told.get("name") != "file":
        return None
    if str(head.get("Content-Transfer-Encoding", "binary")).strip().lower() not in _AS_IT_IS:
        raise _wrong("holds the file as it is: `Content-Transfer-Encoding` is of mail")
    kind = head["Content-Type"]
    return Part(None if kind is None else str(kind.content_type), content)


def _wrong(rule: str) -> ServiceError:
    return ServiceError(Category.INCORRECT, Issue("structure", f"The body {rule}."))
