"""Names of requests that take effect once."""

from __future__ import annotations

from ingest.writes.idempotency import RequestIdentity, fingerprint


def test_what_asks_for_something_else_has_another_fingerprint_whatever_its_bytes() -> None:
    conditions = ("", 'W/"1"', "\udce9", "\udcff", "é")
    asked = [RequestIdentity("POST", "/Patient", (one, ""), b"{}") for one in conditions]
    asked += [one._replace(conditions=one.conditions[::-1]) for one in asked if any(one.conditions)]
    assert len({fingerprint(one) for one in asked}) == len(asked)
