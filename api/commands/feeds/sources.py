"""Command `dod source`, without the command line around it: a profile tried on messages of its source."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from ingest.hl7v2.batches import split
from ingest.hl7v2.escapes import unescaper
from ingest.hl7v2.mapping.listing import elements_of
from ingest.hl7v2.profile import DEFAULT_PROFILE, load_profile
from ingest.hl7v2.reader import Unreadable, read
from ingest.hl7v2.translate import translate
from ingest.pipeline.stamp import dump
from store.errors import StartupError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ingest.hl7v2.faults import Fault
    from ingest.hl7v2.profile import SourceProfile
    from ingest.hl7v2.reader import Message

_KEPT: Final = "kept in the message alone"
_WIDTH: Final = 60
_MARK: Final = "\x00"
"""Mark before a decimal while it is a text; no text of FHIR has this character."""
_DECIMAL: Final = re.compile(r'"\\u0000([^"]*)"')


class Checked(NamedTuple):
    """Message of a sample, as its profile reads it."""

    verdict: str
    """AA, AE or AR."""
    faults: Sequence[tuple[str, str, str]]
    """Severity, place and rule."""
    fields: Sequence[tuple[str, str, str]]
    """Field, value and the elements that it becomes."""
    resources: Sequence[tuple[str, str]]
    """Type and JSON of each resource."""


def profile_of(path: Path | None) -> SourceProfile:
    """The profile in a file. Raises StartupError that names each setting which is wrong."""
    if path is None:
        return DEFAULT_PROFILE
    try:
        return load_profile(path)
    except ValueError as error:
        raise StartupError(f"The source profile {error}.") from None


def check(profile: SourceProfile, sample: bytes) -> Iterator[Checked]:
    """Each message of a sample, side by side with what becomes of it."""
    for data in split(sample):
        try:
            message = read(data, profile.charset)
        except Unreadable as error:
            yield Checked("AE", _faults(error.faults), (), ())
            continue
        found = translate(message, profile)
        resources: list[tuple[str, str]] = []
        if found.bundle is not None:
            entries = json.loads(dump(found.bundle), parse_float=lambda digits: f"{_MARK}{digits}")["entry"]
            resources = [(one["resource"]["resourceType"], _shown(one["resource"])) for one in entries]
        verdict = "AR" if found.unsupported else "AE" if found.refused else "AA"
        yield Checked(verdict, _faults(found.faults), list(_fields(message)), resources)


def _shown(resource: object) -> str:
    """JSON for people; decimals with the digits that they were sent with."""
    return _DECIMAL.sub(r"\1", json.dumps(resource, indent=2, ensure_ascii=False))


def _faults(faults: Sequence[Fault]) -> list[tuple[str, str, str]]:
    return [(one.severity, one.place, one.rule) for one in faults]


def _fields(message: Message) -> Iterator[tuple[str, str, str]]:
    plain = unescaper(message.header.delimiters, message.header.encoding)
    for segment in message.segments:
        known = False
        for number, raw in enumerate(segment.fields):
            is_own = segment.name == "MSH" and number in (1, 2)
            if not number or not raw or is_own:
                continue
            told = elements_of(f"{segment.name}-{number}")
            known = known or bool(told)
            text = plain(raw)
            text = text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"
            yield f"{segment.name}-{number}", text, ", ".join(told) or _KEPT
        if not known:
            yield segment.name, "", "extension with the segment as sent, or the message alone"
