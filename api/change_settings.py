"""Settings of the change feed and of whoever listens to it; `api.settings` joins them with the others."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ChangeSettings(BaseModel):
    """Settings of following MongoDB's log, and of `$changes`."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    changes_look_seconds: float = Field(default=1.0, ge=0, le=60)
    """Interval at which a process of role `all` or `jobs` looks whether another one follows MongoDB's log for
    the change feed, and does it when none does; 0: never this process."""
    changes_wait_seconds: float = Field(default=25.0, ge=0, le=300)
    """Longest wait of `$changes` for a change, when it does not stream; clients may ask for less."""
    changes_listeners_max: int = Field(default=200, ge=1, le=10_000)
    """Requests to `$changes` under way at once; past it 503, past a share of it (`client_share`) 429."""
    changes_stream_seconds: float = Field(default=3_600, ge=1, le=86_400)
    """Time after which a stream of `$changes` ends, for its client to come again where it was."""
