"""`dod verify-data`: everything that is stored, compared with what it says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.options import (
    Config,
    DataDir,
    MongodbUri,
    OnlyTenant,
    PushedUnder,
    only_tenant,
    warn,
    with_stores,
)

if TYPE_CHECKING:
    from store.stores import Stores

VERIFY_BATCH = 200
"""Resources read in one step."""


def verify_data(
    tenant: OnlyTenant = None,
    progress: Annotated[
        Path | None,
        typer.Option(help="File that keeps how far it has come."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    batch: Annotated[int, typer.Option(min=1, max=10_000, help="Resources read in one step.")] = VERIFY_BATCH,
    base_url: PushedUnder = None,
    data_dir: DataDir = None,
    mongodb_uri: MongodbUri = None,
    config: Config = None,
) -> None:
    """Compare stored bytes with digests and indexes, files with their hashes; a fingerprint per tenant."""
    from api.commands.verify_data import verify_tenants
    from api.settings.service import load_settings

    places = {"data_dir": data_dir, "mongodb_uri": mongodb_uri, "config": config}
    origin = load_settings(**places, base_url=base_url).base_url
    only = only_tenant(tenant)

    async def run(stores: Stores) -> int:
        return await verify_tenants(
            stores,
            tenant=only,
            origin=origin,
            batch=batch,
            progress=progress,
            as_json=as_json,
            say=typer.echo,
            warn=warn,
        )

    if with_stores(run, **places):
        raise typer.Exit(1)
