"""`dod retention hold`: what must not be deleted, whatever a policy or an erasure says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.options import TENANT_HELP, Config, DataDir, MongodbUri, print_table, tenant_of, with_stores

if TYPE_CHECKING:
    from store.stores import Stores

hold_app = typer.Typer(help="Holds: what must not be deleted.", no_args_is_help=True)
Reason = Annotated[str, typer.Option(help="Why, in a few words without anything of a patient.")]


@hold_app.command("add")
def hold_add(
    name: Annotated[str, typer.Argument(metavar="ORG/ENV", help=TENANT_HELP)],
    reason: Reason,
    patient: Annotated[str | None, typer.Option(help="`system|value`, or `Patient/id`.")] = None,
    report: Annotated[str | None, typer.Option(metavar="Type/id", help="One resource.")] = None,
    query: Annotated[str | None, typer.Option(metavar="Type?QUERY", help="All that match.")] = None,
    tenant: Annotated[bool, typer.Option("--tenant", help="All that the tenant has.")] = False,
    days: Annotated[int | None, typer.Option(min=1, max=36_500, help="Until it ends by itself.")] = None,
    absent: Annotated[
        bool, typer.Option("--absent", help="Also when nothing is stored yet that the hold names.")
    ] = False,
    base_url: Annotated[str | None, typer.Option(help="Public base of the service.")] = None,
    data_dir: DataDir = None,
    mongodb_uri: MongodbUri = None,
    config: Config = None,
) -> None:
    """Hold a patient, a resource, what a query finds, or a whole tenant; prints the id of the hold."""
    from api.commands.retention.holds import HoldRequest, place
    from api.settings.service import load_settings

    places = {"data_dir": data_dir, "mongodb_uri": mongodb_uri, "config": config}
    settings = load_settings(**places, base_url=base_url)
    request = HoldRequest(tenant_of(name), patient, report, query, tenant, reason, days, absent=absent)

    async def work(stores: Stores) -> str:
        return await place(stores, settings, request)

    typer.echo(with_stores(work, **places))


@hold_app.command("list")
def hold_list(
    tenant: Annotated[str | None, typer.Option("--tenant", metavar="ORG/ENV")] = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON, one a line.")] = False,
    every: Annotated[bool, typer.Option("--all", help="Those that have ended, too.")] = False,
    data_dir: DataDir = None,
    mongodb_uri: MongodbUri = None,
    config: Config = None,
) -> None:
    """Show the holds. What they name may be what a patient is known by: mind who looks on."""
    from api.commands.retention.holds import as_lines, listed, rows

    owner = None if tenant is None else tenant_of(tenant)

    async def work(stores: Stores) -> None:
        found = await listed(stores, tenant=owner, every=every)
        if not json:
            print_table(rows(found))
            return
        for line in as_lines(found):
            typer.echo(line)

    with_stores(work, data_dir=data_dir, mongodb_uri=mongodb_uri, config=config)


@hold_app.command("release")
def hold_release(
    hold: Annotated[str, typer.Argument(metavar="ID", help="As `dod retention hold list` shows it.")],
    reason: Reason,
    data_dir: DataDir = None,
    mongodb_uri: MongodbUri = None,
    config: Config = None,
) -> None:
    """End a hold: what it held goes by the policies again."""
    from api.commands.retention.holds import release

    async def work(stores: Stores) -> str:
        return await release(stores, hold, reason=reason)

    typer.echo(with_stores(work, data_dir=data_dir, mongodb_uri=mongodb_uri, config=config))
