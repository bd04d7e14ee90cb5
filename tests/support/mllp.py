"""A sender of HL7 v2 over MLLP, and a service that it speaks to."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from api.feeds import PORTS
from ingest.mllp.framing import Frame, Framing, framed
from store.tenancy import Tenant, TenantSettings
from tests.support.service import Service, opened_service

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

SECONDS = 30.0
"""Longest wait for an answer."""


def oru(
    number: str = "M-1",
    *,
    patient: str = "P-1",
    filler: str = "F-1",
    value: str = "5.4",
    status: str = "F",
    time: str = "20261122103000",
    msh: str = "",
    name: str = "MADEUP^ANNA",
) -> bytes:
    """A result of one observation; `msh` is what follows MSH-12."""
    return "\r".join(
        [
            f"MSH|^~\\&|LAB|HOSP|DOD|CITY|{time}+0000||ORU^R01^ORU_R01|{number}|P|2.5.1{msh}",
            f"PID|1||{patient}^^^HOSP^MR||{name}||19700101|F",
            f"OBR|1|O-{filler}|{filler}^LAB|24323-8^Panel^LN|||20261122093000|||||||||||||||20261122100000||LAB|{status}",
            f"OBX|1|NM|2823-3^Potassium^LN||{value}|mmol/L|3.5-5.1|N|||{status}",
            "",
        ]
    ).encode()


@dataclass(slots=True)
class Sender:
    """A connection to the listener."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    framing: Framing

    async def write(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()

    async def answer(self) -> bytes:
        """The next answer; nothing when the connection was closed instead."""
        async with asyncio.timeout(SECONDS):
            while data := await self.reader.read(65_536):
                for event in self.framing.receive(data):
                    assert isinstance(event, Frame)
                    return event.body
        return b""

    async def send(self, message: bytes) -> list[str]:
        """MSA's fields of the answer to a message."""
        await self.write(framed(message))
        return msa(await self.answer())

    async def close(self) -> None:
        self.writer.close()


def msa(answer: bytes) -> list[str]:
    lines = answer.decode("latin-1").split("\r")
    return next((line.split("|") for line in lines if line.startswith("MSA")), [])


def errors(answer: bytes) -> list[list[str]]:
    """Fields of the ERR segments."""
    return [line.split("|") for line in answer.decode("latin-1").split("\r") if line.startswith("ERR")]


@asynccontextmanager
async def connected(port: int, tls: ssl.SSLContext | None = None) -> AsyncIterator[Sender]:
    """A connection to a port of this machine."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    try:
        yield Sender(reader, writer, Framing(10_000_000))
    finally:
        writer.close()


@asynccontextmanager
async def fed_service(uri: str, **changed: Any) -> AsyncIterator[tuple[Service, int]]:
    """A service that listens for MLLP, seen by the tenant of its port; and that port."""
    tenant = Tenant(f"org-{uuid4().hex[:12]}", "Development")
    told = {"mllp_port": 0, "mllp_tenant": str(tenant), **changed}
    async with opened_service(uri, **told) as other:
        await other.access.put_tenant(TenantSettings(tenant))
        service = await replace(other, tenant=tenant).with_token(
            scopes=["system/*.cruds", "dod/admin", "dod/purge"]
        )
        assert service.client.app is not None
        yield service, service.client.app[PORTS]["mllp"]
