"""Settings of the change feed, and of who is told: listeners and subscriptions."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from ingest.http.forwarded import NetworksText


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


class SubscriptionSettings(ChangeSettings):
    """Bounds of subscriptions, and receivers that may be told."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    subscriptions_max: int = Field(default=100, ge=0, le=10_000)
    """Most subscriptions of one tenant; past it a new one is refused with 409. 0: there are none."""
    subscription_networks: NetworksText = ""
    """Networks, such as `10.0.0.0/8`, that notifications may be sent to beside public addresses, and by
    `http`. Whoever may subscribe can make the service connect to any address in them."""
    subscription_process: bool = True
    """Whether a further process, the herald, follows MongoDB's log and tells subscribers beside a process of
    role `all`, from the first subscription on: pushes keep their processor, for some 100 MB of memory."""
    subscription_timeout_seconds: float = Field(default=30.0, gt=0, le=300)
    """Longest deadline of one notification; a subscription may ask for a shorter one."""
    subscription_batch_max: int = Field(default=100, ge=1, le=300)
    """Most events of one notification, and of one answer to `$events`."""
    subscription_bytes_max: int = Field(default=2_000_000, ge=1_000, le=16_000_000)
    """Bytes of the resources in one notification; past it the next one has the rest. One resource is sent
    however large. Each subscription has one notification in memory at a time."""
    subscription_linger_seconds: float = Field(default=0.3, ge=0, le=60)
    """Shortest time between two notifications of one subscription; events meanwhile share the next one."""
    subscription_queue_max: int = Field(default=100_000, ge=1)
    """Most events of one subscription that wait; past it the subscription is turned off, and says so."""
    subscription_give_up_hours: float = Field(default=24.0, gt=0, le=2_000)
    """Time after which a receiver that acknowledges nothing is given up: status `error`, until asked anew."""
