"""`dod apply`: tenants, policies and clients as a file declares them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.options import Config, DataDir, MongodbUri, read_file, with_stores

if TYPE_CHECKING:
    from store.stores import Stores


def apply(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Tenants and clients in TOML; `-` is stdin.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be changed.")] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Disable clients that the file does not name.")
    ] = False,
    data_dir: DataDir = None,
    mongodb_uri: MongodbUri = None,
    config: Config = None,
) -> None:
    """Make tenants, policies and clients what a file declares. Safe to repeat."""
    from api.app import utc_now
    from api.commands.apply import carry_out, plan, read
    from api.settings.service import load_settings
    from ingest.http.forwarded import networks

    places = {"data_dir": data_dir, "mongodb_uri": mongodb_uri, "config": config}
    allowed = networks(load_settings(**places).jwks_networks)
    text = read_file(file).decode(errors="replace")
    wanted = read(text, Path() if str(file) == "-" else file.parent, allowed=allowed)

    async def work(stores: Stores) -> None:
        steps = await plan(stores, wanted, now=utc_now(), prune=prune)
        await carry_out(steps, typer.echo, dry_run=dry_run)

    with_stores(work, **places)
