"""Segments that end early: senders leave out what is empty at their end, and some leave out more."""

from __future__ import annotations

import pytest

from ingest.hl7v2.profile import DEFAULT_PROFILE
from ingest.hl7v2.reader import read
from ingest.hl7v2.translate import translate
from tests.support.hl7v2 import PID, fields, message, obr, obx
from tests.support.translated import resources, translated

WHEN = "20261122093000+0000"
LONG = {f"f{n}": f"A{n}^B{n}^L" for n in range(1, 40)}
SEGMENTS = {
    "PID": fields("PID", **LONG | {"f3": "P-1^^^HOSP^MR", "f7": "19700101"}),
    "PD1": fields("PD1", **LONG),
    "NK1": fields("NK1", **LONG),
    "PV1": fields("PV1", **LONG),
    "ORC": fields("ORC", **LONG | {"f9": WHEN}),
    "OBR": obr(**LONG | {"f7": WHEN, "f8": WHEN, "f22": WHEN, "f25": "F"}),
    "TQ1": fields("TQ1", **LONG),
    "NTE": fields("NTE", f1="1", f2="L", f3="note", f4="RE", f5="5^Doc^Dan", f6=WHEN),
    **{
        f"OBX {kind}": obx("K^Potassium^L", value, **LONG | {"f2": kind, "f3": "K^Potassium^L", "f5": value})
        for kind, value in {
            "NM": "4.5",
            "SN": "<^4.5",
            "NR": "1^2",
            "CQ": "1^mL",
            "ST": "text",
            "CWE": "A^Alpha^L",
            "DT": "20261122",
            "TM": "0930",
            "DR": "20261101^20261130",
            "ED": "^application^pdf^Base64^JVBERi0xLjQ=",
            "RP": "https://files.example.org/1",
            "": "4.5",
        }.items()
    },
    "SPM": fields("SPM", **LONG | {"f17": f"{WHEN}^{WHEN}"}),
    "TXA": fields("TXA", **LONG),
    "MRG": fields("MRG", **LONG),
    "EVN": fields("EVN", **LONG),
    "ZZZ": fields("ZZZ", **LONG),
}
EVENTS = {
    "ORU^R01": ("PID", "PD1", "NK1", "PV1", "ORC", "OBR", "TQ1", "NTE", "*", "NTE", "SPM", "ZZZ"),
    "OUL^R22": ("PID", "PV1", "SPM", "OBR", "ORC", "TQ1", "*", "NTE"),
    "MDM^T02": ("EVN", "PID", "PV1", "ORC", "OBR", "TXA", "*"),
    "ADT^A08": ("EVN", "PID", "PD1", "NK1", "PV1", "*"),
    "ADT^A40": ("EVN", "PID", "PD1", "MRG"),
    "OML^O21": ("PID", "PV1", "ORC", "TQ1", "OBR", "NTE", "*", "SPM"),
}
RESULTS = [name for name in SEGMENTS if name.startswith("OBX")]


@pytest.mark.parametrize("event", EVENTS)
def test_a_segment_may_end_behind_any_of_its_fields(event: str) -> None:
    layout = EVENTS[event]
    for name in dict.fromkeys((*layout, *RESULTS)):
        if name == "*" or (name in RESULTS and event != "ORU^R01"):
            continue
        parts = SEGMENTS[name].split("|")
        for count in range(1, len(parts) + 1):
            short = "|".join(parts[:count])
            sent = [
                short
                if one == name or (one == "*" and name in RESULTS)
                else SEGMENTS.get(one, SEGMENTS["OBX NM"])
                for one in layout
            ]
            translate(read(message(*sent, event=event)), DEFAULT_PROFILE)  # Nothing raises.


def test_a_result_that_ends_with_its_value_is_kept() -> None:
    found = translated(PID, obr(), "OBX|1|NM|2823-3^Potassium^LN||4.5")
    [result] = resources(found, "Observation")
    assert result["valueQuantity"] == {"value": "4.5"}
    assert result["status"] == "unknown"
