"""`dod load`: the push of files."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from api.cli.options import TENANT_HELP, Config, DataDir, MongodbUri, on_record, tenant_of


class LoadMode(StrEnum):
    """Consideration of `dod load` for others."""

    NORMAL = "normal"
    BACKFILL = "backfill"


def load(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH...", exists=True, help="Files or folders: JSON, NDJSON, .hl7, .gz, .zip."
        ),
    ],
    tenant: Annotated[str, typer.Option(metavar="ORG/ENV", help=TENANT_HELP)],
    concurrency: Annotated[
        int | None,
        typer.Option(min=1, max=1000, help="Bodies under way at once [64; backfill 8], for each worker."),
    ] = None,
    workers: Annotated[
        str, typer.Option(metavar="N|auto", help="Processes that push; auto: all processors.")
    ] = "1",
    mode: Annotated[LoadMode, typer.Option(help="`backfill` steps aside for live pushes.")] = LoadMode.NORMAL,
    notify: Annotated[
        bool | None,
        typer.Option("--notify/--no-notify", help="Tell subscribers of new resources [backfill: no]."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be refused.")] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Load again what the journal says is stored.")
    ] = False,
    journal: Annotated[
        Path | None, typer.Option(help="What is stored so far [load.journal in DATA_DIR].")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write each refusal here, as JSON lines.")] = None,
    base_url: Annotated[str | None, typer.Option(help="Public base of the service.")] = None,
    data_dir: DataDir = None,
    mongodb_uri: MongodbUri = None,
    config: Config = None,
) -> None:
    """Push files, whether or not the service runs. Started again after a kill it goes on where it was."""
    from api.commands.files.load import LoadRequest, load_files
    from api.database import database, stores_at
    from api.settings.service import load_settings
    from api.workers.order import count_of

    places = {"data_dir": data_dir, "mongodb_uri": mongodb_uri, "config": config}
    told = False if notify is None and mode is LoadMode.BACKFILL else notify
    options = {"workers": workers, "base_url": base_url, "subscription_notify": told, **places}
    settings = load_settings(**options)
    request = LoadRequest(
        paths,
        tenant_of(tenant),
        concurrency,
        mode.value,
        dry_run=dry_run,
        fresh=fresh,
        journal=journal,
        report=report,
        origin=settings.base_url,
        workers=count_of(settings),
        options={name: value for name, value in options.items() if value is not None},
    )

    def warn(line: str) -> None:
        typer.echo(line, err=True)

    async def run() -> int:
        async with (
            database(settings, role="command") as mongodb,
            stores_at(mongodb.uri, settings) as stores,
        ):
            order = replace(request, uri=mongodb.uri)
            return await load_files(on_record(stores), settings, order, say=typer.echo, warn=warn)

    if code := asyncio.run(run()):
        raise typer.Exit(code)
