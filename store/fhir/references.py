"""Targets of FHIR references. https://hl7.org/fhir/R4/references.html"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

ID: Final = re.compile(r"[A-Za-z0-9\-.]{1,64}")
"""The id rule of R4, https://hl7.org/fhir/R4/datatypes.html#id."""
RELATIVE: Final = re.compile(r"([A-Z][A-Za-z]+)/[A-Za-z0-9\-.]{1,64}")
"""`Type/id`, the most common spelling."""
_LOCAL: Final = re.compile(
    r"(?P<root>https?://.+/|)(?P<type>[A-Z][A-Za-z]+)/(?P<id>[A-Za-z0-9\-.]{1,64})"
    r"(?:/_history/(?P<version>[A-Za-z0-9\-.]{1,64}))?"
)


_CONDITIONAL: Final = re.compile(r"(?P<type>[A-Z][A-Za-z]+)\?(?P<criteria>.+)", re.DOTALL)


class Conditional(NamedTuple):
    """A search in place of a reference. https://hl7.org/fhir/R4/http.html#trules"""

    type: str
    criteria: str


def parse_conditional(text: str, *, base: str | None = None) -> Conditional | None:
    """Take a conditional reference apart; None: it is none, or another server's."""
    if base is not None and text.startswith(f"{base}/"):
        text = text[len(base) + 1 :]
    match = _CONDITIONAL.fullmatch(text)
    return None if match is None else Conditional(match["type"], match["criteria"])


class Target(NamedTuple):
    """A reference taken apart; `type` is None when the text does not tell it."""

    spelling: str
    """Spelling without version; relative when it is ours: two references to one thing are equal here."""
    type: str | None
    version: str | None = None


def parse(text: str, *, base: str | None = None) -> Target:
    """Take a reference apart; `base` is our own, so that an absolute reference to us becomes relative."""
    match = RELATIVE.fullmatch(text)
    if match is not None:
        return Target(text, match[1])
    match = _LOCAL.fullmatch(text)
    if match is None:
        return Target(text, None)
    root, resource_type, resource_id, version = match.groups()
    ours = not root or (base is not None and root == base + "/")
    return Target(f"{'' if ours else root}{resource_type}/{resource_id}", resource_type, version)
