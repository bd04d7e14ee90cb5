"""For each alert: series under which it fires, and when; and how they go on, so that it clears.

Values are written as promtool has them: `0+10x5` is 0, 10, 20, 30, 40, 50, one a minute.
"""

from __future__ import annotations

from typing import NamedTuple

SLOWLY = 30
"""Minutes between two samples of the cases that take days; one in the others."""


class Case(NamedTuple):
    """An alert's fault and its end."""

    alert: str
    series: dict[str, str]
    quiet_at: str
    fires_at: str
    clear_at: str
    labels: dict[str, str] = {}  # noqa: RUF012 -- never changed

    @property
    def interval(self) -> str:
        return f"{SLOWLY if self.alert.endswith('Slowly') else 1}m"


def requests(route: str, good: str, bad: str) -> dict[str, str]:
    """Counters of requests, answered well and with a fault."""
    return {
        f'dod_http_requests_total{{route="{route}",method="POST",code="200"}}': good,
        f'dod_http_requests_total{{route="{route}",method="POST",code="503"}}': bad,
    }


def durations(quick: str, all_: str) -> dict[str, str]:
    """A histogram of searches: those within half a second, and all; and their number as requests."""
    name = "dod_http_request_duration_seconds"
    return {
        f'{name}_bucket{{route="search",method="GET",le="0.5"}}': quick,
        f'{name}_count{{route="search",method="GET"}}': all_,
        'dod_http_requests_total{route="search",method="GET",code="200"}': all_,
    }


def histogram(name: str, le: str, quick: str, all_: str) -> dict[str, str]:
    return {
        f'{name}_bucket{{le="{le}"}}': quick,
        f'{name}_bucket{{le="1"}}': all_,
        f'{name}_bucket{{le="+Inf"}}': all_,
    }


JOB = 'job="monitoring/data-on-demand"'
OPTIME = "mongodb_rs_members_optimeDate"
CASES = (
    # An hour of good traffic, then a tenth of it fails, then none.
    Case(
        "DodSearchesFailFast", requests("search", "0+100x600", "0x60 0+10x60 600x480"), "59m", "75m", "8h30m"
    ),
    Case(
        "DodSearchesFailSlowly",
        requests("search-post", "0+30000x300", "0x2 0+60x146 8760x52"),
        "30m",
        "74h",
        "84h",
    ),
    Case("DodPushesFailFast", requests("update", "0+100x600", "0x60 0+10x60 600x480"), "59m", "75m", "8h30m"),
    Case(
        "DodPushesFailSlowly",
        requests("batch", "0+30000x300", "0x2 0+60x146 8760x52"),
        "30m",
        "74h",
        "84h",
    ),
    Case(
        "DodSearchesSlowFast",
        durations("0+100x60 6000+50x60 9000+100x480", "0+100x600"),
        "59m",
        "75m",
        "8h30m",
    ),
    Case(
        "DodSearchesSlowSlowly",
        durations("0+30000x2 60000+29400x146 4352400+30000x52", "0+30000x300"),
        "30m",
        "74h",
        "84h",
    ),
    Case(
        "DodTargetDown",
        {f"up{{{JOB}}}": "1x10 0x10 1x10"},
        "10m",
        "14m",
        "22m",
        {"job": "monitoring/data-on-demand"},
    ),
    Case("DodAbsent", {"dod_build_info": "1x10 _x20 1x20"}, "9m", "28m", "40m"),
    Case("DodStoreAway", {"dod_store_available": "1x10 0x10 1x10"}, "10m", "15m", "22m"),
    Case("DodRestarts", {f"process_start_time_seconds{{{JOB}}}": "1x60 2+1x20 22x120"}, "60m", "80m", "150m"),
    Case("DodWorkersEnd", {'dod_worker_ends_total{how="killed"}': "0x10 0+1x10 10x30"}, "10m", "20m", "45m"),
    Case(
        "DodSourceSilent",
        {'dod_source_pushes_total{source="lab"}': "0+1x300 300x300 300+1x300"},
        "5h",
        "8h",
        "11h",
        {"source": "lab"},
    ),
    Case("DodLettersGrow", {"dod_dead_letters_open": "0x400 0+1x100 100x600"}, "400m", "490m", "880m"),
    Case(
        "DodLettersLost", {'dod_dead_letters_lost_total{why="busy"}': "0x10 0+1x5 5x30"}, "10m", "15m", "40m"
    ),
    Case("DodAuditLost", {'dod_audit_records_total{outcome="lost"}': "0x10 0+1x5 5x30"}, "10m", "15m", "40m"),
    Case(
        "DodLoginsRefused",
        {'dod_token_requests_total{outcome="refused"}': "0x30 0+120x60 7200x60"},
        "30m",
        "70m",
        "120m",
    ),
    Case(
        "DodPushesRejected",
        {'dod_store_pushes_rejected_total{reason="bytes"}': "0x10 0+60x20 1200x20"},
        "10m",
        "25m",
        "45m",
    ),
    Case(
        "DodSearchesWait",
        histogram("dod_store_read_wait_seconds", "0.25", "0+60x20 1200+30x20 1800+60x20", "0+60x60"),
        "20m",
        "38m",
        "55m",
    ),
    Case(
        "DodPoolFull",
        {
            'dod_store_connections_in_use{instance="a"}': "1x10 32x20 1x10",
            'dod_store_connections_in_use{instance="b"}': "1x40",
            'dod_store_connections_max{instance="a"}': "32x40",
            'dod_store_connections_max{instance="b"}': "32x40",
        },
        "10m",
        "25m",
        "33m",
    ),
    Case(
        "DodLoopLate",
        histogram("dod_event_loop_lag_seconds", "0.25", "0+240x20 4800+120x20 7200+240x20", "0+240x60"),
        "20m",
        "38m",
        "55m",
    ),
    Case(
        "DodFilesFull",
        {f"process_open_fds{{{JOB}}}": "10x10 95x10 10x10", f"process_max_fds{{{JOB}}}": "100x30"},
        "10m",
        "18m",
        "22m",
    ),
    Case("DodLogLinesLost", {"dod_log_lines_lost_total": "0x10 0+5x10 50x30"}, "10m", "20m", "45m"),
    Case(
        "DodRetentionBehind",
        {"dod_retention_oldest_overdue_seconds": "600x60 30000x60 0x60"},
        "60m",
        "100m",
        "125m",
    ),
    Case(
        "DodRetentionStopped",
        {"dod_retention_last_success_timestamp_seconds": "60x1600 96000+60x100"},
        "23h",
        "26h",
        "27h",
    ),
    Case(
        "DodRetentionFailing",
        {'dod_retention_runs_total{outcome="failed"}': "0x60 0+1x20 20x120"},
        "60m",
        "75m",
        "150m",
    ),
    Case(
        "DodRetentionUnsteady",
        {"dod_retention_lease_changes_total": "0x60 0+1x60 60x500"},
        "60m",
        "110m",
        "9h",
    ),
    Case("DodChangesBehind", {"dod_changes_behind_seconds": "2x10 60+60x10 2x10"}, "10m", "18m", "25m"),
    Case("DodChangesScanned", {"dod_changes_scans_total": "0x10 1x120"}, "10m", "15m", "90m"),
    # By a process that has just begun.
    Case("DodChangesScanned", {"dod_changes_scans_total": "_x10 1x120"}, "10m", "16m", "90m"),
    Case(
        "DodSubscriptionsBehind",
        {"dod_subscription_oldest_waiting_seconds": "0x10 0+60x30 0x30"},
        "20m",
        "36m",
        "45m",
    ),
    Case(
        "DodSubscriptionsFailed", {'dod_subscriptions{status="error"}': "0x10 1x30 0x30"}, "15m", "25m", "45m"
    ),
    Case(
        "DodSubscriptionsStopped",
        # At the end nobody works, and there is no subscription.
        {"dod_subscription_worker": "1x10 0x50", "dod_subscription_worker_needed": "1x30 0x30"},
        "12m",
        "20m",
        "35m",
    ),
    Case(
        "DodSubscriptionsStopped",
        # Of role jobs there is no process; the others say nothing of it.
        {"dod_build_info": "1x60", "dod_subscription_worker": "1x10 _x20 1x30"},
        "14m",
        "25m",
        "40m",
    ),
    Case(
        "DodReplicationLag",
        {
            # Each member has an exporter, and they are not scraped at one moment: half a minute lies between.
            f'{OPTIME}{{member_state="PRIMARY",instance="a"}}': "0+60000x60",
            f'{OPTIME}{{member_state="SECONDARY",instance="a"}}': "0+60000x20 1200000x15 2220000+60000x25",
            f'{OPTIME}{{member_state="PRIMARY",instance="b"}}': "30000+60000x60",
            f'{OPTIME}{{member_state="SECONDARY",instance="b"}}': "30000+60000x60",
        },
        "20m",
        "30m",
        "50m",
    ),
    Case(
        "DodReplicaSetThin",
        {
            # Each member has an exporter, which tells of all.
            f'mongodb_rs_members_health{{member_idx="{one}",instance="{at}"}}': (
                "1x10 0x10 1x10" if one == 2 else "1x30"
            )
            for one in range(3)
            for at in range(3)
        },
        "10m",
        "18m",
        "22m",
    ),
    Case(
        "DodCertificateEnds",
        {"dod_tls_certificate_end_timestamp_seconds": "10000000x60 864000x120 10000000x60"},
        "60m",
        "150m",
        "185m",
    ),
    Case(
        "DodCertificateEnded",
        {"dod_tls_certificate_end_timestamp_seconds": "10000000x60 43200x60 10000000x60"},
        "60m",
        "90m",
        "125m",
    ),
    Case(
        "DodCertificateRefused", {"dod_tls_reloads_refused_total": "0x10 0+1x30 30x90"}, "10m", "30m", "110m"
    ),
)
