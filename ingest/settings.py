"""Settings of ingest; `api.settings` joins them with the others and reads them from `DOD_*`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class IngestSettings(BaseModel):
    """What a pushed body may be."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    bundle_entries_max: int = Field(default=5_000, ge=1)
    """Most entries of one Bundle; each is a resource to validate, index and store."""
    validation: Literal["lenient", "strict"] = "lenient"
    """What deviations from R4 come to: mended or kept, and named in the reply; or refused, every one listed.
    `Prefer: handling=` says otherwise for one message."""
