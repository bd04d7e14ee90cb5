"""Source profiles: what a sender's messages mean beyond what they say.

TOML, validated as a whole.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict


class SourceProfile(BaseModel):
    """What is known of a source."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = "default"
    """The source's name in metrics and logs."""
    endpoint: str | None = None
    """URI of the source, as `MessageHeader.source.endpoint`; None: made of MSH-3 and MSH-4."""
    charset: str | None = None
    """Charset of messages without MSH-18, by HL7's or Python's name."""
    zone: str = "UTC"
    """IANA name of the zone of times without an offset."""
    results: Literal["snapshot", "delta"] = "snapshot"
    """Whether a report carries all its results, or the changed ones alone."""


DEFAULT_PROFILE: Final = SourceProfile()


def load_profile(path: Path) -> SourceProfile:
    """Read a profile from TOML. Raises ValueError that names each setting which is wrong."""
    raise NotImplementedError
