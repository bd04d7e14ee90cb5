"""`dod doctor`: everything that keeps the service from starting or from being ready, told at once.

Each check looks, tries and changes nothing. A check whose settings cannot be read is done with the others.
"""

from __future__ import annotations

import asyncio
import os
import re
import resource
import shutil
import socket
import stat
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.error import URLError
from urllib.parse import parse_qsl, urlsplit
from urllib.request import urlopen

import orjson
from prometheus_client import CollectorRegistry

from api.database import database
from api.feeds import feeds_of
from api.server.connection_limits import limits_of
from api.server.event_loop import factory_of
from api.server.tls import Files, load
from api.server.traces import MISSING, is_installed
from api.settings.service import PREFIX, Settings, load_settings
from store.errors import StartupError
from store.metrics import StoreMetrics
from store.mongo.embedded import find_mongod
from store.mongo.fitness import faults_at

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ingest.feeds.sources import ListeningPort

DISK_BYTES_MIN: Final = 2 * 1024**3
"""Free space below which the embedded MongoDB may soon end: its journal, oplog and a checkpoint take some."""
ADDRESS_BYTES_MIN: Final = 4 * 1024**3
"""Address space (`ulimit -v`) that the service and the embedded MongoDB need each."""
PROBE_SECONDS: Final = 2.0
"""Time that a service at the admin port may take to answer."""
SETTINGS_ROUNDS: Final = 3
"""Readings of the settings: unknown names are refused first, then wrong values, then there are none left."""
_TLS_FILES: Final = {one.lower(): one for one in ("tlsCAFile", "tlsCertificateKeyFile", "tlsCRLFile")}
"""Options of a connection string that name files."""
_VARIABLE: Final = re.compile(rf"\b{PREFIX}[A-Z0-9_]+")


class Finding(NamedTuple):
    """Finding of one check."""

    check: str
    reasons: Sequence[str]
    """Sentences, each for a thing that is wrong; none: all is well."""


async def examine(**options: Path | str | None) -> list[Finding]:
    """All findings, in the order in which a start meets them."""
    settings, faults = _readable(options)
    findings = [Finding("settings", faults)]
    if settings is None:
        return findings
    findings += [
        Finding("packages", _packages(settings)),
        Finding("files", _files(settings)),
        Finding("sources", _sources(settings)[1]),
        Finding("limits", _limits(settings)),
        Finding("ports", await asyncio.to_thread(_ports, settings)),
    ]
    if settings.mongodb_uri is None:
        of_directory = _data_directory(settings.data_dir)
        findings.append(Finding("data directory", of_directory))
        findings.append(Finding("database", await _embedded(settings, sound=not of_directory)))
    else:
        uri = settings.mongodb_uri.get_secret_value()
        findings.append(Finding("database", await faults_at(uri, settings, _metrics(), role=settings.role)))
    return findings


def table(findings: Sequence[Finding]) -> list[tuple[str, ...]]:
    """Rows with their head."""
    rows: list[tuple[str, ...]] = [("CHECK", "", "WHAT IS WRONG")]
    for check, reasons in findings:
        for number, reason in enumerate(reasons or ("",)):
            first = number == 0
            rows.append((check if first else "", ("wrong" if reasons else "ok") if first else "", reason))
    return rows


def as_json(findings: Sequence[Finding]) -> str:
    """Findings for programs."""
    checks = [{"check": check, "ok": not reasons, "reasons": list(reasons)} for check, reasons in findings]
    return orjson.dumps({"ok": not is_wrong(findings), "checks": checks}).decode()


def is_wrong(findings: Sequence[Finding]) -> bool:
    """Whether any check found something."""
    return any(reasons for _, reasons in findings)


def _metrics() -> StoreMetrics:
    return StoreMetrics(CollectorRegistry())


def _readable(options: dict[str, Path | str | None]) -> tuple[Settings | None, list[str]]:
    """The settings, and what is wrong with them; wrong ones are passed over for the other checks."""
    faults: list[str] = []
    wrong: list[str] = []
    for _ in range(SETTINGS_ROUNDS):
        with _without(wrong):
            try:
                return load_settings(**options), faults
            except StartupError as error:
                faults.append(str(error))
                named = _VARIABLE.findall(str(error))
                unknown = [one for one in named if one[len(PREFIX) :].lower() not in Settings.model_fields]
                wrong += unknown or named  # Beside an unknown name stands the one that may be meant.
    return None, list(dict.fromkeys(faults))


@contextmanager
def _without(names: Sequence[str]) -> Iterator[None]:
    """The environment without these variables, for a moment."""
    gone = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(gone)


# --- the checks, each giving its sentences


def _packages(settings: Settings) -> list[str]:
    """Packages beside the service's own that settings need, and that are not there."""
    faults = [] if settings.otlp_endpoint is None or is_installed() else [MISSING]
    try:
        factory_of(settings.event_loop)
    except StartupError as error:
        faults.append(str(error))
    return faults


def _sources(settings: Settings) -> tuple[Sequence[ListeningPort], list[str]]:
    """Ports for HL7 v2 that a start would listen on, and faults of what declares them."""
    if settings.role not in ("all", "ingest"):
        return (), []
    try:
        return feeds_of(settings).ports, []
    except StartupError as error:
        return (), [str(error)]


def _files(settings: Settings) -> list[str]:
    """Faults of files that settings name: certificates and keys."""
    faults = []
    pairs = [
        Files(one.certificate, one.key or one.certificate, one.client_ca)
        for one in _sources(settings)[0]
        if one.certificate is not None
    ]
    if settings.tls_certificate is not None and settings.tls_key is not None:
        pairs.append(Files(settings.tls_certificate, settings.tls_key, settings.tls_client_ca))
    for files in pairs:
        try:
            load(files)
        except StartupError as error:
            faults.append(str(error))
    if settings.mongodb_uri is None:
        return faults
    query = urlsplit(settings.mongodb_uri.get_secret_value().replace("mongodb+srv", "mongodb")).query
    named = [
        (_TLS_FILES[name.lower()], Path(value))
        for name, value in parse_qsl(query)
        if name.lower() in _TLS_FILES
    ]
    for shown, path in named:
        try:
            is_pem = b"-----BEGIN" in path.read_bytes()
        except OSError as error:
            faults.append(f"The file of `{shown}` in DOD_MONGODB_URI cannot be read: {error.strerror}.")
        else:
            faults += [] if is_pem else [f"The file of `{shown}` in DOD_MONGODB_URI is no PEM file."]
    return faults


def _limits(settings: Settings) -> list[str]:
    faults = []
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        limits_of(settings, files=2**31 if hard == resource.RLIM_INFINITY else hard)
    except StartupError as error:
        faults.append(str(error))
    space, _ = resource.getrlimit(resource.RLIMIT_AS)
    if space != resource.RLIM_INFINITY and space < ADDRESS_BYTES_MIN:
        faults.append(
            f"The address space is limited to {space // 1024**2} MiB (`ulimit -v`); at least"
            f" {ADDRESS_BYTES_MIN // 1024**2} are needed. Bound memory by a control group instead."
        )
    return faults


def _ports(settings: Settings) -> list[str]:
    if _is_ours(settings):
        return []
    places = (
        (settings.host, settings.port, "--port"),
        (settings.admin_host, settings.admin_port, "--admin-port"),
    )
    fed = ((one.host, one.port, "--mllp-port") for one in _sources(settings)[0])
    faults = [fault for place in (*places, *fed) if (fault := _port(*place))]
    if settings.port and settings.port == settings.admin_port and settings.host == settings.admin_host:
        faults.append(f"DOD_PORT and DOD_ADMIN_PORT are the same: {settings.port}.")
    return faults


def _port(host: str, port: int, option: str) -> str | None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError as error:
        return f"Port {port} of {host} cannot be listened on: {error.strerror}; `{option}` takes another."
    return None


def _is_ours(settings: Settings) -> bool:
    """Whether a service of ours answers at the admin port: then the ports are taken by right."""
    with suppress(URLError, OSError, ValueError):
        url = f"http://{settings.admin_host}:{settings.admin_port}/livez"
        with urlopen(url, timeout=PROBE_SECONDS) as answer:
            return bool(orjson.loads(answer.read(1_000)) == {"alive": True})
    return False


def _data_directory(path: Path) -> list[str]:
    """Obstacles to the embedded MongoDB writing there; a start makes a directory that is not there yet."""
    path = path.absolute()
    there = next(one for one in (path, *path.parents) if one.exists())
    faults = []
    if not there.is_dir():
        return [f"{there} is no directory, so the data directory {path} cannot be used."]
    found = there.stat()
    if there == path and found.st_uid != os.geteuid():
        faults.append(f"The data directory {path} belongs to another user (uid {found.st_uid}).")
    elif there == path and stat.S_IMODE(found.st_mode) & 0o077:
        faults.append(f"The data directory {path} is open to other users; `chmod 700` it.")
    if not os.access(there, os.R_OK | os.W_OK | os.X_OK) or _is_read_only(there):
        faults.append(f"{there} cannot be written to, so the data directory {path} cannot be used.")
    free = shutil.disk_usage(there).free
    if free < DISK_BYTES_MIN:
        faults.append(
            f"The disk of the data directory {path} has {free // 1024**2} MiB left; at least"
            f" {DISK_BYTES_MIN // 1024**2} are needed."
        )
    return faults


def _is_read_only(path: Path) -> bool:
    """Whether the file system is mounted for reading alone, which root is not told by its rights."""
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY)


async def _embedded(settings: Settings, *, sound: bool) -> Sequence[str]:
    """Faults of the embedded MongoDB, which is started where its data are sound."""
    try:
        find_mongod(settings.mongod)
        if not sound or not (settings.data_dir / "db").is_dir():
            return ()
        async with database(settings, role="command") as mongodb:
            return await faults_at(mongodb.uri, settings, _metrics(), role=settings.role)
    except StartupError as error:
        return (str(error),)
