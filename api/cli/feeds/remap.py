"""`dod remap`: kept HL7 v2 messages, mapped anew."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.options import TENANT_HELP, Config, DataDir, MongodbUri, tenant_of, with_stores

if TYPE_CHECKING:
    from store.stores import Stores


def remap(
    tenant: Annotated[str, typer.Option(metavar="ORG/ENV", help=TENANT_HELP)],
    source: Annotated[str | None, typer.Option(help="Messages of this source only.")] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Map again what an earlier run, which was stopped, has mapped.")
    ] = False,
    journal: Annotated[
        Path | None, typer.Option(help="What is mapped so far [remap.journal in DATA_DIR].")
    ] = None,
    base_url: Annotated[str | None, typer.Option(help="Public base of the service.")] = None,
    data_dir: DataDir = None,
    mongodb_uri: MongodbUri = None,
    config: Config = None,
) -> None:
    """Map kept HL7 v2 messages anew, after a profile or the release changed. Safe to repeat; one that was
    stopped goes on.

    The newest message of each report is mapped; what comes out as it is stored makes no new version. Exit
    code 1: a message is refused now.
    """
    from api.commands.feeds.remap import Request
    from api.commands.feeds.remap import remap as run_remap
    from api.settings.service import load_settings

    places = {"data_dir": data_dir, "mongodb_uri": mongodb_uri, "config": config}
    settings = load_settings(**places, base_url=base_url)
    request = Request(tenant_of(tenant), source, settings.base_url, fresh, journal)

    def warn(line: str) -> None:
        typer.echo(line, err=True)

    async def run(stores: Stores) -> int:
        return await run_remap(stores, settings, request, say=typer.echo, warn=warn)

    if code := with_stores(run, **places):
        raise typer.Exit(code)
