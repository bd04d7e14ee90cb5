"""`dod search`: the search of a client, from the terminal."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.options import TENANT_HELP, Config, DataDir, MongodbUri, tenant_of, with_stores

if TYPE_CHECKING:
    from store.stores import Stores


def search(
    tenant: Annotated[str, typer.Option(metavar="ORG/ENV", help=TENANT_HELP)],
    query: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME=VALUE&...]...", help="Quoted; `%26` is an ampersand in a value."),
    ] = None,
    type: Annotated[str, typer.Option(help="Resource type.")] = "DiagnosticReport",
    json: Annotated[bool, typer.Option("--json", help="The searchset, as the service would answer.")] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="How it is answered, instead of the answer; with --json both.")
    ] = False,
    all_pages: Annotated[bool, typer.Option("--all", help="All pages; with --json one per line.")] = False,
    count: Annotated[int | None, typer.Option(min=0, help="Matches on a page [50].")] = None,
    data_dir: DataDir = None,
    mongodb_uri: MongodbUri = None,
    config: Config = None,
) -> None:
    """Search as a client would, and show date, code, status, patient and id of what matches."""
    from api.app import utc_now
    from api.commands.search import SearchRequest, read_query
    from api.commands.search import search as run_search
    from api.settings.service import load_settings

    if explain and all_pages:
        raise typer.BadParameter("explains one page, so it goes without `--all`", param_hint="--explain")
    try:
        pairs = read_query(query or (), count=count)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="NAME=VALUE") from None
    places = {"data_dir": data_dir, "mongodb_uri": mongodb_uri, "config": config}
    request = SearchRequest(tenant_of(tenant), type, pairs, json, explain, all_pages, _width())
    settings = load_settings(**places)

    async def run(stores: Stores) -> None:
        await run_search(stores, settings, request, now=utc_now(), say=typer.echo)

    with_stores(run, **places)


def _width() -> int | None:
    """Columns of the terminal; None when the output goes elsewhere and nothing need be cut."""
    if sys.stdout.isatty() or "COLUMNS" in os.environ:
        return shutil.get_terminal_size().columns
    return None
