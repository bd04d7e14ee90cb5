"""Requests nobody thought of: odd values, names, searches, headers and paths, to be drawn from.

Values are bytes until they are percent-encoded, so that they need not be text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from hypothesis import strategies as st

from tests.support.service import FHIR, FORM

if TYPE_CHECKING:
    from collections.abc import Mapping

CANARY: Final = "Zq7Canary"
"""Stands for what a patient would not like to read in a log."""
NUMBERS: Final = (b"5", b"5.40", b"-0", b"1e400", b"1e-400", b"9" * 400, b"NaN", b"Infinity", b"0x10", b"1_0")
MOMENTS: Final = (
    b"2026",
    b"2026-02",
    b"2026-02-30",
    b"2024-02-29",
    b"2026-03-02T08:15:00+01:00",
    b"2026-03-02T08:15:00.123456789Z",
    b"2026-03-02T24:00:00Z",
    b"9999-12-31T23:59:60+14:00",
    b"0000",
    b"0001-01-01T00:00:00+14:00",
    b"2026-03-02T08:15:00 01:00",
    b"2026-W10",
)
PREFIXES: Final = (b"", b"eq", b"ne", b"gt", b"lt", b"ge", b"le", b"sa", b"eb", b"ap", b"GE", b"xx", b"gege")
VALUES: Final[Mapping[str, tuple[bytes, ...]]] = {
    "token": (
        b"final",
        b"http://loinc.test|58410-2",
        b"|58410-2",
        b"http://loinc.test|",
        b"|",
        b"||",
        b"a|b|c",
    ),
    "reference": (
        b"p1",
        b"Patient/p1",
        b"Patient/p1/_history/1",
        b"http://127.0.0.1/fhir/R4/lab/Production/Patient/p1",
        b"urn:uuid:0c3f8d3e-0000-4000-8000-000000000000",
        b"#p1",
        b"Patient/",
        b"/",
        b"http://[::1",
        b"Nonsense/1",
    ),
    "date": tuple(prefix + moment for prefix in PREFIXES for moment in MOMENTS),
    "string": (b"made", "MÜLLER".encode(), "İ".encode(), "ﬃ".encode(), b"%", b"_"),
    "uri": (b"http://profile.test/a", b"urn:oid:1.2.3", b"::"),
    "quantity": tuple(
        prefix + number + unit
        for prefix in PREFIXES
        for number in NUMBERS
        for unit in (b"", b"|http://unitsofmeasure.org|mg", b"||mg", b"|a", b"|a|b|c")
    ),
}
JUNK: Final = (
    b"\x00",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    "\u202e\u2028\ufeff".encode(),
    "🧪e\u0301".encode(),
    b"\r\nX-Injected: 1",
    b"\x1b[2J\x07",
    b"$where",
    b"$",
    b"|",
    b",",
    b",,,",
    b"\\",
    b"\\,",
    b"\\x",
    b'{"$gt": ""}',
    b'"',
    b"(a+)+$",
    b".*[",
    b"index.code",
    b"../../etc/passwd",
    b"a" * 5_000,
    b"a," * 400,
    b"",
)
RAW: Final = ("%", "%zz", "%u0041", "%00", "%ed%a0%80", "%ff", "+", ";", "=", "?", "%26", "%2525")
"""Into the query as it stands."""
MODIFIERS: Final = (
    "",
    "not",
    "text",
    "of-type",
    "missing",
    "exact",
    "contains",
    "identifier",
    "in",
    "above",
    "Patient",
    "Nonsense",
    "missing:missing",
    "$where",
)
RESULT: Final = {
    "_count": ("0", "1", "2", "-1", "9" * 18, "9" * 19, "1e3", "٣"),
    "_sort": ("date", "-date", "_id,-_lastUpdated", "-", "--date", "code", "date,date", "date:desc"),
    "_total": ("none", "estimate", "accurate", "all"),
    "_summary": ("true", "text", "data", "count", "false", "TRUE"),
    "_elements": ("code", "status,subject", "id", "nonsense", "$where", "code.coding", "__proto__"),
    "_include": ("*", "DiagnosticReport:result", "DiagnosticReport:*", "Patient", ":", "A:b:C:d"),
    "_include:iterate": ("DiagnosticReport:subject:Patient", "*"),
    "_revinclude": ("DiagnosticReport:result", "Provenance:target", "*", "Observation:nonsense"),
    "_format": ("json", "xml", "application/fhir json", ""),
    "_contained": ("true", "false", "both"),
    "_filter": ("name eq x",),
    "_query": ("x",),
    "_list": ("$current-allergies",),
    "_page": ("", "AAAA", "=", "a" * 4_000),
}
HEADERS: Final[Mapping[str, tuple[str, ...]]] = {
    "Prefer": ("handling=strict", "handling=lenient", "handling=strict, handling=lenient", "=;,", CANARY),
    "Accept": ("*/*", FHIR, "text/html", "application/fhir+json;fhirVersion=3.0", ";;q=", f"x/{CANARY}", ","),
    "If-None-Match": ("*", 'W/"1"', CANARY, '"'),
    "If-Modified-Since": ("Sun, 22 Nov 2026 12:00:00 GMT", CANARY, "99999999999999999999", "-1"),
    "If-Match": ('W/"1"', "1", CANARY, "W/"),
    "X-Request-Id": ("a b", "a\tb", "x" * 300),
}
TYPES_OF_BODY: Final = (
    FORM,
    f"{FORM}; charset=utf-8",
    f"{FORM}; charset=utf-16",
    f"{FORM}; charset={CANARY}",
    FHIR,
    "text/plain",
    f"multipart/form-data; boundary={CANARY}",
    ";",
)
IDS: Final = (b"p1", b"r1", b"gone", b".", b"..", b"-", b"a" * 64, b"a" * 65, b"_search", b"_history", b"$x")


@dataclass(frozen=True, slots=True)
class Row:
    """A type as `/metadata` shows it."""

    name: str
    parameters: Mapping[str, str]
    """Name → search type."""


def wild(kind: str) -> st.SearchStrategy[bytes]:
    """A value of this search type, or one that looks like it, or nothing like it."""
    junk = st.sampled_from(JUNK) | st.binary(max_size=8) | st.text(max_size=6).map(utf8)
    good = st.sampled_from(VALUES[kind])
    marked = st.just(CANARY.encode())
    return good | st.lists(good | junk | marked, min_size=1, max_size=4).map(b"".join)


def utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


@st.composite
def names(draw: st.DrawFn, rows: Mapping[str, Row], row: Row, steps: int = 1) -> tuple[str, str]:
    """(parameter with modifier or chain, search type of its values)."""
    name = draw(st.sampled_from(sorted(row.parameters)))
    kind = row.parameters[name]
    form = draw(st.sampled_from(["plain", "plain", "modifier", "chain", "has", "result", "unknown"]))
    if form == "modifier":
        return f"{name}:{draw(st.sampled_from(MODIFIERS))}", kind
    if form in ("chain", "has") and steps <= 5:
        inner_row = rows[draw(st.sampled_from(sorted(rows)))]
        inner, inner_kind = draw(names(rows, inner_row, steps + 1))
        if form == "has":
            back = draw(st.sampled_from(sorted(inner_row.parameters)))
            return f"_has:{inner_row.name}:{back}:{inner}", inner_kind
        typed = draw(st.sampled_from(["", f":{inner_row.name}", ":Patient", ":"]))
        return f"{name}{typed}.{inner}", inner_kind
    if form == "unknown":
        odd = st.sampled_from(
            ["", ".", ":", "_has", "_has:", "$where", "patient.", "nonsense", "_has:::", "a" * 300]
        )
        return draw(odd), kind
    if form == "result" and steps == 1:
        return draw(st.sampled_from(sorted(RESULT))), "result"
    return name, kind


@st.composite
def searches(draw: st.DrawFn, rows: Mapping[str, Row], row: Row) -> str:
    """A query string."""
    parts = []
    for name, kind in draw(st.lists(names(rows, row), min_size=1, max_size=4)):
        if kind == "result":
            value = draw(st.sampled_from(RESULT[name]).map(utf8) | wild("token"))
        else:
            value = draw(wild(kind))
        raw = draw(st.sampled_from(("",) * 12 + RAW))
        parts.append(f"{quote(name, safe=':$')}={quote(value)}{raw}")
    joint = draw(st.sampled_from(["&", "&", "&", "&&", ";"]))
    return joint.join(parts)


headers_of = st.dictionaries(st.sampled_from(sorted(HEADERS)), st.integers(0, 9), max_size=2).map(
    lambda chosen: {name: HEADERS[name][n % len(HEADERS[name])] for name, n in chosen.items()}
)

segments = (st.sampled_from((*IDS, *JUNK[:20], CANARY.encode())) | st.binary(max_size=6)).map(
    lambda raw: quote(raw, safe="$")
)
