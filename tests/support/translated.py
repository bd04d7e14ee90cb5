"""Made-up messages of HL7 v2, translated."""

from __future__ import annotations

import json
from typing import Any

from ingest.hl7v2.profile import profile_of
from ingest.hl7v2.reader import read
from ingest.hl7v2.translate import Translation, translate
from ingest.pipeline.stamp import dump
from tests.support.hl7v2 import PID, message


def translated(*segments: str, profile: dict[str, Any] | None = None, **told: Any) -> Translation:
    return translate(read(message(*segments, **told)), profile_of(profile or {}))


def resources(translation: Translation, kind: str) -> list[Any]:
    """Resources of a type, as the JSON that is written; decimals as their text."""
    assert translation.bundle is not None, translation.faults
    entries = json.loads(dump(translation.bundle), parse_float=str)["entry"]
    return [one["resource"] for one in entries if one["resource"]["resourceType"] == kind]


def report(*segments: str, profile: dict[str, Any] | None = None) -> Any:
    """The only report of made-up segments."""
    [found] = resources(translated(PID, *segments, profile=profile), "DiagnosticReport")
    return found


def places(translation: Translation, severity: str = "W") -> list[str]:
    """Places of faults."""
    return [one.place for one in translation.faults if one.severity == severity]


def kinds(found: Any) -> list[tuple[str, str]]:
    """Types and values of identifiers."""
    return [(one.get("type", {}).get("coding", [{}])[0].get("code", ""), one["value"]) for one in found]
