"""`dod export`: stored resources as NDJSON, for questions that searches cannot answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from api.cli.options import TENANT_HELP, Config, DataDir, MongodbUri, tenant_of, with_stores

if TYPE_CHECKING:
    from store.stores import Stores


SHAPING: Final = ("_include", "_revinclude", "_sort", "_count", "_total", "_summary", "_elements")


def export(
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET",
            help="A new folder, a file `….ndjson`, `….ndjson.gz` or `….zip` (with documents), or `-`.",
        ),
    ],
    tenant: Annotated[str, typer.Option(metavar="ORG/ENV", help=TENANT_HELP)],
    query: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME=VALUE&...]...", help="A search, quoted, that each one must match."),
    ] = None,
    type: Annotated[
        list[str] | None, typer.Option(help="Resource type; may be given several times [all].")
    ] = None,
    since: Annotated[str | None, typer.Option(metavar="DATE", help="What was stored since then.")] = None,
    patient: Annotated[
        str | None, typer.Option(help="`system|value` or `Patient/id`: them, and what is about them.")
    ] = None,
    ndjson: Annotated[  # noqa: ARG001 -- said for clarity: there is one format
        bool, typer.Option("--ndjson", help="One resource a line; the only format there is.")
    ] = True,
    gzip: Annotated[bool, typer.Option("--gzip", help="Compress the files of a folder.")] = False,
    data_dir: DataDir = None,
    mongodb_uri: MongodbUri = None,
    config: Config = None,
) -> None:
    """Write stored resources as NDJSON, a file for each type. They tell of patients: mind the place."""
    from api.app import utc_now
    from api.commands.files.export import ExportRequest
    from api.commands.files.export import export as run_export
    from api.commands.search import read_query
    from api.settings.service import load_settings

    try:
        pairs = read_query(query) if query else []
        pairs += read_query([f"_lastUpdated=ge{since}"]) if since else []
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="NAME=VALUE") from None
    shaping = [name for name, _ in pairs if name.startswith(SHAPING)]
    if shaping:
        raise typer.BadParameter(f"`{shaping[0]}` selects nothing here", param_hint="NAME=VALUE")
    places = {"data_dir": data_dir, "mongodb_uri": mongodb_uri, "config": config}
    settings = load_settings(**places)
    request = ExportRequest(tenant_of(tenant), target, tuple(type or ()), tuple(pairs), patient, gzip)

    def warn(line: str) -> None:
        typer.echo(line, err=True)

    async def run(stores: Stores) -> None:
        await run_export(stores, settings, request, now=utc_now(), warn=warn)

    with_stores(run, **places)
