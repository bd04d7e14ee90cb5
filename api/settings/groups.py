"""The settings in groups, the most important first: for `dod settings` and `docs/settings.md`. Pure.

A setting that no group names is shown in the last one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class SettingsGroup(NamedTuple):
    """Settings that are looked for together."""

    title: str
    names: tuple[str, ...]


_GROUPS: Final = (
    SettingsGroup(
        "Where the data and the settings are",
        (
            *(
                "data_dir",
                "mongodb_uri",
                "mongodb_database",
                "mongodb_sharded",
                "mongod",
                "mongod_cache_gigabytes",
            ),
            *("config", "secrets_dir"),
        ),
    ),
    SettingsGroup(
        "Network and process",
        (
            *(
                "host",
                "port",
                "base_url",
                "admin_host",
                "admin_port",
                "role",
                "workers",
                "event_loop",
                "log_level",
                "metric_sources",
                "otlp_endpoint",
                "trace_share",
            ),
            *(
                "drain_seconds",
                "shutdown_seconds",
                "trusted_proxies",
                "cors_origins",
                "explorer",
                "compress_bytes_min",
            ),
            *("connections_max", "connections_per_address_max", "head_seconds", "idle_seconds"),
            *("tls_certificate", "tls_key", "tls_client_ca", "tls_reload_seconds"),
        ),
    ),
    SettingsGroup(
        "Tenants, tokens and what is taken from them",
        (
            *("validation", "token_days_default", "access_token_seconds", "access_cache_seconds"),
            *("assertion_leeway_seconds", "token_audiences", "jwks_networks"),
            *("issuer", "issuer_audience", "issuer_jwks_url"),
            *("rate_search", "rate_push", "rate_backfill", "rate_login", "rate_address"),
            *("client_requests_max", "throttle_pause_seconds"),
            *("policy_cache_seconds", "idempotency_days"),
        ),
    ),
    SettingsGroup(
        "Forgetting",
        (
            *("retention_interval_minutes", "retention_batch", "retention_rest", "retention_budget_seconds"),
            "retention_plan_seconds",
            *(
                "erasure_wait_seconds",
                "lease_seconds",
                "dead_letter_days",
                "dead_letters_max",
                "dead_letters_bytes_max",
            ),
            *("dead_letter_bytes_max", "audit", "audit_days", "audit_queue_max"),
        ),
    ),
    SettingsGroup(
        "Telling of changes",
        (
            *("changes_days", "changes_look_seconds", "changes_wait_seconds", "changes_listeners_max"),
            "changes_stream_seconds",
        ),
    ),
    SettingsGroup(
        "HL7 v2",
        (
            *("mllp_port", "mllp_host", "mllp_tenant", "mllp_profile", "mllp_sources"),
            *("mllp_patience_seconds", "mllp_connections_max", "mllp_idle_seconds", "mllp_stall_seconds"),
            *("mllp_message_seconds", "mllp_message_bytes_max", "mllp_bytes_max"),
        ),
    ),
    SettingsGroup(
        "Subscriptions",
        (
            *(
                "subscriptions_max",
                "subscription_networks",
                "subscription_process",
                "subscription_timeout_seconds",
            ),
            *("subscription_batch_max", "subscription_bytes_max", "subscription_linger_seconds"),
            *("subscription_queue_max", "subscription_give_up_hours", "subscription_days"),
            *("subscription_lease_seconds", "subscription_notify"),
        ),
    ),
    SettingsGroup(
        "Limits of searches",
        (
            *(
                "page_size_default",
                "page_size_max",
                "page_token_seconds",
                "clauses_max",
                "values_max",
                "query_orders_max",
            ),
            *("count_max", "chain_matches_max", "includes_max", "search_timeout_seconds"),
            *("search_slow_seconds", "search_slow_beside_max", "search_slow_rest"),
            *("page_bytes_max", "search_queue_max", "tenant_share", "client_share", "reads_max"),
            *("answers_bytes_max", "answer_stall_seconds", "answer_rate_min"),
        ),
    ),
    SettingsGroup(
        "Limits of pushes",
        (
            *("body_bytes_max", "large_body_bytes", "body_seconds", "push_bytes_max", "resource_bytes_max"),
            *("push_tenant_share", "push_client_share", "push_client_rate"),
            *("body_elements_max", "resource_elements_max"),
            *("index_entries_max", "prepare_seconds", "identity_placeholders", "source_ahead_seconds"),
            *("attachment_inline_bytes_max", "bundle_entries_max", "hl7v2_segments_max"),
            "transaction_entries_max",
            *("transaction_bytes_max", "load_expanded_bytes_max", "upload_bytes_max", "upload_seconds"),
        ),
    ),
)
_OTHERS: Final = "The database, and the rest"


def grouped(names: Iterable[str]) -> Iterator[SettingsGroup]:
    """All of these settings, each in its group."""
    left = list(names)
    for group in _GROUPS:
        here = tuple(name for name in group.names if name in left)
        left = [name for name in left if name not in here]
        yield group._replace(names=here)
    yield SettingsGroup(_OTHERS, tuple(left))
