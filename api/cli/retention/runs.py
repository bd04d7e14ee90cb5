"""`dod retention`: what is deleted, by hand or to look at; policies and holds have modules of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.options import Config, DataDir, MongodbUri, tenant_of, with_stores

if TYPE_CHECKING:
    from store.stores import Stores

retention_app = typer.Typer(help="How long data stays, and what must not go.", no_args_is_help=True)
OneTenant = Annotated[str | None, typer.Option("--tenant", metavar="ORG/ENV", help="Of this tenant only.")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]


@retention_app.command("plan")
def plan(
    tenant: OneTenant = None,
    json: AsJson = False,
    data_dir: DataDir = None,
    mongodb_uri: MongodbUri = None,
    config: Config = None,
) -> None:
    """Count what the next run will delete, by tenant, type, reason and month of receipt. Deletes nothing."""
    from api.commands.retention.runs import plan as make_plan

    owner = None if tenant is None else tenant_of(tenant)

    async def work(stores: Stores) -> None:
        await make_plan(stores, tenant=owner, json=json, say=typer.echo)

    with_stores(work, data_dir=data_dir, mongodb_uri=mongodb_uri, config=config)


@retention_app.command("run")
def run(
    tenant: OneTenant = None,
    wait: Annotated[bool, typer.Option("--wait", help="Until whoever sweeps now has ended.")] = False,
    json: AsJson = False,
    data_dir: DataDir = None,
    mongodb_uri: MongodbUri = None,
    config: Config = None,
) -> None:
    """Delete what has expired, now: the same as the service does every hour. Safe to stop and to repeat."""
    from api.commands.retention.runs import run as run_sweep
    from api.settings.service import load_settings

    owner = None if tenant is None else tenant_of(tenant)
    places = {"data_dir": data_dir, "mongodb_uri": mongodb_uri, "config": config}
    settings = load_settings(**places)

    async def work(stores: Stores) -> None:
        await run_sweep(stores, settings, tenant=owner, wait=wait, json=json, say=typer.echo)

    with_stores(work, **places)


@retention_app.command("receipts")
def receipts(
    tenant: OneTenant = None,
    last: Annotated[int | None, typer.Option(min=1, help="So many of the newest only.")] = None,
    json: AsJson = False,
    data_dir: DataDir = None,
    mongodb_uri: MongodbUri = None,
    config: Config = None,
) -> None:
    """Show what was deleted so far: one receipt for each run."""
    from api.commands.retention.runs import show_receipts

    owner = None if tenant is None else tenant_of(tenant)

    async def work(stores: Stores) -> None:
        await show_receipts(stores, tenant=owner, newest=last, json=json, say=typer.echo)

    with_stores(work, data_dir=data_dir, mongodb_uri=mongodb_uri, config=config)


@retention_app.command("verify")
def verify(data_dir: DataDir = None, mongodb_uri: MongodbUri = None, config: Config = None) -> None:
    """Check that no receipt was changed or taken out; prints the newest hash, to be kept elsewhere."""
    from api.commands.retention.runs import verify as verify_receipts

    async def work(stores: Stores) -> bool:
        return await verify_receipts(stores, say=typer.echo)

    if not with_stores(work, data_dir=data_dir, mongodb_uri=mongodb_uri, config=config):
        raise typer.Exit(1)


@retention_app.command("compact")
def compact(data_dir: DataDir = None, mongodb_uri: MongodbUri = None, config: Config = None) -> None:
    """Give the disk back that deleted data took, on the member of the replica set that this reaches."""
    from api.commands.retention.runs import compact as compact_all

    async def work(stores: Stores) -> None:
        await compact_all(stores, say=typer.echo)

    with_stores(work, data_dir=data_dir, mongodb_uri=mongodb_uri, config=config)
