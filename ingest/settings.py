"""Settings of ingest; `api.settings` joins them with the others and reads them from `DOD_*`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class IngestSettings(BaseModel):
    """What a pushed body may be."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    bundle_entries_max: int = Field(default=5_000, ge=1)
    """Most entries of one Bundle; each is a resource to validate, index and store."""
    load_expanded_bytes_max: int = Field(default=20_000_000_000, ge=1_000_000)
    """Bytes that `dod load` lets one .gz or .zip expand to; past it the rest of it is refused."""
    push_bytes_max: int = Field(default=128_000_000, ge=1_000_000)
    """Bytes of all bodies being read and stored at once; past it a push is refused with 503 at once.

    One body is always let in, however large. In memory, parsed, it is several times its size.
    """
