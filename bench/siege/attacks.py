"""Attacks of a hostile or broken sender: a table, each a way to fill a connection.

Run by `bench.siege` in processes of their own, so that sending costs the healthy client nothing.
"""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
import sys
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from bench.load import END_OF_HEAD
from bench.reports import report
from bench.requests import FHIR
from bench.servers import HOST

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

EVIL: Final = "Evil/Production"
BASE: Final = f"/fhir/R4/{EVIL}"
BODY_BYTES: Final = 40_000_000
ZEROS: Final = 1_000_000_000
DRIP_SECONDS: Final = 1.0
REPORT: Final = b'{"resourceType":"DiagnosticReport","status":"final","code":{"text":"x"},"%s":[%s]}'


class Attack(NamedTuple):
    """Attack that each of so many connections makes again and again."""

    connections: int
    method: str
    path: str
    body: Callable[[], bytes]
    headers: Mapping[str, str] = {}
    known: bool = True
    """Whether the token of a tenant is shown."""
    drips: int = 0
    """Bytes of the request that are sent at once; the rest comes a byte a second. 0: all at once."""
    reports: int = 0
    """Reports that the attacker's tenant has."""


def _filled(piece: bytes, element: bytes) -> Callable[[], bytes]:
    def made() -> bytes:
        count = BODY_BYTES // (len(piece) + 1) - 100
        return REPORT % (element, b",".join([piece] * count))

    return made


def _keys() -> bytes:
    extensions = b",".join(b'"k%07d":1' % number for number in range(BODY_BYTES // 13))
    return REPORT % (b"extension", b"{" + extensions + b"}")


def _identifiers() -> bytes:
    ones = (b'{"system":"urn:x","value":"%d"}' % number for number in range(1_000_000))
    return REPORT % (b"identifier", b",".join(ones))


def _text(piece: str, size: int) -> Callable[[], bytes]:
    def made() -> bytes:
        text = (piece * (size // len(piece) + 1))[:size]
        return json.dumps({**report(1, 1), "conclusion": text}, ensure_ascii=False).encode()

    return made


def _narrative() -> bytes:
    return json.dumps(
        {**report(1, 1), "text": {"status": "generated", "div": "<div>" + "<" * 250_000}}
    ).encode()


def _tags() -> bytes:
    div = "<div>" + "<b a='&#106;'>" * ((BODY_BYTES - 1_000) // 14)
    return json.dumps({**report(1, 1), "text": {"status": "generated", "div": div}}).encode()


def _name() -> bytes:
    """A name whose accents nobody has counted."""
    family = "e" + "\u0301\u0327" * 500_000
    return json.dumps({"resourceType": "Patient", "name": [{"family": family}]}, ensure_ascii=False).encode()


def _bundle(kind: str, entry: Callable[[int], object], count: int) -> Callable[[], bytes]:
    def made() -> bytes:
        entries = [entry(number) for number in range(count)]
        return json.dumps({"resourceType": "Bundle", "type": kind, "entry": entries}).encode()

    return made


def _accepts() -> dict[str, str]:
    """As many fields of one name as there are ways to spell it, just within the bounds of a head."""
    spelled = (
        "".join(char.upper() if n >> at & 1 else char for at, char in enumerate("accept")) for n in range(60)
    )
    return dict.fromkeys(spelled, "a/b;q=0.1," * 100)


def _deletion(number: int) -> object:
    return {"request": {"method": "DELETE", "url": f"Patient/nobody-{number}"}}


def _unbounded(number: int) -> object:
    return {"request": {"method": "GET", "url": f"Patient?name={number}"}}


def _faulty(number: int) -> object:
    wrong = [{"url": "urn:x", "valueInteger": "x"}] * 95
    resource = {**report(1, 1), "id": f"faulty-{number}", "extension": wrong}
    return {"resource": resource, "request": {"method": "PUT", "url": f"DiagnosticReport/faulty-{number}"}}


def _lost(number: int) -> object:
    lost = [{"reference": f"urn:uuid:00000000-0000-4000-8000-{number:012d}"}] * 150
    resource = {**report(1, 1), "result": lost}
    return {"resource": resource, "request": {"method": "POST", "url": "DiagnosticReport"}}


def _segments() -> bytes:
    head = b"MSH|^~\\&|A|B|C|D|20260101||ORU^R01|1|P|2.5.1\rPID|1||1^^^X^MR||A^B\r"
    return head + b"OBR\r" * 600_000


def _within(elements: int) -> Callable[[], bytes]:
    """A batch that is just within the limits, of resources of so many values."""

    def made() -> bytes:
        codings = [{"system": "urn:x", "code": str(number)} for number in range(elements // 4)]
        entry = {
            "resource": {**report(1, 1), "category": [{"coding": [one]} for one in codings]},
            "request": {"method": "PUT", "url": "DiagnosticReport/bench-report-1"},
        }
        text = json.dumps(entry, separators=(",", ":"))
        count = min(900_000 // (elements * 5 // 4), (BODY_BYTES - 1_000) // len(text))
        bundle = '{"resourceType":"Bundle","type":"batch","entry":[%s]}'
        return (bundle % ",".join(itertools.repeat(text, max(count, 1)))).encode()

    return made


def _document() -> bytes:
    data = "QUJD" * (30_000_000 // 4)
    return json.dumps({"resourceType": "Binary", "contentType": "application/pdf", "data": data}).encode()


def _zeros(wbits: int) -> bytes:
    made = zlib.compressobj(9, wbits=wbits)
    return b"".join(made.compress(bytes(10_000_000)) for _ in range(ZEROS // 10_000_000)) + made.flush()


def _gzip() -> bytes:
    return _zeros(31)


def _members() -> bytes:
    return gzip.compress(b"") * 200_000


CODED: Final = {"Content-Encoding": "gzip"}
REPORTS: Final = f"{BASE}/DiagnosticReport"
UNFOUND: Final = f"{REPORTS}?_content=nowhere"
"""Search that looks at each report of the tenant, and finds none."""
ATTACKS: Final[Mapping[str, Attack]] = {
    "bomb-401": Attack(4, "POST", REPORTS, _gzip, CODED, known=False),
    "bomb-404": Attack(4, "POST", "/nowhere", _gzip, CODED, known=False),
    "bomb-message": Attack(4, "POST", f"{BASE}/$process-message", _gzip, CODED),
    "bomb-binary": Attack(4, "POST", f"{BASE}/Binary", _gzip, {**CODED, "Content-Type": "application/pdf"}),
    "bomb-deflate": Attack(4, "POST", REPORTS, lambda: _zeros(15), {"Content-Encoding": "deflate"}),
    "members": Attack(4, "POST", REPORTS, _members, CODED),
    "objects": Attack(2, "POST", REPORTS, _filled(b"{}", b"result")),
    "lists": Attack(2, "POST", REPORTS, _filled(b"[]", b"result")),
    "numbers": Attack(2, "POST", REPORTS, _filled(b"1", b"result")),
    "strings": Attack(2, "POST", REPORTS, _filled(b'"a"', b"result")),
    "nested": Attack(2, "POST", REPORTS, lambda: b"[" * 20_000_000 + b"]" * 20_000_000),
    "keys": Attack(2, "POST", REPORTS, _keys),
    "identifiers": Attack(2, "POST", REPORTS, _identifiers),
    "commas": Attack(2, "POST", REPORTS, _text(",", BODY_BYTES)),
    "escapes": Attack(2, "POST", REPORTS, _text('"', 19_000_000)),
    "words": Attack(2, "POST", REPORTS, _text("made up words ", 13_000_000)),
    "accents": Attack(2, "POST", REPORTS, _text("\u0315\u0300", 1_000_000)),
    "narrative": Attack(4, "POST", REPORTS, _narrative),
    "folded": Attack(4, "POST", REPORTS, _text("\ufdfa", 80_000)),
    "segments": Attack(4, "POST", f"{BASE}/$hl7v2", _segments, {"Content-Type": "application/hl7-v2"}),
    "digits": Attack(2, "POST", REPORTS, lambda: REPORT % (b"result", b"9" * BODY_BYTES)),
    "within-small": Attack(2, "POST", BASE, _within(200)),
    "within-large": Attack(2, "POST", BASE, _within(70_000)),
    "truths": Attack(2, "POST", REPORTS, _filled(b"true", b"result")),
    "nothings": Attack(2, "POST", REPORTS, _filled(b"null", b"result")),
    "decimals": Attack(2, "POST", REPORTS, _filled(b"1.00", b"result")),
    "exponents": Attack(2, "POST", REPORTS, _filled(b"1e-400", b"result")),
    "references": Attack(2, "POST", REPORTS, _filled(b'{"reference":"Observation/1"}', b"result")),
    "contained": Attack(2, "POST", REPORTS, _filled(b'{"resourceType":"Patient"}', b"contained")),
    "escaped": Attack(2, "POST", REPORTS, lambda: REPORT % (b"result", b'"' + b"\\u0041" * 6_600_000 + b'"')),
    "blanks": Attack(2, "POST", REPORTS, lambda: b" " * BODY_BYTES),
    "cut": Attack(2, "POST", REPORTS, lambda: REPORT[:80] + b"[" * 50 + b"1," * 19_000_000),
    "tags": Attack(2, "POST", REPORTS, _tags),
    "names": Attack(2, "POST", f"{BASE}/Patient", _name),
    "no-entries": Attack(2, "POST", BASE, _bundle("batch", lambda _: {}, 5_000)),
    "deletions": Attack(2, "POST", BASE, _bundle("batch", _deletion, 5_000)),
    "unbounded": Attack(2, "POST", BASE, _bundle("batch", _unbounded, 5_000)),
    "faults": Attack(2, "POST", BASE, _bundle("batch", _faulty, 2_500)),
    "lost": Attack(2, "POST", BASE, _bundle("transaction", _lost, 1_500)),
    "document": Attack(2, "POST", f"{BASE}/Binary", _document),
    "slashes": Attack(4, "GET", "/" * 120_000, lambda: b"", known=False),
    "fields": Attack(4, "GET", f"{BASE}/metadata", lambda: b"", {f"X-{n}": "a," * 8_000 for n in range(90)}),
    "accepts": Attack(4, "GET", f"{BASE}/metadata", lambda: b"", _accepts()),
    "chunks": Attack(2, "POST", REPORTS, lambda: b"1\r\n \r\n" * 4_000_000, {"Transfer-Encoding": "chunked"}),
    "half-heads": Attack(2_000, "GET", REPORTS, lambda: b"", drips=60),
    "slow-bodies": Attack(2_000, "POST", REPORTS, lambda: bytes(1_000_000), drips=1_000),
    "whole-bodies": Attack(1_000, "POST", REPORTS, lambda: bytes(1_000_000)),
    "slow-searches": Attack(200, "GET", UNFOUND, lambda: b"", reports=20_000),
    "stalled": Attack(8, "POST", REPORTS, lambda: bytes(BODY_BYTES), drips=30_000_000),
}


def request_of(attack: Attack, token: str) -> bytes:
    """The bytes of one request."""
    body = attack.body()
    headers = {"Host": HOST, "Content-Type": FHIR, **attack.headers}
    if "Transfer-Encoding" not in headers:
        headers["Content-Length"] = str(len(body))
    if attack.known:
        headers["Authorization"] = f"Bearer {token}"
    lines = [f"{attack.method} {attack.path} HTTP/1.1", *(f"{n}: {v}" for n, v in headers.items())]
    return "\r\n".join(lines).encode() + END_OF_HEAD + body


async def assail(attack: Attack, port: int, token: str) -> None:
    """Do so until somebody ends the process."""
    request = request_of(attack, token)
    print("ready", flush=True)
    await asyncio.gather(*(_connection(attack, port, request) for _ in range(attack.connections)))


async def _connection(attack: Attack, port: int, request: bytes) -> None:
    while True:
        with suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                await _ask(attack, reader, writer, request)
            finally:
                writer.close()
        await asyncio.sleep(0.05)


async def _ask(
    attack: Attack, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
) -> None:
    view = memoryview(request)
    if not attack.drips:
        answering = asyncio.ensure_future(reader.readuntil(END_OF_HEAD))
        with suppress(OSError):  # Refused, and closed.
            for at in range(0, len(view), 262_144):
                if answering.done():
                    break
                writer.write(view[at : at + 262_144])
                await writer.drain()
        with suppress(OSError, asyncio.IncompleteReadError):
            await asyncio.wait_for(answering, 60)
        return
    writer.write(view[: attack.drips])
    await writer.drain()
    for at in range(attack.drips, len(view)):
        await asyncio.sleep(DRIP_SECONDS)
        writer.write(view[at : at + 1])
        await writer.drain()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(assail(ATTACKS[sys.argv[1]], int(sys.argv[2]), sys.argv[3]))
