"""Options that the commands of several modules share, and the way of a command to the database."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import typer

from store.errors import StartupError
from store.tenancy import Tenant, parse_tenant

if TYPE_CHECKING:
    from store.access import AccessStore
    from store.stores import Stores

T = TypeVar("T")
Config = Annotated[Path | None, typer.Option("--config", help="TOML file with settings.", show_default=False)]
DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Data of the embedded MongoDB [.dod].")]
MongodbUri = Annotated[
    str | None, typer.Option("--mongodb-uri", help="A replica set, instead of the embedded MongoDB.")
]
OnlyTenant = Annotated[str | None, typer.Option("--tenant", metavar="ORG/ENV", help="Of this tenant only.")]
PushedUnder = Annotated[
    str | None, typer.Option("--base-url", help="Public base under which the service was pushed to.")
]
TENANT_HELP: Final = "ENV is Development, Staging or Production."


def with_stores(work: Callable[[Stores], Awaitable[T]], **places: Path | str | None) -> T:
    """The result of the work on all stores."""
    from api.database import command_stores
    from api.settings.service import load_settings

    async def run() -> T:
        async with command_stores(load_settings(**places)) as stores:
            return await work(on_record(stores))

    return asyncio.run(run())


def on_record(stores: Stores) -> Stores:
    """The stores, with changes to tenants, tokens and clients on record as those of the user here."""
    from api.app import utc_now
    from api.commands.terminal import user
    from store.audit.administration import AuditedAccess, AuditedClients, Recorder

    recorder = Recorder(stores.privacy.audit, by=user(), clock=utc_now)
    access, clients = AuditedAccess(stores.access, recorder), AuditedClients(stores.clients, recorder)
    return replace(stores, access=access, clients=clients)


def with_access(work: Callable[[AccessStore], Awaitable[T]], **places: Path | str | None) -> T:
    """The result of the work on the access store, whether or not `dod serve` runs."""
    return with_stores(lambda stores: work(stores.access), **places)


def tenant_of(name: str) -> Tenant:
    """The tenant `ORG/ENV` of an argument."""
    try:
        return parse_tenant(name)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="ORG/ENV") from None


def only_tenant(name: str | None) -> Tenant | None:
    """The tenant of `--tenant`; None: all tenants."""
    return None if name is None else tenant_of(name)


def warn(line: str) -> None:
    """Print a line on stderr, beside what a command has to say."""
    typer.echo(line, err=True)


def print_table(rows: list[tuple[str, ...]]) -> None:
    """Rows with their head, aligned."""
    from api.commands.access.tenants import columns

    typer.echo(columns(rows))


def read_file(file: Path) -> bytes:
    """The bytes of a file, or of stdin for `-`."""
    try:
        return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise StartupError(f"The file {file} cannot be read: {error.strerror}.") from None
