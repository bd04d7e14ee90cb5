"""TLS of the FHIR endpoint, by certificate and key files that are read again when they change.

A changed pair is tried whole before it is used: handshakes go on with the one before until the new one is
sound. Connections that are open keep theirs. https://www.rfc-editor.org/rfc/rfc9325
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import ssl
import stat
import tempfile
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cryptography import x509
from typing_extensions import override

from store.errors import StartupError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from datetime import datetime

    from api.server.tls_metrics import TlsMetrics

LOG: Final = logging.getLogger("api.tls")
FILE_BYTES_MAX: Final = 1_000_000
"""Most bytes of a file: five times those of all authorities that a browser knows."""


class Files(NamedTuple):
    """The files that TLS is made of."""

    certificate: Path
    """Certificate chain, PEM, our own first."""
    key: Path
    """Private key, PEM, without a passphrase."""
    client_ca: Path | None = None
    """Authorities whose client certificates are taken, PEM; None: none is asked for."""

    def state(self) -> tuple[object, ...]:
        """A value that is another one when a file was changed or replaced."""
        found = [one.stat() for one in self if one is not None]
        return tuple((one.st_mtime_ns, one.st_ino, one.st_size) for one in found)


class Loaded(NamedTuple):
    """Files, read and found to be sound."""

    context: ssl.SSLContext
    ends_at: datetime
    """End of our own certificate."""


def load(files: Files) -> Loaded:
    """Make a context of the files. Raises StartupError that names the file and what is wrong with it."""
    chain, key = _read(files.certificate), _read(files.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    with _as_file(chain + b"\n" + key) as pair:
        try:
            context.load_cert_chain(pair, password=_no_passphrase)
        except (ssl.SSLError, _PassphraseError) as error:
            raise StartupError(_refusal(files, error)) from None
    if files.client_ca is not None:
        # What stands around the certificates may be in any language; an empty text is a ValueError.
        trusted = _read(files.client_ca).decode("ascii", errors="ignore")
        try:
            context.load_verify_locations(cadata=trusted)
        except (ssl.SSLError, ValueError):
            raise StartupError(f"{files.client_ca} holds no certificate in PEM.") from None
        context.verify_mode = ssl.CERT_OPTIONAL
    return Loaded(context, _end_of(chain, files.certificate))


def _read(path: Path) -> bytes:
    """Content of a file. What is no file is not waited for: these are read on the event loop."""
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise StartupError(f"The TLS file {path} cannot be read: it is no regular file.")
            content = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise StartupError(f"The TLS file {path} cannot be read: {error.strerror}.") from None
    if len(content) > FILE_BYTES_MAX:
        raise StartupError(f"The TLS file {path} has more than {FILE_BYTES_MAX} bytes.")
    return content


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


class _PassphraseError(Exception):
    """The key is encrypted; OpenSSL would ask at the terminal."""


def _no_passphrase() -> str:
    raise _PassphraseError


def _refusal(files: Files, error: Exception) -> str:
    if isinstance(error, _PassphraseError):
        return f"The key {files.key} has a passphrase: store it without, readable by the service alone."
    if getattr(error, "reason", "") == "KEY_VALUES_MISMATCH":
        return f"The key {files.key} is not that of the certificate {files.certificate}."
    return f"{files.certificate} and {files.key} are no certificate chain and private key in PEM."


def _end_of(chain: bytes, path: Path) -> datetime:
    try:
        return x509.load_pem_x509_certificate(chain).not_valid_after_utc
    except ValueError:
        raise StartupError(f"{path} holds no certificate in PEM.") from None


@contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """A path under which OpenSSL finds the content: the files themselves may change while it reads."""
    if hasattr(os, "memfd_create"):
        handle = os.memfd_create("dod-tls")
        try:
            os.write(handle, content)
            yield f"/proc/self/fd/{handle}"
        finally:
            os.close(handle)
    else:
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            yield file.name


class ReloadingContext(ssl.SSLContext):
    """A context that has each new connection wrapped by the newest sound one."""

    current: ssl.SSLContext

    def __new__(cls, loaded: Loaded) -> ReloadingContext:  # noqa: PYI034 -- no subclasses
        """Begin with these files."""
        made = super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)
        made.current = loaded.context
        return made

    @override
    def wrap_bio(self, *arguments: Any, **named: Any) -> ssl.SSLObject:
        """Begin a connection with the newest certificate."""
        return self.current.wrap_bio(*arguments, **named)


@asynccontextmanager
async def reloading(
    files: Files, *, seconds: float, metrics: TlsMetrics | None = None
) -> AsyncIterator[ReloadingContext]:
    """The context, looked after: files are looked at so often. Raises StartupError."""
    state, loaded = files.state() if _are_there(files) else (), load(files)
    context = ReloadingContext(loaded)
    if metrics is not None:
        metrics.loaded(loaded.ends_at)
    watching = asyncio.ensure_future(_watch(context, files, state, seconds, metrics))
    try:
        yield context
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


def _are_there(files: Files) -> bool:
    return all(one is None or one.exists() for one in files)


async def _watch(
    context: ReloadingContext,
    files: Files,
    state: tuple[object, ...],
    seconds: float,
    metrics: TlsMetrics | None,
) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            state = renewed(context, files, state, metrics)
        except Exception:  # Without its task the certificate in use would be the last one.
            LOG.exception("the TLS files could not be looked at; it is tried again")


def renewed(
    context: ReloadingContext, files: Files, state: tuple[object, ...], metrics: TlsMetrics | None = None
) -> tuple[object, ...]:
    """Take over files that have changed, if they are sound; the state that is in use then."""
    try:
        found = files.state()
    except OSError:
        return state  # Being replaced.
    if found == state:
        return state
    try:
        loaded = load(files)
    except (StartupError, OSError) as error:
        # Tried again each time: half of a pair may have been replaced so far, or no file can be opened.
        LOG.warning("the TLS files have changed and cannot be used", extra={"reason": str(error)})
        if metrics is not None:
            metrics.refused()
        return state
    context.current = loaded.context
    if metrics is not None:
        metrics.loaded(loaded.ends_at)
    LOG.info("the TLS files have changed and are in use")
    return found


def fingerprint_of(transport: asyncio.BaseTransport | None) -> str | None:
    """SHA-256 of the client's certificate, which the settings' authorities vouch for; None: it sent none."""
    secured = None if transport is None else transport.get_extra_info("ssl_object")
    certificate = None if secured is None else secured.getpeercert(binary_form=True)
    return None if not certificate else hashlib.sha256(certificate).hexdigest()


def fingerprint_in(pem: bytes) -> str:
    """SHA-256 of a certificate in PEM. Raises ValueError when it is none."""
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415

    return hashlib.sha256(x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)).hexdigest()


def end_in(pem: bytes) -> datetime:
    """End of a certificate in PEM. Raises ValueError when it is none."""
    return x509.load_pem_x509_certificate(pem).not_valid_after_utc
