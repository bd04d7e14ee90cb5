"""`dod audit`: who looked at whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from api.cli.options import TENANT_HELP, Config, DataDir, MongodbUri, print_table, tenant_of, with_stores

if TYPE_CHECKING:
    from store.stores import Stores

SHOWN: Final = 100
"""Records of a table, unless more are asked for."""


def audit(
    tenant: Annotated[str, typer.Argument(metavar="ORG/ENV", help=TENANT_HELP)],
    patient: Annotated[str | None, typer.Option(help="`system|value`, or `Patient/id`.")] = None,
    client: Annotated[str | None, typer.Option(help="A client, or a user at the terminal.")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="DATE", help="Records of that moment and later.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="DATE", help="Records before that moment.")] = None,
    did: Annotated[str | None, typer.Option(help="Such as `search`, `read`, `hold placed`.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Records at most [100 of a table].")] = None,
    json: Annotated[bool, typer.Option("--json", help="Records as JSON, one a line.")] = False,
    ndjson: Annotated[bool, typer.Option("--ndjson", help="FHIR AuditEvents, one a line.")] = False,
    data_dir: DataDir = None,
    mongodb_uri: MongodbUri = None,
    config: Config = None,
) -> None:
    """Show who did what with whose data, the newest first. It tells of patients: mind who looks on."""
    from api.commands.audit import AuditRequest, as_event, as_line, records, rows
    from api.settings.service import load_settings

    places = {"data_dir": data_dir, "mongodb_uri": mongodb_uri, "config": config}
    settings = load_settings(**places)
    most = limit if limit is not None or json or ndjson else SHOWN
    request = AuditRequest(tenant_of(tenant), patient, client, since, until, did, most)

    async def show(stores: Stores) -> None:
        found = []
        async for record in records(stores, request):
            if ndjson:
                typer.echo(as_event(record, settings))
            elif json:
                typer.echo(as_line(record))
            else:
                found.append(record)
        if not (json or ndjson):
            print_table(rows(found))

    with_stores(show, **places)
