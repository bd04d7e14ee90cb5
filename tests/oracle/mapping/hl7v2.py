"""An oracle for the mapping of HL7 v2: the fields of a message, read with python-hl7, looked for in FHIR.

It knows nothing of the reader or the tables that it checks: values are found by their own text.
"""

from __future__ import annotations

import re
from base64 import b64decode
from typing import TYPE_CHECKING, Any, Final

import hl7

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_REPORT: Final = {"O": "registered", "I": "registered", "S": "registered", "P": "preliminary", "R": "partial"}
_REPORT.update({"A": "partial", "F": "final", "C": "corrected", "X": "cancelled"})
_RESULT: Final = {
    "F": "final",
    "P": "preliminary",
    "C": "corrected",
    "X": "cancelled",
    "D": "entered-in-error",
}
_RESULT.update({"W": "entered-in-error", "U": "final", "A": "amended", "R": "preliminary", "I": "registered"})
_ESCAPES: Final = {
    "F": "|",
    "S": "^",
    "T": "&",
    "R": "~",
    "E": "\\",
    "P": "#",
    "H": "",
    "N": "",
    ".br": "\n",
    ".sp": "\n",
    ".ce": "\n",
}
_NUMBER: Final = re.compile(r"[+-]?\d*\.?\d+")


def missing(text: str, resources: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Places of a message whose values are not in the resources that were made of it."""
    message = hl7.parse(text.rstrip("\r"))
    known = list(resources)
    yield from _of_patients(message, _of_type(known, "Patient"))
    by_url = {f"{one['resourceType']}/{one['id']}": one for one in known if "id" in one}
    by_url.update({one["_url"]: one for one in known if "_url" in one})
    reports = _of_type(known, "DiagnosticReport")
    for order in _orders(message):
        number = f"OBR {_get(order[0], 1) or '?'}"
        report = _report_of(order[0], reports)
        if report is None:
            yield f"{number}: no report"
            continue
        reports.remove(report)
        yield from (f"{number}: {fault}" for fault in _of_report(order[0], report))
        results = [by_url[one["reference"]] for one in report.get("result", ()) if one["reference"] in by_url]
        for obx in order[1:]:
            if not any(next(_of_result(obx, one, report), None) is None for one in results):
                near = min(
                    (list(_of_result(obx, one, report)) for one in results),
                    key=len,
                    default=["no result at all"],
                )
                yield f"{number} OBX {_get(obx, 1)}: {', '.join(near)}"


def _of_type(resources: Iterable[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [one for one in resources if one["resourceType"] == kind]


def _orders(message: Any) -> Iterator[list[Any]]:
    """Each OBR with the OBX that follow it."""
    order: list[Any] = []
    for segment in message:
        name = str(segment[0])
        if name == "OBR":
            if order:
                yield order
            order = [segment]
        elif name == "OBX" and order:
            order.append(segment)
    if order:
        yield order


def _get(segment: Any, field: int) -> str:
    """A field as it was sent."""
    text = str(segment[field]) if len(segment) > field else ""
    return "" if text == '""' else text


def plain(text: str) -> str:
    """Text without escape sequences, as far as this oracle knows them."""

    def one(match: re.Match[str]) -> str:
        command = match[1]
        if command in _ESCAPES:
            return _ESCAPES[command]
        if re.fullmatch(r"X(?:[0-9A-Fa-f]{2})+", command):
            return bytes.fromhex(command[1:]).decode("utf-8", "replace")
        return "" if re.fullmatch(r"\.[a-z]{2}[+-]?\d*", command) else match[0]

    return re.sub(r"\\([^\\]*)\\", one, text).strip()


def _first(text: str) -> str:
    return plain(re.split(r"[~^]", text)[0])


def _said(value: Any) -> Iterator[str]:
    """Every text and number of an element; documents are read."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == "data" and isinstance(inner, str):
                yield b64decode(inner).decode("utf-8", "replace")
            yield from _said(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _said(inner)
    elif value is not None:
        yield str(value)


def _is_said(text: str, value: Any, *, number: bool = False) -> bool:
    if not text:
        return True
    words = [" ".join(one.split()) for one in _said(value)]
    wanted = " ".join(text.split())
    if number and _NUMBER.fullmatch(wanted.lstrip("<=> ")):
        wanted = wanted.lstrip("<=> ")
        return any(_NUMBER.fullmatch(one) and float(one) == float(wanted) for one in words) or wanted in words
    return any(wanted in one for one in words)


def _is_date(sent: str, value: Any) -> bool:
    """Whether a date is told with all its digits; what is no date is told as it was sent."""
    text = _first(sent)
    if not text:
        return True
    digits = re.sub(r"[+-]\d{4}$|[^0-9]", "", text)
    told = [re.sub(r"[^0-9]", "", re.sub(r"(Z|[+-]\d\d:\d\d)$", "", one)) for one in _said(value)]
    return any(one.startswith(digits) for one in told) or text in _said(value)


def _of_patients(message: Any, patients: list[dict[str, Any]]) -> Iterator[str]:
    for segment in (one for one in message if str(one[0]) == "PID"):
        for number in filter(None, _get(segment, 3).split("~")):
            wanted = plain(number.split("^")[0])
            told = [one.get("value") for patient in patients for one in patient.get("identifier", ())]
            if wanted and wanted not in told:
                yield "PID-3"


def _report_of(obr: Any, reports: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The report of an OBR: by its numbers and code, else the first that is left."""
    numbers = {_first(_get(obr, at)) for at in (2, 3)} - {""}
    for report in reports:
        told = {one.get("value") for one in report.get("identifier", ())}
        if numbers <= told and _is_said(_first(_get(obr, 4)), report["code"]):
            return report
    return None if numbers else next(iter(reports), None)


def _of_report(obr: Any, report: dict[str, Any]) -> Iterator[str]:
    code = [plain(one) for one in _get(obr, 4).split("~")[0].split("^")]
    for at in (0, 1, 3, 4):
        if len(code) > at and not _is_said(code[at], report["code"]):
            yield f"OBR-4.{at + 1}"
    when = [report.get("effectiveDateTime"), report.get("effectivePeriod"), report.get("_effectiveDateTime")]
    if not _is_date(_get(obr, 7), when):
        yield "OBR-7"
    if not _is_date(_get(obr, 22), [report.get("issued"), report.get("_issued")]):
        yield "OBR-22"
    status = _first(_get(obr, 25))
    if status and report["status"] != _REPORT.get(status):
        yield "OBR-25"


def _of_result(obx: Any, result: dict[str, Any], report: dict[str, Any]) -> Iterator[str]:
    code = [plain(one) for one in _get(obx, 3).split("~")[0].split("^")]
    for at in (0, 1, 3, 4):
        if len(code) > at and not _is_said(code[at], result["code"]):
            yield f"OBX-3.{at + 1}"
            return
    kind = _first(_get(obx, 2))
    if kind == "ED":
        yield from _of_document(_get(obx, 5), report)
    elif not _is_value(kind, _get(obx, 5), [result, report.get("presentedForm")]):
        yield "OBX-5"
    for at in (0, 1):
        unit = [plain(one) for one in _get(obx, 6).split("~")[0].split("^")]
        named = len(unit) > at and (at == 1 or len(unit) < 2 or not unit[1] or (len(unit) > 2 and unit[2]))
        if named and unit[at] and _get(obx, 5) and not _is_said(unit[at], result):
            yield f"OBX-6.{at + 1}"
    if not _is_said(plain(_get(obx, 7)), result.get("referenceRange")):
        yield "OBX-7"
    for flag in _get(obx, 8).split("~"):
        if not _is_said(_first(flag), result.get("interpretation")):
            yield "OBX-8"
    status = _first(_get(obx, 11))
    if status in _RESULT and result["status"] != _RESULT[status]:
        yield "OBX-11"


def _is_value(kind: str, sent: str, told: Any) -> bool:
    if kind in ("TS", "DT", "DTM", "TM"):
        return all(_is_date(one, told) for one in sent.split("~"))
    if kind in ("ST", "TX", "FT"):
        return all(_is_said(line, told) for part in sent.split("~") for line in plain(part).split("\n"))
    parts = [plain(part) for one in sent.split("~") for piece in one.split("^") for part in piece.split("&")]
    if kind in ("CE", "CWE", "CNE"):
        # Names of coding systems become URIs.
        parts = [
            p
            for one in sent.split("~")
            for n, p in enumerate(map(plain, one.split("^")))
            if n % 3 != 2 and n < 6
        ]
    if kind == "RP":
        parts = parts[:1]  # The type becomes a MIME type.
    if kind == "SN":
        parts = [part for part in parts if part not in ("=", "-", ":", "/")]
    return all(_is_said(part, told, number=kind in ("NM", "SN")) for part in parts)


def _of_document(sent: str, report: dict[str, Any]) -> Iterator[str]:
    """ED: the data is in one of the report's documents, itself or as a part of one that was joined."""
    for one in sent.split("~"):
        parts = one.split("^")
        data = re.sub(r"\s|\\\.br\\", "", parts[4]) if len(parts) > 4 else ""
        held = [form.get("data", "") for form in report.get("presentedForm", ())]
        whole = b"".join(b64decode(form) for form in held)
        encoding = parts[3].lower() if len(parts) > 3 else ""
        if not data or any(data.rstrip("=") in form for form in held):
            continue
        wanted = bytes.fromhex(data) if encoding == "hex" else plain(parts[4]).encode()
        if encoding == "base64":
            wanted = b64decode(data + "=" * (-len(data) % 4))
        if wanted not in whole:
            yield "OBX-5 (document)"
