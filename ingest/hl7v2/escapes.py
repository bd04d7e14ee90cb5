"""Escape sequences of ER7 text. HL7 v2.5.1, 2.7. Pure."""

from __future__ import annotations

from ingest.hl7v2.reader import Delimiters


def escape(text: str, delimiters: Delimiters) -> str:
    """Text as it stands in a component: delimiters and line ends become escape sequences."""
    raise NotImplementedError
