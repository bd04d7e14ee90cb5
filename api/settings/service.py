"""All settings of the service: `DOD_*` variables, mounted secrets, a TOML file, defaults.

CLI options win over the environment, the environment over the secrets directory, that over the file.
A name that nobody knows is refused wherever it stands: a misspelt limit must not go unnoticed.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)
from typing_extensions import override

from api.settings.auth import AuthSettings
from api.settings.changes import SubscriptionSettings
from ingest.feeds.settings import FeedSettings
from ingest.http.forwarded import NetworksText
from ingest.settings import IngestSettings
from store.errors import StartupError
from store.near import near
from store.search.criteria import PAGE_BYTES_MAX
from store.settings import StoreSettings

PREFIX = "DOD_"
SOURCES_MAX = 50
"""Most clients whose pushes are counted by name."""

Port = Annotated[int, Field(ge=0, le=65_535)]
Seconds = Annotated[float, Field(ge=0, le=3_600)]
EventLoop = Literal["auto", "uvloop", "asyncio"]


class Settings(StoreSettings, IngestSettings, AuthSettings, FeedSettings, SubscriptionSettings, BaseSettings):
    """Settings of `dod serve` and the other commands; every field is `DOD_<NAME>` as well."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )

    config: Path | None = None
    """TOML file with settings by their plain names, such as `port = 8080`."""
    secrets_dir: Path | None = None
    """Directory with one file per secret, named `dod_mongodb_uri` …, as Kubernetes mounts them."""

    host: str = "127.0.0.1"
    """Address the FHIR endpoint listens on. Loopback, unless TLS is set here or an ingress does it."""
    port: Port = 8080
    """Port of the FHIR endpoint; 0 takes a free one and logs it."""
    admin_host: str = "127.0.0.1"
    """Address of the admin endpoint (`/livez`, `/readyz`, `/metrics`). It asks for no token."""
    admin_port: Port = 9090
    """Port of the admin endpoint; never reachable from where clients are. 0 takes a free one."""
    base_url: str | None = Field(default=None, pattern=r"^https?://[^/?#\s]+[^?#\s]*[^/?#\s]$")
    """Public base such as `https://dod.example`, for links. Unset: scheme and host of the request."""
    trusted_proxies: NetworksText = ""
    """Addresses or networks, such as `10.0.0.0/8, 127.0.0.1`, of the proxies that say where a client came in.

    Their `X-Forwarded-Proto` and `-Host`, or `Forwarded` where a request has no `X-Forwarded-…`, make our
    links when `base_url` is unset. They must set these, and not pass on what a client sends.
    """
    tls_certificate: Path | None = None
    """Certificate chain of the FHIR endpoint, PEM, its own first; with `tls_key`, TLS 1.2 or later is all
    that is spoken there. Read again when it changes."""
    tls_key: Path | None = None
    """Private key of `tls_certificate`, PEM, without a passphrase."""
    tls_client_ca: Path | None = None
    """Authorities, PEM, whose client certificates stand for a client: `dod token issue --certificate`."""
    tls_reload_seconds: float = Field(default=2.0, gt=0, le=3_600)
    """Interval at which the TLS files are looked at for a change."""
    otlp_endpoint: str | None = Field(default=None, pattern=r"^https?://[^\s@]+$")
    """Address of an OpenTelemetry collector that takes OTLP over HTTP, such as `http://collector:4318`.
    Unset: no traces. Needs the extra `traces`."""
    trace_share: float = Field(default=0.1, ge=0, le=1)
    """Share of requests that are traced, of those whose caller's `traceparent` does not decide it."""
    explorer: bool = True
    """Whether `/explorer` shows reports in a browser, to visitors with a token of their own."""
    compress_bytes_min: int | None = Field(default=16_384, ge=0)
    """JSON answers from so many bytes on are compressed (zstd, br or gzip) for clients that take them so."""
    role: Literal["all", "query", "ingest", "jobs"] = "all"
    """Routes that this process serves: `query` no writes, `ingest` no searches, `jobs` neither."""
    workers: Annotated[int, Field(ge=1, le=256)] | Literal["auto"] = 1
    """Processes of `dod serve` on one address; `auto`: one for each processor. They share the limits of
    connections, threads, queues and memory, each with its part, and one of them has the jobs on a timer."""
    event_loop: EventLoop = "auto"
    """Event loop of `dod serve`; `auto`: uvloop's, which takes less of a processor, where it is installed."""

    data_dir: Path = Path(".dod")
    """Directory of the embedded MongoDB's data. Unused with `mongodb_uri`."""
    mongod: Path | None = None
    """The mongod binary to embed. Unset: the one on PATH, else the one of the optional extra."""

    mongod_cache_gigabytes: float | None = Field(default=None, ge=0.25, le=10_000)
    """Cache of the embedded MongoDB, GiB. Unset: a quarter of the memory. What is searched should fit."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Lowest level that is logged. INFO has one line per request; WARNING only what needs a look."""
    metric_sources: str = ""
    """Clients of tokens, separated by commas, whose pushes are counted by name; at most 50. All other clients
    are counted together: a label of any client would be a metric without bounds."""
    drain_seconds: Seconds = 5.0
    """Time to keep serving after SIGTERM with readiness off, until load balancers have noticed."""
    shutdown_seconds: Seconds = 30.0
    """Time that requests under way may still take when the listening sockets are closed."""

    connections_max: int = Field(default=4_000, ge=16)
    """Most connections of clients; past it one gives way to a new one: of the address (IPv6: network of 64
    bits) with most, the one that waits longest for a request, or else whose client is waited for.

    Fewer where the open files (`ulimit -n`, raised to its hard limit at start) do not suffice.
    """
    connections_per_address_max: int = Field(default=0, ge=0)
    """Most connections of one client address (IPv6: network of 64 bits); 0: no limit, for behind an ingress
    all have one address."""
    head_seconds: float = Field(default=10.0, gt=0, le=3_600)
    """Time that the header fields of a request may take to arrive, from its first byte; then 408."""
    idle_seconds: float = Field(default=75.0, gt=0, le=3_600)
    """Time that a connection is kept between two requests; a balancer in front should keep it less long."""
    body_bytes_max: int = Field(default=41_943_040, ge=1_000)
    """Largest request body, counted after decoding: 40 MiB, as a file of 30 MB alone is 40.0 MB of base64."""
    large_body_bytes: int = Field(default=131_072, ge=0)
    """Bodies of pushes longer than this (or of more than 3,000 objects) are parsed and stored by a further
    process, so that those of others do not wait for them. It starts with the first of them (some 100 MB) and
    ends after five minutes without. 0: none, by a thread of the process that took them."""
    page_size_default: int = Field(default=50, ge=1)
    """Matches per page when a search has no `_count`."""
    page_size_max: int = Field(default=1_000, ge=1)
    """Most matches per page; a larger `_count` is capped. Pages are built in memory."""
    page_bytes_max: int = Field(default=PAGE_BYTES_MAX, ge=1_000, le=16_000_000)
    """Bytes of resources on one page of a search with its includes, on one page of a history, and in the
    answer to one batch or transaction. A page ends early with a `next` link; one match or version is shown
    however large. A batch refuses the searches and reads that no longer fit, each in its own entry."""
    query_orders_max: int = Field(default=200, ge=1, le=1_000)
    """Most orders in the answer to one `Results.Query` of the Data Model; past it `Meta.IsIncomplete`."""
    clauses_max: int = Field(default=50, ge=1)
    """Most parameters of one search; each one costs the planner and the database."""
    values_max: int = Field(default=300, ge=1)
    """Most values of one parameter (`a,b,c`); they become one `$in`."""
    answers_bytes_max: int = Field(default=128_000_000, ge=32_000_000)
    """Bytes of large answers (above 64 KiB) that are being read by their clients, all together, in memory;
    past it a read or search is refused with 503, past a share of it (`client_share`) with 429."""
    answer_stall_seconds: float = Field(default=30.0, gt=0, le=3_600)
    """Time in which a client may take nothing of what was sent to it; then its connection is cut."""
    answer_rate_min: int = Field(default=32_768, ge=1)
    """Bytes a second at which a large answer must be taken on the whole, beyond `answer_stall_seconds`."""
    page_token_seconds: int = Field(default=86_400, ge=1)
    """Time for which a page link works; past it 410, and the client starts over."""

    @model_validator(mode="after")
    def _whole_tls(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("`tls_certificate` and `tls_key` are set together")
        if self.tls_client_ca is not None and self.tls_certificate is None:
            raise ValueError("`tls_client_ca` needs `tls_certificate` and `tls_key`")
        return self

    @field_validator("metric_sources")
    @classmethod
    def _few_sources(cls, text: str) -> str:
        if text.count(",") >= SOURCES_MAX:
            raise ValueError(f"must be at most {SOURCES_MAX} names, separated by commas")
        return text

    @property
    def sources(self) -> tuple[str, ...]:
        """The clients whose pushes are counted by name."""
        return tuple(dict.fromkeys(name.strip() for name in self.metric_sources.split(",") if name.strip()))

    @override
    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """First wins. Where the file and the secrets are is itself said by option or environment."""
        found = env_settings()
        places = {**found, **init_settings()}
        config, secrets_dir = places.get("config"), places.get("secrets_dir")
        # Looked up once: each of some hundred names costs more than to validate its value.
        sources: list[PydanticBaseSettingsSource] = [init_settings, InitSettingsSource(settings_cls, found)]
        if secrets_dir:
            sources.append(SecretsSettingsSource(settings_cls, secrets_dir))
        if config:
            sources.append(TomlConfigSettingsSource(settings_cls, config))
        return tuple(sources)


def load_settings(**options: Any) -> Settings:  # noqa: ANN401 (validated below, whatever it is)
    """The settings of this process; an option that is None was not given.

    Raises StartupError naming the settings that are unknown or wrong, never a value.
    """
    given = {name: value for name, value in options.items() if value is not None}
    _refuse_password(given.get("mongodb_uri"))
    _refuse_unknown("environment variables", _environment_names())
    config = given.get("config") or os.environ.get(PREFIX + "CONFIG")
    if config:
        _refuse_unknown(f"names in the file {config}", _file_names(Path(config)))
    secrets_dir = given.get("secrets_dir") or os.environ.get(PREFIX + "SECRETS_DIR")
    if secrets_dir:
        _refuse_unknown(f"files in {secrets_dir}", secret_names(Path(secrets_dir)))
    try:
        return Settings(**given)
    except ValidationError as error:
        raise StartupError(_sentence(error)) from None
    except SettingsError as error:
        raise StartupError(f"Settings cannot be read: {type(error).__name__}.") from None


_SETTING: Final = re.compile(r"`([a-z0-9_]+)`")
_PASSWORD: Final = re.compile(r"mongodb(?:\+srv)?://[^/@]*:[^/@]+@")


def _refuse_password(option: object) -> None:
    """Raise StartupError for a password on the command line: every user of the machine can read it there."""
    if option is not None and _PASSWORD.match(str(option)):
        raise StartupError(
            "A connection string with a password is not taken from the command line, where every user of the"
            " machine can read it: set DOD_MONGODB_URI, or mount it as a file in DOD_SECRETS_DIR."
        )


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.upper()


def _environment_names() -> Iterable[tuple[str, str]]:
    """Each `DOD_*` variable, with the setting it would be."""
    for shown in os.environ:
        if shown.upper().startswith(PREFIX):
            yield shown, shown[len(PREFIX) :].lower()


def _file_names(path: Path) -> Iterable[tuple[str, str]]:
    try:
        names = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StartupError(f"The settings file {path} cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        raise StartupError(f"The settings file {path} is not TOML.") from None
    return ((name, name) for name in names)


def secret_names(path: Path) -> Iterable[tuple[str, str]]:
    """Each mounted file; Kubernetes keeps its own bookkeeping beside them under names with a dot."""
    try:
        names = sorted(entry.name for entry in path.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise StartupError(f"The secrets directory {path} cannot be read: {error.strerror}.") from None
    for name in names:
        known = name.lower().startswith(PREFIX.lower())
        yield name, name[len(PREFIX) :].lower() if known else ""


def _refuse_unknown(where: str, names: Iterable[tuple[str, str]]) -> None:
    unknown = [f"{shown}{_near(shown, name)}" for shown, name in names if name not in Settings.model_fields]
    if unknown:
        listed = "`docs/settings.md`, and `dod settings` without them, lists all settings"
        raise StartupError(f"Unknown {where}: {', '.join(unknown)}. {listed}.")


def _near(shown: str, name: str) -> str:
    """The setting that may be meant, spelled as it is where the wrong one stands."""
    if not name:  # A mounted secret without the prefix.
        return near(PREFIX + shown, map(variable, Settings.model_fields)).lower()
    start, end = shown[: -len(name)], shown[-len(name) :]
    known = [one.upper() if end.isupper() else one for one in Settings.model_fields]
    return near(shown, [start + one for one in known])


def _sentence(error: ValidationError) -> str:
    """Sentence that names the wrong settings and the rule; pydantic is told to leave the input out."""
    rules: dict[str, list[str]] = {}  # One that may be of several kinds breaks the rule of each.
    for fault in error.errors(include_url=False, include_context=False, include_input=False):
        rule = _SETTING.sub(_as_variable, fault["msg"].removeprefix("Value error, "))
        rules.setdefault(f"{variable(str(fault['loc'][0]))}: " if fault["loc"] else "", []).append(rule)
    faults = (f"{name}{' or '.join(told)}" for name, told in rules.items())
    return f"Settings refused: {'; '.join(faults)}."


def _as_variable(found: re.Match[str]) -> str:
    return f"`{variable(found[1])}`" if found[1] in Settings.model_fields else found[0]
