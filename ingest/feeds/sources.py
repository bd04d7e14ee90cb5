"""Sources of HL7 v2 messages and the ports they come in by, as a TOML file declares them.

Pure, but for reading the file and the profiles that it names.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ingest.hl7v2.profile import DEFAULT_PROFILE, SourceProfile, load_profile
from store.errors import StartupError
from store.near import near
from store.tenancy import Tenant, parse_tenant

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ingest.hl7v2.reader import Header

SOURCES_MAX: Final = 200
"""Most sources: each is a label of metrics."""
NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
_MATCHED: Final = ("sending_application", "sending_facility", "receiving_application", "receiving_facility")
"""MSH-3, 4, 5 and 6: by these a message is told to be of a source."""

Name = Annotated[str, Field(pattern=NAME)]
Port = Annotated[int, Field(ge=0, le=65_535)]


class _Declared(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class DeclaredSource(_Declared):
    """Entry `[[source]]` of the file."""

    name: Name
    """Name in metrics, logs and dead letters."""
    tenant: str
    """`ORG/ENV` that its messages are stored for."""
    profile: Path | None = None
    """File with its source profile, relative to this file; without one the defaults hold."""
    charset: str | None = None
    """Charset of messages without MSH-18; wins over that of the profile."""
    sending_application: str | None = None
    """MSH-3.1 that its messages have; unset: any. The next three likewise."""
    sending_facility: str | None = None
    receiving_application: str | None = None
    receiving_facility: str | None = None
    data_model: tuple[str, ...] = ()
    """Values of `Meta.Source.ID` that its Data Model messages have; with them and none of the four above it
    sends no HL7 v2."""

    @field_validator("tenant")
    @classmethod
    def _is_tenant(cls, text: str) -> str:
        parse_tenant(text)
        return text


class DeclaredDestination(_Declared):
    """A `[[destination]]` of the file."""

    id: str
    """The value of `Meta.Destinations[].ID`."""
    tenant: str
    """`ORG/ENV` that it stands for."""

    @field_validator("tenant")
    @classmethod
    def _is_tenant(cls, text: str) -> str:
        parse_tenant(text)
        return text


class DeclaredListener(_Declared):
    """Entry `[[listener]]` of the file."""

    port: Port
    """TCP port; 0 takes a free one and logs it."""
    host: str = "127.0.0.1"
    """Address to listen on."""
    name: Name | None = None
    """Name in metrics and logs; unset: the port."""
    sources: tuple[Name, ...] = ()
    """Names of the sources that come in here; the first that matches a message is its source. None: all."""
    certificate: Path | None = None
    """PEM file with the server's certificate chain; with it the port speaks TLS (1.2 or later) alone."""
    key: Path | None = None
    """PEM file with its private key; unset: in the same file."""
    client_ca: Path | None = None
    """PEM file with the authorities whose client certificates are let in; unset: none is asked for."""
    client_names: tuple[str, ...] = ()
    """Common or alternative names of which a client certificate has one; empty: any of the authorities'."""
    networks: tuple[str, ...] = ()
    """Addresses or networks, such as `10.0.0.0/8`, of the senders that are let in; empty: all."""
    acknowledge: Literal["one", "both", "always"] = "one"
    """In enhanced mode, for a sender that asks for commit and application acknowledgment: the application
    acknowledgment alone, or both."""

    @field_validator("networks")
    @classmethod
    def _are_networks(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            ip_network(value)
        return values


class DeclaredFeeds(_Declared):
    """The whole file."""

    source: tuple[DeclaredSource, ...] = Field(default=(), max_length=SOURCES_MAX)
    listener: tuple[DeclaredListener, ...] = ()
    destination: tuple[DeclaredDestination, ...] = ()

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.source and not self.destination:
            raise ValueError("`source`: at least one `[[source]]` or `[[destination]]` is declared")
        return self


@dataclass(frozen=True, slots=True)
class Source:
    """A sender of HL7 v2 messages."""

    name: str
    tenant: Tenant
    profile: SourceProfile = DEFAULT_PROFILE
    matches: tuple[tuple[str, str], ...] = ()
    """Names of Header's fields, and the value each must have."""
    data_model: frozenset[str] = frozenset()
    """Ids that it has as `Meta.Source`."""

    def sends(self, header: Header) -> bool:
        """Whether a message with this header is one of its."""
        if self.data_model and not self.matches:
            return False
        return all(getattr(header, name) == value for name, value in self.matches)


@dataclass(frozen=True, slots=True)
class ListeningPort:
    """A port to listen on, and who may come in there."""

    name: str
    host: str
    port: int
    sources: tuple[Source, ...]
    certificate: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None
    client_names: frozenset[str] = frozenset()
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    both: bool = False
    always: bool = False

    def admits(self, address: str, names: Iterable[str]) -> bool:
        """Whether a client at this address, with these names in its certificate, is let in."""
        if self.client_ca is not None and not tuple(names):
            return False
        if self.networks and not any(ip_address(address) in one for one in self.networks):
            return False
        return not self.client_names or not self.client_names.isdisjoint(names)


@dataclass(frozen=True, slots=True)
class Feeds:
    """All sources and ports."""

    sources: tuple[Source, ...] = ()
    ports: tuple[ListeningPort, ...] = ()
    destinations: tuple[tuple[str, Tenant], ...] = ()
    """Ids of `Meta.Destinations[]`, and the tenants that they stand for."""

    def of_tenant(self, tenant: Tenant) -> tuple[Source, ...]:
        """The sources whose messages are stored for a tenant."""
        return tuple(one for one in self.sources if one.tenant == tenant)

    def named(self, name: str) -> Source | None:
        """The source of this name; None: none has it."""
        return next((one for one in self.sources if one.name == name), None)


def first_match(sources: Sequence[Source], header: Header) -> Source | None:
    """The first source whose description fits a message's header; None: none does."""
    return next((one for one in sources if one.sends(header)), None)


def load_feeds(path: Path) -> Feeds:
    """Read a file of sources and listeners. Raises StartupError with what is wrong, and where."""
    try:
        declared = DeclaredFeeds.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise StartupError(f"The sources file {path} cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StartupError(f"The sources file {path} is not TOML: {error}.") from None
    except ValidationError as error:
        raise StartupError(f"The sources file {path}: {_sentence(error)}.") from None
    sources = tuple(_source(one, path.parent) for one in declared.source)
    names = [one.name for one in sources]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise StartupError(f"The sources file {path}: two sources are named `{twice}`.")
    ports = tuple(_port(one, sources, path) for one in declared.listener)
    destinations = tuple((one.id, parse_tenant(one.tenant)) for one in declared.destination)
    return Feeds(sources, ports, destinations)


def _sentence(error: ValidationError) -> str:
    told = []
    for one in error.errors():
        place = ".".join(str(part) for part in one["loc"])
        hint = near(str(one["loc"][-1]), _KNOWN) if one["type"] == "extra_forbidden" else ""
        told.append(f"`{place}`: {one['msg']}{hint}")
    return "; ".join(told)


_KNOWN: Final = frozenset(
    {
        *DeclaredSource.model_fields,
        *DeclaredListener.model_fields,
        *DeclaredDestination.model_fields,
        "source",
        "listener",
        "destination",
    }
)


def load_source_profile(file: Path | None) -> SourceProfile:
    """The profile in a file; without one the defaults. Raises StartupError."""
    if file is None:
        return DEFAULT_PROFILE
    try:
        return load_profile(file)
    except ValueError as error:
        raise StartupError(f"The source profile {error}.") from None


def _source(declared: DeclaredSource, folder: Path) -> Source:
    profile = load_source_profile(None if declared.profile is None else folder / declared.profile)
    if declared.charset is not None:
        profile = profile.model_copy(update={"charset": declared.charset})
    matches = tuple((name, value) for name in _MATCHED if (value := getattr(declared, name)) is not None)
    known = frozenset(declared.data_model)
    return Source(declared.name, parse_tenant(declared.tenant), profile, matches, known)


def _port(declared: DeclaredListener, sources: Sequence[Source], path: Path) -> ListeningPort:
    by_name = {one.name: one for one in sources}
    unknown = [name for name in declared.sources if name not in by_name]
    if unknown:
        hint = near(unknown[0], by_name)
        raise StartupError(f"The sources file {path}: no source is named `{unknown[0]}`{hint}.")
    if declared.certificate is None and (declared.key or declared.client_ca or declared.client_names):
        text = f"listener {declared.port}: `key`, `client_ca` and `client_names` need `certificate`"
        raise StartupError(f"The sources file {path}: {text}.")
    if declared.client_names and declared.client_ca is None:
        text = f"listener {declared.port}: `client_names` needs `client_ca`"
        raise StartupError(f"The sources file {path}: {text}.")
    found = tuple(by_name[name] for name in declared.sources) or tuple(sources)

    def beside(file: Path | None) -> Path | None:
        return None if file is None else path.parent / file

    return ListeningPort(
        declared.name or str(declared.port),
        declared.host,
        declared.port,
        found,
        beside(declared.certificate),
        beside(declared.key),
        beside(declared.client_ca),
        frozenset(declared.client_names),
        tuple(ip_network(one) for one in declared.networks),
        declared.acknowledge == "both",
        declared.acknowledge == "always",
    )
