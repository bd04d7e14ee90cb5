"""Replicas of the service that a test kills, and writers that try all of them until one answers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

import httpx

from tests.support.fhir import report

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.served import Served


@dataclass(slots=True)
class Replicas:
    """Services on one database, a tenant of it, and the versions that they acknowledged."""

    root: str
    headers: Mapping[str, str]
    pause_seconds: float = 0.05
    """Between two pushes of a writer: what is waited for takes seconds, and needs a processor itself."""
    started: list[Served] = field(default_factory=list)
    written: dict[str, int] = field(default_factory=dict)
    """Last version that was acknowledged, by id."""
    stop: bool = False

    async def ask(self, client: httpx.AsyncClient, method: str, path: str, **more: Any) -> httpx.Response:
        """Answer of a replica that is up and has no trouble of its own."""
        for turn in count():
            up = [one for one in self.started if one.process.returncode is None and one.url]
            if up:
                try:
                    url = f"{up[turn % len(up)].url}{self.root}/{path}"
                    answer = await client.request(method, url, headers=dict(self.headers), **more)
                    if answer.status_code < 500:
                        return answer
                except httpx.HTTPError:
                    pass
            await asyncio.sleep(0.05)
        raise AssertionError

    async def write(self, number: int) -> None:
        """Write three versions of one report after another, until it is to stop."""
        async with httpx.AsyncClient(timeout=30) as client:
            for turn in count():
                if self.stop:
                    return
                name = f"w{number}-{turn // 3}"
                sent = report(name, conclusion=str(turn))
                answer = await self.ask(client, "PUT", f"DiagnosticReport/{name}", json=sent)
                assert answer.status_code in (200, 201), answer.text
                self.written[name] = int(answer.json()["meta"]["versionId"])
                await asyncio.sleep(self.pause_seconds)
