"""A world of `tests/oracle/identity/identities.py` written down as HL7 v2, by a laboratory's interface.

The interface has no ids: what it says is told apart by numbers, codes and times. Stories that need ids, or a
result without a report, are not told.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.oracle.identity.hospital import Said, Sent

Json = dict[str, Any]

STORIES: Final = (
    *("one", "panels", "tolerance", "cultures", "mixed_up", "reused", "merged", "shared", "late"),
    "coincident",
)
"""Stories that HL7 v2 can tell."""
REPORT: Final = {
    "registered": "I",
    "preliminary": "P",
    "final": "F",
    "corrected": "C",
    "amended": "C",
    "cancelled": "X",
    "entered-in-error": "X",
}
"""OBR-25 of a status: HL7 has one code for each two."""
_SEXES: Final = {"female": "F", "male": "M"}
_ALTERNATE: Final = ("temp", "old", "secondary")
"""Uses of numbers that stand in PID-4, which is no evidence."""


def written(sent: Sent, number: str) -> bytes:
    """The message; `number` is MSH-10."""
    named: dict[str, Said] = {one.thing: one for one in sent.said}
    patients = [one for one in sent.said if one.type == "Patient"]
    if sent.reports:
        event = "ORU^R01^ORU_R01"
        lines = [_pid(patients[0].body), *_visit(sent, named)]
        for n, report in enumerate(sent.reports, 1):
            lines += _group(n, report.body, named)
    else:
        merged = patients[0].replaces is not None
        event = "ADT^A40^ADT_A39" if merged else "ADT^A08^ADT_A01"
        lines = [_pid(patients[0].body)]
        if merged:
            lines.append("MRG|" + "~".join(_cx(one) for one in _old(patients[0].body)))
    source = sent.source.name if sent.source.endpoint else ""
    head = f"MSH|^~\\&|{source}||DOD|CITY|{_time(sent.time)}||{event}|{number}|P|2.5.1"
    return "\r".join([head, *lines, ""]).encode()


def _segment(name: str, fields: Mapping[int, str]) -> str:
    return "|".join([name, *(fields.get(n, "") for n in range(1, max(fields) + 1))])


def _pid(body: Json) -> str:
    numbers = body.get("identifier", [])
    known = [one for one in numbers if one.get("use") not in _ALTERNATE]
    other = [one for one in numbers if one.get("use") in _ALTERNATE and one not in _old(body)]
    [name] = body["name"]
    return _segment(
        "PID",
        {
            1: "1",
            3: "~".join(map(_cx, known)),
            4: "~".join(map(_cx, other)),
            5: f"{name['family']}^{name['given'][0]}",
            7: body["birthDate"].replace("-", ""),
            8: _SEXES[body["gender"]],
        },
    )


def _old(body: Json) -> list[Json]:
    """Record numbers of somebody else that were merged into this one: MRG has them, PID does not."""
    return [
        one
        for one in body.get("identifier", ())
        if one.get("use") == "old" and one["system"] == "urn:made-up:mr"
    ]


def _cx(one: Json) -> str:
    """The number itself, its authority and type, and the days from and to which it was in use."""
    period = one.get("period", {})
    days = [period.get(end, "").replace("-", "") for end in ("start", "end")]
    kind = one.get("type", {"coding": [{"code": ""}]})["coding"][0]["code"]
    return "^".join([one["value"], "", "", f"&{one['system']}&URI", kind, "", *days]).rstrip("^")


def _ei(one: Json, *, nested: bool = False) -> str:
    return ("&" if nested else "^").join([one["value"], "", one["system"], "URI"])


def _time(text: str) -> str:
    return datetime.fromisoformat(text).strftime("%Y%m%d%H%M%S%z")


def _visit(sent: Sent, named: Mapping[str, Said]) -> list[str]:
    """PV1, which a message has once, of a report that comes alone."""
    if len(sent.reports) > 1 or "encounter" not in sent.reports[0].body:
        return []
    encounter = named[sent.reports[0].body["encounter"]["reference"]].body
    numbers = "~".join(map(_cx, encounter.get("identifier", ())))
    return [_segment("PV1", {1: "1", 2: "O", 19: numbers})]


def _group(n: int, body: Json, named: Mapping[str, Said]) -> list[str]:
    placer, filler = numbers_of(body, named)
    lines = [
        _segment("ORC", {1: "RE", 2: placer, 3: filler}),
        _segment(
            "OBR",
            {
                1: str(n),
                2: placer,
                3: filler,
                4: _code(body),
                7: _time(body["effectiveDateTime"]),
                25: REPORT[body["status"]],
                32: _interpreter(body, named),
            },
        ),
        _segment("NTE", {1: "1", 2: "L", 3: body["conclusion"]}),
    ]
    for at, thing in enumerate(results_of(body, named), 1):
        lines.append(_obx(at, named[thing].body))
    if body.get("presentedForm"):
        document = f"^text^plain^Base64^{body['presentedForm'][0]['data']}"
        lines.append(_segment("OBX", {1: "99", 2: "ED", 3: "11502-2^Letter^LN", 5: document, 11: "F"}))
    for one in body.get("specimen", ()):
        told = named[one["reference"]].body
        number = "".join(f"^{_ei(each, nested=True)}" for each in told.get("identifier", ()))
        lines.append(_segment("SPM", {1: "1", 2: number, 4: f"^{told['type']['text']}"}))
    return lines


def numbers_of(body: Json, named: Mapping[str, Said]) -> tuple[str, str]:
    """OBR-2 and OBR-3. An accession number is shared by reports as a placer's is, and stands there."""
    placer = filler = ""
    for one in body.get("identifier", ()):
        kind = one.get("type", {"coding": [{"code": "FILL"}]})["coding"][0]["code"]
        if kind == "FILL":
            filler = _ei(one)
        else:
            placer = _ei(one)
    if not placer:
        orders = [named[one["reference"]].body for one in body.get("basedOn", ())]
        placer = next((_ei(number) for one in orders for number in one.get("identifier", ())), "")
    return placer, filler


def results_of(body: Json, named: Mapping[str, Said]) -> list[str]:
    """All results of a report, members of panels among them: HL7 v2 has them in a row."""
    found: list[str] = []
    ahead = [one["reference"] for one in body.get("result", ())]
    while ahead:
        thing = ahead.pop(0)
        if thing not in found:
            found.append(thing)
            ahead += [one["reference"] for one in named[thing].body.get("hasMember", ())]
    return found


def _obx(n: int, body: Json) -> str:
    value = body["valueString"].removeprefix("value ")
    numbers = [_ei(one) for one in body.get("identifier", ())][:1]
    told = {1: str(n), 2: "NM", 3: _code(body), 5: value, 11: REPORT[body["status"]]}
    return _segment("OBX", told | ({21: numbers[0]} if numbers else {}))


def _code(body: Json) -> str:
    return f"{body['code']['coding'][0]['code']}^{body['code']['text']}^LN"


def _interpreter(body: Json, named: Mapping[str, Said]) -> str:
    """Write NDL: the name's components are subcomponents; a number has its authority behind them."""
    if "resultsInterpreter" not in body:
        return ""
    told = named[body["resultsInterpreter"][0]["reference"]].body
    number = next((one["value"] for one in told.get("identifier", ())), "")
    return f"{number}&{told['name'][0]['family']}" + ("&&&&&&&NPI" if number else "")
