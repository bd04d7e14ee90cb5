"""A client certificate that stands for a client: how long, and once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from api.commands.access.tenants import certify
from api.server.tls import end_in, fingerprint_in
from store.errors import StartupError
from tests.support.certificates import DAYS, Authority
from tests.support.edge import LAB, memory_access

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_certificate_stands_for_a_client_while_it_is_good_and_once(tmp_path: Path) -> None:
    access, now = memory_access(), datetime.now(UTC)
    pem, day = Authority().client("lab").certificate, timedelta(days=1)
    file = tmp_path / "lab.crt"
    file.write_bytes(pem)

    async def certified(days: int, at: datetime = now) -> datetime:
        fingerprint = await certify(
            access, file, client="lab", tenants=[LAB], scopes=["system/*.c"], now=at, days=days
        )
        assert fingerprint == fingerprint_in(pem)
        return access.kept[fingerprint].expires_at

    assert await certified(DAYS - 1) == now + (DAYS - 1) * day
    with pytest.raises(StartupError, match=f"dod token revoke {fingerprint_in(pem)[:12]}"):
        await certified(DAYS - 1)
    access.kept.clear()
    assert await certified(3_650) == end_in(pem) < now + (DAYS + 1) * day
    with pytest.raises(StartupError, match="has ended"):
        await certified(1, now + (DAYS + 1) * day)
