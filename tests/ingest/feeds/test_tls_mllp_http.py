"""MLLP over TLS, with client certificates by name; and a stock client, python-hl7 with its mllp_send."""

from __future__ import annotations

import asyncio
import re
import ssl
import sys
from contextlib import suppress
from pathlib import Path

import hl7
from hl7.client import MLLPClient

from api.feeds import PORTS
from ingest.mllp.framing import framed
from store.tenancy import Tenant, TenantSettings
from tests.support.certificates import Authority
from tests.support.mllp import connected, fed_service, msa, oru
from tests.support.service import opened_service

FILE = """
[[source]]
name = "lab"
tenant = "tls-lab/Development"

[[listener]]
name = "secured"
port = 0
certificate = "server.crt"
key = "server.key"
client_ca = "ca.pem"
client_names = ["lab.example"]
"""


def client(folder: Path, authority: Authority, name: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=authority.certificate.decode())
    if name is not None:
        context.load_cert_chain(*authority.client(name).write(folder, name))
    return context


async def is_answered(port: int, tls: ssl.SSLContext) -> bool:
    with suppress(OSError):
        async with connected(port, tls) as sender:
            await sender.write(framed(oru()))
            return bool(await sender.answer())
    return False


async def test_a_listener_with_client_certificates_lets_in_who_has_the_name(
    mongodb: str, tmp_path: Path
) -> None:
    authority = Authority()
    authority.server().write(tmp_path, "server")
    (tmp_path / "ca.pem").write_bytes(authority.certificate)
    (tmp_path / "sources.toml").write_text(FILE)
    async with opened_service(mongodb, mllp_sources=tmp_path / "sources.toml") as service:
        await service.access.put_tenant(TenantSettings(Tenant("tls-lab", "Development")))
        assert service.client.app is not None
        port = service.client.app[PORTS]["secured"]
        async with connected(port, client(tmp_path, authority, "lab.example")) as sender:
            assert await sender.send(oru()) == ["MSA", "AA", "M-1"]
        for name in ("stranger.example", None):
            assert not await is_answered(port, client(tmp_path, authority, name))
        async with connected(port) as sender:  # No TLS at all.
            await sender.write(framed(oru()))
            assert not msa(await sender.answer())


async def test_python_hl7_sends_and_reads_the_answer(mongodb: str) -> None:
    async with fed_service(mongodb) as (service, port):

        def send() -> list[str]:
            with MLLPClient("127.0.0.1", port) as client:
                answers = [
                    client.send_message(hl7.parse(oru(f"M-{n}", filler=f"F-{n}").decode())) for n in range(3)
                ]
            parsed = [hl7.parse(answer.strip(b"\x0b\x1c\r").decode()) for answer in answers]
            return [
                f"{one.segment('MSA')[1]} {one.segment('MSA')[2]} {one['MSH.F9.R1.C1']}" for one in parsed
            ]

        assert await asyncio.to_thread(send) == [f"AA M-{n} ACK" for n in range(3)]
        assert len((await service.search("patient.identifier=P-1")).ids) == 3


async def test_mllp_send_takes_several_messages_from_a_file(mongodb: str, tmp_path: Path) -> None:
    file = tmp_path / "feed.hl7"
    sent = [oru(f"M-{n}", filler=f"F-{n}") for n in range(3)]
    file.write_bytes(b"".join(sent).replace(b"\r", b"\n"))
    program = str(Path(sys.executable).with_name("mllp_send"))
    async with fed_service(mongodb) as (service, port):
        arguments = ("--loose", "--file", str(file), "--port", str(port), "127.0.0.1")
        sender = await asyncio.create_subprocess_exec(program, *arguments, stdout=asyncio.subprocess.PIPE)
        told, _ = await sender.communicate()
        assert sender.returncode == 0
        assert re.findall(r"MSA\|AA\|(M-\d)", told.decode()) == ["M-0", "M-1", "M-2"]
        assert len((await service.search("patient.identifier=P-1")).ids) == 3
