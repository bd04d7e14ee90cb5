"""The file in a form, as clients send it."""

from __future__ import annotations

import pytest

from ingest.http.multipart import file_of
from store.errors import ServiceError

TYPED = b"Content-Type: application/pdf\r\n\r\n"
FILE = b'--b\r\nContent-Disposition: form-data; name="doc"; filename="a.pdf"\r\n' + TYPED
NAMED = b"--b\r\nContent-Disposition: form-data; name=file\r\n\r\n"
FIELD = b'--b\r\nContent-Disposition: form-data; name="note"\r\n\r\nx\r\n'
END = b"\r\n--b--\r\n"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (FILE + b"%PDF" + END, ("application/pdf", b"%PDF")),
        (b"preamble\r\n" + FILE + b"%PDF" + END + b"epilogue", ("application/pdf", b"%PDF")),
        (FIELD + NAMED + b"a\r\n\r\nb\r\n" + END, (None, b"a\r\n\r\nb\r\n")),
        (NAMED + b"\r\n--c\r\n-- b--" + END, (None, b"\r\n--c\r\n-- b--")),
        (NAMED + END, (None, b"")),
        (FILE + b"x\r\n" + FIELD[:-2] + END, ("application/pdf", b"x")),
    ],
)
def test_the_file_is_found_as_it_is(body: bytes, expected: tuple[str | None, bytes]) -> None:
    found = file_of(bytearray(body), "b")
    assert (found.content_type, bytes(found.content)) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no form",
        b'--b\r\nContent-Disposition: form-data; name="file"; ' + b"(" * 1_900 + b"\r\n\r\nx" + END,
        b'--b\r\nContent-Disposition: form-data; name="file"; ' + b";" * 2_000 + b"\r\n\r\nx" + END,
        FIELD * 20 + FILE + b"x" + END,
        FILE + b"%PDF",
        FIELD[:-2] + END,
        FILE + b"1\r\n" + FILE + b"2" + END,
        b"--b",
        b"--b\r\n",
        b"--b\r\nContent-Disposition: form-data; name=file" + END,
        NAMED.replace(b"\r\n\r\n", b"\r\nContent-Transfer-Encoding: base64\r\n\r\n") + b"AA==" + END,
        FIELD * 101 + NAMED + END,
        NAMED.replace(b"name", b"x" * 9_000) + END,
    ],
)
def test_what_is_no_form_with_one_file_is_refused_in_a_sentence(body: bytes) -> None:
    with pytest.raises(ServiceError, match="The body "):
        file_of(bytearray(body), "b")


def test_a_boundary_is_needed() -> None:
    with pytest.raises(ServiceError, match="boundary"):
        file_of(bytearray(NAMED + END), "")
