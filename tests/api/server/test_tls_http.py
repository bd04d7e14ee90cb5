"""TLS at the FHIR endpoint: stock clients get in, old versions do not, certificates change under load."""

from __future__ import annotations

import asyncio
import errno
import os
import ssl
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import httpx
import pytest
from aiohttp import web
from cryptography import x509
from prometheus_client import CollectorRegistry

from api.auth.tokens import new_grant
from api.serve import listen
from api.server import tls
from api.server.connection_limits import Limits
from api.server.event_loop import factory_of
from api.server.tls import FILE_BYTES_MAX, Files, ReloadingContext, fingerprint_in, load, reloading, renewed
from api.server.tls_metrics import TlsMetrics
from api.settings.service import Settings
from store.errors import StartupError
from tests.support.certificates import Authority, Pair
from tests.support.edge import LAB, LAB_BASE, NOW, bearer, memory_access, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from api.settings.service import EventLoop
    from tests.support.access import MemoryAccess

SECONDS = 3_600.0
"""Between two looks at the files: the tests look themselves."""


@dataclass(frozen=True, slots=True)
class Secured:
    """A service behind TLS."""

    url: str
    port: int
    files: Files
    context: ReloadingContext
    access: MemoryAccess
    metrics: TlsMetrics

    def trusting(self, authority: Authority, client: tuple[Path, Path] | None = None) -> ssl.SSLContext:
        """Client context that trusts the service, with a client certificate of its own where one is given."""
        context = ssl.create_default_context(cadata=authority.certificate.decode())
        if client is not None:
            context.load_cert_chain(*client)
        return context


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@asynccontextmanager
async def secured(
    folder: Path,
    pair: Pair,
    client_ca: bytes | None = None,
    *,
    limits: Limits | None = None,
    handshake_seconds: float = SECONDS,
) -> AsyncIterator[Secured]:
    files = Files(*pair.write(folder, "server"))
    if client_ca is not None:
        (folder / "clients.pem").write_bytes(client_ca)
        files = files._replace(client_ca=folder / "clients.pem")
    access, metrics = memory_access(), TlsMetrics(CollectorRegistry())
    async with AsyncExitStack() as stack:
        settings = Settings(access_cache_seconds=0)
        client = await stack.enter_async_context(serving(access, settings=settings, limits=limits))
        context = await stack.enter_async_context(reloading(files, seconds=SECONDS, metrics=metrics))
        runner = client.server.runner
        assert isinstance(runner, web.AppRunner)
        url = await listen(
            runner, "127.0.0.1", 0, option="--port", secured=context, handshake_seconds=handshake_seconds
        )
        yield Secured(url, int(url.rpartition(":")[2]), files, context, access, metrics)


async def s_client(at: Secured, authority: Path, *options: str) -> str:
    """Output of `openssl s_client`."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{at.port}", "-CAfile", str(authority)]
    process = await asyncio.create_subprocess_exec(
        *command, *options,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await process.communicate()
    return said.decode(errors="replace")


async def test_openssl_gets_in_by_tls_1_2_and_1_3_and_by_nothing_older(
    tmp_path: Path, authority: Authority
) -> None:
    (tmp_path / "ca.pem").write_bytes(authority.certificate)
    async with secured(tmp_path, authority.server()) as at:
        for version, spoken in (("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")):
            said = await s_client(at, tmp_path / "ca.pem", version, "-verify_return_error")
            assert "Verify return code: 0 (ok)" in said
            assert spoken in said
        said = await s_client(at, tmp_path / "ca.pem", "-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0")
        assert "Cipher is (NONE)" in said


async def test_a_certificate_is_swapped_under_load_without_a_failed_request(
    tmp_path: Path, authority: Authority
) -> None:
    first, second = authority.server(), authority.server()
    async with secured(tmp_path, first) as at:
        headers = {**bearer(at.access), "Connection": "close"}
        answers: asyncio.Queue[int] = asyncio.Queue()
        over = asyncio.Event()

        async def ask() -> None:
            async with httpx.AsyncClient(verify=at.trusting(authority)) as client:
                while not over.is_set():
                    answer = await client.get(f"{at.url}{LAB_BASE}/Patient/p1", headers=headers)
                    answers.put_nowait(answer.status_code)

        async def until(more: int) -> None:
            assert [await answers.get() for _ in range(more)] == [200] * more

        asking = [asyncio.ensure_future(ask()) for _ in range(4)]
        state = at.files.state()
        await until(10)
        assert served(at) == serial(first)
        at.files.certificate.write_bytes(second.certificate)  # Half of the pair so far.
        assert renewed(at.context, at.files, state, at.metrics) == state
        await until(10)
        at.files.key.write_bytes(second.key)
        assert renewed(at.context, at.files, state, at.metrics) != state
        await until(10)
        over.set()
        await asyncio.gather(*asking)
        await until(answers.qsize())
        assert await asyncio.to_thread(served, at) == serial(second)


def test_a_certificate_that_cannot_be_read_for_want_of_files_is_tried_again(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(_: str) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    made = authority.server()
    files = Files(tmp_path / "tls.crt", tmp_path / "tls.key")
    files.certificate.write_bytes(made.certificate)
    files.key.write_bytes(made.key)
    context, before = ReloadingContext(load(files)), (0,)
    with monkeypatch.context() as patched:
        patched.setattr("os.memfd_create", none_left)
        assert renewed(context, files, before) == before
    assert renewed(context, files, before) == files.state()


async def test_the_watch_over_the_files_outlives_a_failure_nobody_thought_of(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, again = [0], asyncio.Event()

    def fails_first(_: object, __: object, state: tuple[object, ...], ___: object) -> tuple[object, ...]:
        looks[0] += 1
        if looks[0] == 1:
            raise RuntimeError("unforeseen")
        again.set()
        return state

    monkeypatch.setattr("api.server.tls.renewed", fails_first)
    files = Files(*authority.server().write(tmp_path, "server"))
    async with reloading(files, seconds=0.0), asyncio.timeout(10):
        await again.wait()


def served(at: Secured) -> int:
    """The serial number of the certificate that new connections get."""
    context = at.context.current
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(incoming, outgoing, server_side=True)
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    client = trusting.wrap_bio(outgoing, incoming)
    for _ in range(4):
        for one in (client, server):
            try:
                one.do_handshake()
            except ssl.SSLWantReadError:
                continue
    shown = client.getpeercert(binary_form=True)
    assert shown is not None
    return x509.load_der_x509_certificate(shown).serial_number


def test_authorities_are_read_whatever_stands_around_them(tmp_path: Path, authority: Authority) -> None:
    files = Files(*authority.server().write(tmp_path, "server"), tmp_path / "clients.pem")
    context = None
    for text, is_sound in (
        (b"", False),
        (b"\n# nothing yet\n", False),
        (authority.certificate[:-40], False),
        ("# Gepr\u00fcft: Beh\u00f6rde\n".encode() + authority.certificate, True),
        ("# Pr\u00e9fecture\n".encode("latin-1") + authority.certificate, True),
    ):
        (tmp_path / "clients.pem").write_bytes(text)
        if context is None:
            with pytest.raises(StartupError, match="no certificate in PEM"):
                load(files)
            context = ReloadingContext(load(files._replace(client_ca=None)))
        before = context.current
        assert (renewed(context, files, ()) != ()) is is_sound, text
        assert (context.current is not before) is is_sound


async def test_files_are_looked_at_whatever_went_wrong_before(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, again = iter((True, False)), asyncio.Event()

    def look(*_: object) -> tuple[object, ...]:
        if next(looks):
            raise RuntimeError
        again.set()
        return ()

    monkeypatch.setattr(tls, "renewed", look)
    async with reloading(Files(*authority.server().write(tmp_path, "server")), seconds=0.001):
        async with asyncio.timeout(30):
            await again.wait()
        monkeypatch.setattr(tls, "renewed", lambda *_: ())


def serial(pair: Pair) -> int:
    return x509.load_pem_x509_certificate(pair.certificate).serial_number


async def test_a_client_certificate_stands_for_a_client(tmp_path: Path, authority: Authority) -> None:
    lab, stranger, forged = authority.client("lab"), authority.client("stranger"), Authority().client("lab")
    async with secured(tmp_path, authority.server(), authority.certificate) as at:
        grant = new_grant(
            token="", client="lab", tenants=[LAB], scopes=["system/Patient.c"], now=NOW, days=30
        )
        fingerprint = fingerprint_in(lab.certificate)
        at.access.kept[fingerprint] = replace(grant, digest=fingerprint)
        token = bearer(at.access, scopes=["system/Patient.r"])

        async def status(pair: Pair | None, method: str, headers: dict[str, str] | None = None) -> int:
            files = None if pair is None else pair.write(tmp_path, "client")
            path, body = ("Patient/p1", None) if method == "GET" else ("Patient", b"{}")
            typed = {"Content-Type": "application/fhir+json"} if body else {}
            async with httpx.AsyncClient(verify=at.trusting(authority, files)) as client:
                answer = await client.request(
                    method, f"{at.url}{LAB_BASE}/{path}", content=body, headers={**typed, **(headers or {})}
                )
            return answer.status_code

        assert await status(lab, "POST") == 200
        assert await status(lab, "GET") == 403  # The scopes are those of the certificate.
        assert await status(lab, "GET", token) == 200  # A token says more than the connection.
        assert await status(stranger, "POST") == 401
        assert await status(None, "POST") == 401
        for refused in (forged, authority.client("lab", days=-0.5), authority.server()):
            with pytest.raises(httpx.HTTPError):
                await status(refused, "POST")
        at.access.kept[fingerprint] = replace(grant, digest=fingerprint, expires_at=NOW - timedelta(days=1))
        assert await status(lab, "POST") == 401


async def test_answers_over_tls_tell_browsers_to_stay_with_it(tmp_path: Path, authority: Authority) -> None:
    async with secured(tmp_path, authority.server()) as at:
        async with httpx.AsyncClient(verify=at.trusting(authority)) as client:
            answer = await client.get(f"{at.url}{LAB_BASE}/metadata")
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
        assert answer.headers["Server"] == "dod"
        assert answer.url.scheme == "https"


def test_what_is_wrong_with_files_is_named(tmp_path: Path, authority: Authority) -> None:
    certificate, key = authority.server().write(tmp_path, "one")
    _, other = authority.server().write(tmp_path, "two")
    (tmp_path / "text").write_text("made up")
    (tmp_path / "large").write_bytes(bytes(FILE_BYTES_MAX + 1))
    os.mkfifo(tmp_path / "pipe")  # Nobody writes into it: whoever opens it would wait for ever.
    (tmp_path / "endless").symlink_to("/dev/zero")
    (tmp_path / "folder").mkdir()
    for files, part in (
        *((Files(certificate, tmp_path / name), "no regular file") for name in ("pipe", "endless")),
        (Files(certificate, key, tmp_path / "folder"), "directory"),
        (Files(tmp_path / "large", key), "more than 1000000 bytes"),
        (Files(tmp_path / "none", key), "cannot be read"),
        (Files(certificate, other), "is not that of the certificate"),
        (Files(tmp_path / "text", key), "no certificate chain"),
        (Files(certificate, key, tmp_path / "text"), "no certificate in PEM"),
    ):
        with pytest.raises(StartupError, match=part):
            load(files)
    assert load(Files(certificate, key)).ends_at.tzinfo is not None


async def test_handshakes_have_places_among_all_connections(tmp_path: Path, authority: Authority) -> None:
    """Thousands that say nothing would take all open files."""
    limits = Limits(connections=20)
    async with secured(tmp_path, authority.server(), limits=limits) as at, AsyncExitStack() as stack:
        silent = []
        for number in range(60):
            reader, writer = await asyncio.open_connection("127.0.0.1", at.port)
            stack.callback(writer.close)
            if number % 2:
                writer.write(b"\x16\x03\x01\x02\x00\x01")  # Half of a ClientHello.
            silent.append(reader)
        async with httpx.AsyncClient(verify=at.trusting(authority)) as client:
            for _ in range(3):
                answer = await client.get(f"{at.url}{LAB_BASE}/metadata")
                assert answer.status_code == 200
        async with asyncio.timeout(20):
            for reader in silent[:40]:
                with suppress(ConnectionError):
                    assert await reader.read() == b""
        assert not silent[-1].at_eof()


async def test_a_request_that_comes_with_the_end_of_its_handshake_is_answered(
    tmp_path: Path, authority: Authority
) -> None:
    async with secured(tmp_path, authority.server()) as at:
        for _ in range(10):
            reader, writer = await asyncio.open_connection("127.0.0.1", at.port, ssl=at.trusting(authority))
            writer.write(b"GET %b/metadata HTTP/1.1\r\nHost: a\r\n\r\n" % LAB_BASE.encode())
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            writer.close()


@pytest.mark.parametrize("event_loop", ["asyncio", "uvloop"])
def test_a_connection_that_is_to_be_closed_is_closed_at_once(
    tmp_path: Path, authority: Authority, event_loop: EventLoop
) -> None:
    """TLS paused an answer without end where nothing at all may be left to send."""

    async def ask() -> list[bytes]:
        heads = []
        async with secured(tmp_path, authority.server()) as at:
            for _ in range(6):
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", at.port, ssl=at.trusting(authority)
                )
                writer.write(
                    b"GET %b/metadata HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % LAB_BASE.encode()
                )
                async with asyncio.timeout(20):
                    heads.append((await reader.read())[:15])
                writer.close()
        return heads

    if event_loop == "uvloop":
        pytest.importorskip("uvloop")
    with asyncio.Runner(loop_factory=factory_of(event_loop)) as runner:
        assert runner.run(ask()) == [b"HTTP/1.1 200 OK"] * 6


async def test_a_handshake_has_a_deadline(tmp_path: Path, authority: Authority) -> None:
    async with secured(tmp_path, authority.server(), handshake_seconds=0.1) as at:
        reader, writer = await asyncio.open_connection("127.0.0.1", at.port)
        async with asyncio.timeout(20):
            assert await reader.read() == b""
        writer.close()
