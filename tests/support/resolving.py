"""Names that lead where a test says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from api.outgoing.names import Names

if TYPE_CHECKING:
    import pytest


def resolves(monkeypatch: pytest.MonkeyPatch, *answers: str) -> list[str]:
    """Let names lead to these addresses, one after the other; the last one again and again."""
    asked: list[str] = []

    async def resolve(_: Any, host: str, port: int = 0, family: int = 0) -> list[dict[str, Any]]:
        address = answers[min(len(asked), len(answers) - 1)]
        asked.append(host)
        return [{"hostname": host, "host": address, "port": port, "family": 2, "proto": 0, "flags": 0}]

    monkeypatch.setattr(Names, "resolve", resolve)
    return asked
