"""Requests and messages of any kind, as bytes: what hostile and broken senders send. Pure.

For `make fuzz` and `make soak-fuzz`.
"""

from __future__ import annotations

import gzip
import json
import zlib
from typing import TYPE_CHECKING, Any, Final

from bench.reports import report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from random import Random

METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "BREW", "P\x00ST", "")
PATHS: Final = (
    "DiagnosticReport",
    "DiagnosticReport/r1",
    "DiagnosticReport/_search",
    "DiagnosticReport?patient=p1&_count=1",
    "DiagnosticReport?%ff=%00&&=",
    "$process-message",
    "Binary",
    "Binary/b1",
    "",
    "metadata",
    "../../../etc/passwd",
    "Patient/p1/$purge",
    "$dead-letters",
)
TYPES: Final = (
    "application/fhir+json",
    "application/json",
    "application/json-patch+json",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/pdf",
    "text/plain; charset=utf-7",
    "",
)
FIELDS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("Content-Encoding", ("gzip", "deflate", "br", "zstd", "gzip, gzip", "identity", "\xff")),
    ("Transfer-Encoding", ("chunked", "gzip, chunked", "chunked, chunked", "x")),
    ("Expect", ("100-continue", "something")),
    ("Accept", ("application/fhir+json", "text/html", "*/*;q=0", "," * 50)),
    ("Prefer", ("return=minimal", "handling=strict", "=" * 100)),
    ("If-Match", ('W/"1"', "*", '"' * 30)),
    ("If-None-Exist", ("identifier=a|b", "&=%00", "_id=r1")),
    ("Idempotency-Key", ("k", "\x7f" * 10, "k" * 300)),
    ("Range", ("bytes=0-1", "bytes=-9999999999999999999999")),
    ("Host", ("evil.example", "", "[::", "a" * 300)),
    ("Connection", ("close", "upgrade", "keep-alive, upgrade")),
    ("Upgrade", ("websocket", "h2c")),
    ("X-Request-Id", ("\t", "x" * 100)),
    ("verification-token", ("x" * 20, "\x01")),
    ("Content-Length", ("5", "-1", "999999999999999999999", "1, 2", "0x10")),
)
LEAVES: Final[tuple[Any, ...]] = (
    *(None, True, 0, -0.0, 1e308, 10**400, "", "\u0000", "\ud800", "x" * 5_000),
    *("2026-02-30", "Patient/p1", "#x", [], {}),
)
NAMES: Final = (
    *"resourceType id status code coding subject reference identifier value contained meta entry".split(),
    *"request method url data contentType text div extension _status".split(),
    *("", "\u0000"),
)


def _json(draw: Random, depth: int = 0) -> Any:  # noqa: ANN401 -- any JSON
    kind = draw.random()
    if depth > 6 or kind < 0.4:
        return draw.choice(LEAVES)
    if kind < 0.6:
        return [_json(draw, depth + 1) for _ in range(draw.randrange(5))]
    return {draw.choice(NAMES): _json(draw, depth + 1) for _ in range(draw.randrange(6))}


def _resource(draw: Random) -> bytes:
    kind = draw.choice(("DiagnosticReport", "Patient", "Bundle", "Binary", "Parameters", "Nonsense"))
    made = {"resourceType": kind, "id": "r1", draw.choice(NAMES): _json(draw)}
    if draw.random() < 0.5:
        made = {**report(1, 1), "id": "r1", draw.choice(NAMES): _json(draw)}
    return json.dumps(made).encode(errors="surrogatepass")


BODIES: Final[tuple[Callable[[Random], bytes], ...]] = (
    _resource,
    _resource,
    lambda draw: json.dumps(_json(draw)).encode(errors="surrogatepass"),
    lambda draw: draw.randbytes(draw.randrange(3_000)),
    lambda draw: (
        draw.choice((b"[", b'{"a":', b'{"resourceType":"Bundle","entry":[')) * draw.randrange(50_000)
    ),
    lambda draw: b"patient=p1&" * draw.randrange(2_000),
    lambda draw: gzip.compress(bytes(draw.randrange(3_000_000))),
    lambda draw: gzip.compress(_resource(draw))[: draw.randrange(200)],
    lambda draw: zlib.compress(_resource(draw)) + draw.randbytes(draw.randrange(5)),
    lambda _: b"",
)


def request(draw: Random, root: str, credentials: Iterable[tuple[str, str]]) -> bytes:
    """A request below a root, or something like it; mostly it shows the credentials."""
    if draw.random() < 0.1:
        return draw.randbytes(draw.randrange(1, 2_000))
    body = draw.choice(BODIES)(draw)
    fields = [("Host", "127.0.0.1"), ("Content-Type", draw.choice(TYPES))]
    if draw.random() < 0.8:
        fields += credentials
    if draw.random() < 0.9:
        fields.append(("Content-Length", str(len(body) + draw.choice((0, 0, 0, 0, 1, -1)))))
    fields += [(name, draw.choice(values)) for name, values in FIELDS if draw.random() < 0.08]
    path = f"{root}/{draw.choice(PATHS)}" if draw.random() < 0.95 else draw.choice(("*", "//", "%", "x"))
    lines = [f"{draw.choice(METHODS)} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields)]
    made = "\r\n".join([*lines, "", ""]).encode("latin-1", errors="replace") + body
    return made if draw.random() < 0.85 else made[: draw.randrange(len(made) + 1)]


# --- HL7 v2

SPECIAL: Final = (
    b"\x0b",
    b"\x1c",
    b"\x1c\r",
    b"\r",
    b"\n",
    b"|",
    b"^",
    b"~",
    b"\\",
    b"&",
    b"\x00",
    b"\xff",
    b"MSH|",
    b"PID|",
)


def _cut(message: bytes, draw: Random) -> bytes:
    return message[: draw.randrange(len(message))]


def _inserted(message: bytes, draw: Random) -> bytes:
    at = draw.randrange(len(message))
    return message[:at] + draw.choice(SPECIAL) * draw.choice((1, 2, 50)) + message[at:]


def _swapped(message: bytes, draw: Random) -> bytes:
    lines = message.split(b"\r")
    draw.shuffle(lines)
    return b"\r".join(lines)


def _noise(message: bytes, draw: Random) -> bytes:
    return message + draw.randbytes(draw.choice((1, 100, 5_000)))


def _field(message: bytes, draw: Random) -> bytes:
    fields = message.split(b"|")
    fields[draw.randrange(len(fields))] = draw.choice(
        (b"", b'""', b"x" * 3_000, b"^" * 300, b"99991399", b"\xc3\x28")
    )
    return b"|".join(fields)


MUTATIONS: Final[tuple[Callable[[bytes, Random], bytes], ...]] = (_cut, _inserted, _swapped, _noise, _field)


def mutated(message: bytes, draw: Random) -> bytes:
    """A message, changed in some ways."""
    for _ in range(draw.randrange(1, 4)):
        message = draw.choice(MUTATIONS)(message, draw) or b"x"
    return message
