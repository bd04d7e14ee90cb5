"""Settings of HL7 v2 feeds; `api.settings.service` joins them with the others and reads them from `DOD_*`."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class FeedSettings(BaseModel):
    """Ways in for HL7 v2, and the limits of MLLP connections."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    mllp_port: int | None = Field(default=None, ge=0, le=65_535)
    """Port on which HL7 v2 is taken over MLLP; 0 takes a free one and logs it. Unset: none but those of
    `mllp_sources`."""
    mllp_host: str = "127.0.0.1"
    """Address of `mllp_port`. Loopback, because without TLS whoever reaches it may push."""
    mllp_tenant: str | None = None
    """`ORG/ENV` that messages at `mllp_port` are stored for, where `mllp_sources` declares no sources."""
    mllp_profile: Path | None = None
    """Source profile (TOML) of messages at `mllp_port`; unset: the defaults."""
    mllp_sources: Path | None = None
    """TOML file that declares sources (tenant, profile, MSH-3 to 6) and listeners (port, TLS, who is let in);
    `docs/hl7v2.md` has an example. `POST {base}/$hl7v2` and `dod load` heed its sources too."""
    mllp_message_bytes_max: int = Field(default=31_457_280, ge=1_000, le=1_000_000_000)
    """Largest message over MLLP; a longer one is refused (AR) once it has passed."""
    mllp_bytes_max: int = Field(default=128_000_000, ge=1_000_000)
    """Bytes of large messages (above 64 KiB) in memory at once, of all connections; past it senders wait."""
    mllp_connections_max: int = Field(default=1_000, ge=1)
    """Most connections of one listener; past it one gives way to a new one: of the address (IPv6: network of
    64 bits) with most, the one idle for longest, or else with a message that has not come as a whole."""
    mllp_idle_seconds: float = Field(default=3_600.0, gt=0, le=604_800)
    """Time that a connection is kept between two messages."""
    mllp_stall_seconds: float = Field(default=30.0, gt=0, le=3_600)
    """Time that a sender may pause within a message, or take nothing of an acknowledgment."""
    mllp_message_seconds: float = Field(default=300.0, gt=0, le=86_400)
    """Time that a message may take from its first byte to its last."""
    mllp_patience_seconds: float = Field(default=300.0, ge=0, le=86_400)
    """Time for which a message is tried again while the database is away or slow, before its connection is
    closed without an acknowledgment."""
