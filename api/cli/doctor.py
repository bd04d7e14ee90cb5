"""`dod doctor`: all that is wrong, at once."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from api.cli.options import Config, DataDir, MongodbUri, print_table


def doctor(
    json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    data_dir: DataDir = None,
    mongodb_uri: MongodbUri = None,
    config: Config = None,
) -> None:
    """Say all that keeps the service from starting or being ready; exit code 1 when something does."""
    from api.commands.doctor import as_json, examine, is_wrong, table

    findings = asyncio.run(examine(data_dir=data_dir, mongodb_uri=mongodb_uri, config=config))
    if json:
        typer.echo(as_json(findings))
    else:
        print_table(table(findings))
    if is_wrong(findings):
        raise typer.Exit(1)
