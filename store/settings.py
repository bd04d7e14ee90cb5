"""Settings of the store; `api.settings.service` joins them with the others and reads them from `DOD_*`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from store.fair import Shares

_SCHEMES = ("mongodb://", "mongodb+srv://")


class StoreSettings(BaseModel):
    """Settings of the way to MongoDB, and of what one operation may cost."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    mongodb_uri: SecretStr | None = None
    """Connection string of a replica set. Unset: the embedded MongoDB on the data directory."""
    mongodb_database: str = Field(default="dod", min_length=1, max_length=38)
    """Database name. All collections are made in it."""
    mongodb_sharded: bool = False
    """Whether `DOD_MONGODB_URI` leads to mongos, and collections are sharded as docs/scaling.md says: each
    filter is sent with its tenant's part of the shard key then, so that no other shard is asked."""
    store_timeout_seconds: float = Field(default=10.0, gt=0, le=300)
    """Deadline of one store operation, retries included; past it the request ends with 503 or 504."""
    search_timeout_seconds: float = Field(default=5.0, gt=0, le=300)
    """Deadline of one search; a search that needs longer is refused with `timeout`, 504."""
    search_queue_max: int = Field(default=1_000, ge=1)
    """Searches that may wait for a thread; past it one is refused with 503, past a share of it with 429."""
    tenant_share: float = Field(default=0.75, gt=0, le=1)
    """Part of the threads of searches, of reads under way, of the room to wait for them, and of the memory of
    answers under way that one tenant may take; the others always find the rest."""
    client_share: float = Field(default=0.5, gt=0, le=1)
    """Share of one client of a tenant."""
    search_slow_seconds: float = Field(default=0.2, gt=0, le=600)
    """Mean time of a client's last ten searches past which they share a quarter of the threads with those
    that no index entry drives, and hold up nobody else."""
    search_slow_beside_max: int = Field(default=1, ge=1, le=1_000)
    """Slow searches of one client under way at once while others have quick ones: each takes a processor of
    MongoDB's. A client that is alone has its share (`client_share`) of the threads. Of histories of a type
    with `_at` it has as many at any time."""
    search_slow_rest: float = Field(default=1.0, ge=0, le=100)
    """Rest behind a slow search while others have quick ones, in times of what it took, of a second at most:
    for so long its client begins none in its place, and MongoDB's processors are free for others.
    One that would wait behind those of its client beyond `search_timeout_seconds` is refused with 429."""
    reads_max: int = Field(default=16, ge=2, le=1_000)
    """Reads, versions and histories under way at once; the next ones wait, each client for its turn."""
    startup_seconds: float = Field(default=30.0, ge=0, le=3_600)
    """Time that `dod serve` waits for a database to rely on; past it exit code 1, and all that is wrong."""
    heartbeat_seconds: float = Field(default=2.0, ge=0.5, le=60)
    """Interval at which each member of the replica set is asked how it is, beside what members tell by
    themselves.
    """
    election_seconds: float = Field(default=15.0, ge=0, le=300)
    """Time for which readiness stays on without a primary while other members answer; 0: not at all."""
    clock_skew_seconds: float = Field(default=30.0, ge=1, le=3_600)
    """Difference that the clocks of this machine and of MongoDB may have; past it nothing is taken."""
    policy_cache_seconds: float = Field(default=1.0, ge=0, le=60)
    """Time for which a tenant's retention policy is remembered: the longest a push still goes by the one
    before.
    """
    pool_size: int = Field(default=32, ge=1, le=1000)
    """Connections to MongoDB, and threads of the driver: the ceiling of operations under way at once."""
    commit_operations_max: int = Field(default=512, ge=1, le=10_000)
    """Pushes that one group commit may take together. Larger: more throughput, a longer wait."""
    commit_bytes_max: int = Field(default=16_000_000, ge=1_000_000, le=47_000_000)
    """Bytes that one group commit may take together; MongoDB's message limit is 48 MB."""
    commit_parallel: int = Field(default=1, ge=1, le=16)
    """Group commits under way at once. One makes the largest groups: 3,990 pushes/s, two 2,836."""
    commit_queue_max: int = Field(default=10_000, ge=1)
    """Pushes waiting for a group commit; past it a push is refused with 503 at once."""
    commit_queue_bytes_max: int = Field(default=64_000_000, ge=1_000_000)
    """Bytes waiting for a group commit; past it a push is refused with 503 at once."""
    resource_bytes_max: int = Field(default=14_000_000, ge=1_000, le=15_000_000)
    """Largest single resource; MongoDB's document limit is 16 MB."""
    count_max: int = Field(default=10_000, ge=0)
    """Matches up to which `Bundle.total` is counted when there is more than one page."""
    chain_matches_max: int = Field(default=1_000, ge=1, le=10_000)
    """Resources that one step of a chain may lead through by itself; past it, it is followed from what the
    other parameters of the search leave, and is 400 `too-costly` where that is too much as well."""
    includes_max: int = Field(default=1_000, ge=1, le=10_000)
    """Resources that one page may include. A page whose matches bring along more ends early, with a
    `next` link; of what one match alone brings along the rest is left out, and the answer says so."""
    dead_letters_max: int = Field(default=10_000, ge=1)
    """Most dead letters of one tenant; past it the oldest go, dealt with or not."""
    dead_letters_bytes_max: int = Field(default=1_000_000_000, ge=1_000_000)
    """Most bytes, compressed, of one tenant's dead letters; past it the oldest go."""
    dead_letter_bytes_max: int = Field(default=40_000_000, ge=0)
    """Largest body that is kept; of a larger one only the reasons are, and it cannot be replayed."""
    dead_letter_days: int = Field(default=30, ge=1, le=3_650)
    """Days for which a dead letter is kept after it last came."""
    subscription_notify: bool = True
    """Whether subscribers hear of what this process stores. False: not of what is new to them, only of what
    becomes of resources that they were told of. `dod load --mode backfill` stores so by itself."""
    subscription_days: int = Field(default=7, ge=1, le=90)
    """Days for which events of subscriptions are kept for `$events`, delivered or not, without content."""
    subscription_lease_seconds: float = Field(default=3.5, ge=1, le=300)
    """Time after which another process takes over the subscriptions of one that died."""
    audit_days: int | None = Field(default=2_192, ge=1, le=36_500)
    """Days for which an audit record is kept where a tenant's policy does not say (`audit_days`): six years.
    """
    audit: Literal["required", "counted", "off"] = "required"
    """Whether accesses are put on record. `required`: reads and searches are refused with 503 while they
    cannot be; `counted`: they are answered, and `dod_audit_records_total{outcome="lost"}` counts them; `off`:
    no access is (acts of officers are, always)."""
    audit_queue_max: int = Field(default=10_000, ge=1)
    """Audit records that may wait to be written; past it one counts as lost, or its read is refused."""
    retention_interval_minutes: int = Field(default=60, ge=0, le=10_080)
    """Interval at which what has expired is deleted (it is not served in any case); 0: never by this process.
    """
    retention_batch: int = Field(default=100, ge=1, le=2_000)
    """Documents that the sweep deletes in one transaction. Larger: quicker, and searches wait longer behind
    it.
    """
    retention_rest: float = Field(default=2.0, ge=0, le=100)
    """Rest of the sweep after each batch, as a multiple of what that took: room for searches."""
    retention_budget_seconds: int = Field(default=3_000, ge=1)
    """Time that one run of the scheduled sweep may take; the next one does the rest."""
    retention_plan_seconds: float = Field(default=30.0, gt=0, le=600)
    """Time that the plan of a tenant may take over HTTP; the command has no limit."""
    lease_seconds: int = Field(default=60, ge=2, le=3_600)
    """Time for which a replica that stands still keeps others from taking over its job; each batch renews it.
    """
    erasure_wait_seconds: float | None = Field(default=None, ge=0, le=600)
    """Time for which an erasure goes on looking for what was being stored when it began; unset: the longest
    that a push is under way.
    """
    changes_days: int = Field(default=7, ge=1, le=90)
    """Days for which a change can be read at `$changes`; who was away for longer reads everything anew."""

    @field_validator("mongodb_uri")
    @classmethod
    def _names_a_scheme(cls, uri: SecretStr | None) -> SecretStr | None:
        if uri is not None and not uri.get_secret_value().startswith(_SCHEMES):
            raise ValueError("a connection string begins with `mongodb://` or `mongodb+srv://`")
        return uri

    @property
    def horizon_seconds(self) -> float:
        """Longest time from the `lastUpdated` of a version to the moment when searches see it, by the clocks
        of any two replicas: one operation, and what either clock may differ from MongoDB's.
        """
        return self.store_timeout_seconds + 2 * self.clock_skew_seconds

    @property
    def late_seconds(self) -> float:
        """Longest time from a write's look at the erased names to the moment when it is there."""
        under_way = self.policy_cache_seconds + self.store_timeout_seconds
        return under_way if self.erasure_wait_seconds is None else self.erasure_wait_seconds

    def shares(self, most: int) -> Shares:
        """Shares of one client and of one tenant in so many."""
        return Shares(max(1, int(most * self.client_share)), max(1, int(most * self.tenant_share)), most)
