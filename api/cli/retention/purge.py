"""`dod purge`: one patient, or a whole tenant, deleted at once, with proof."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.options import TENANT_HELP, Config, DataDir, MongodbUri, tenant_of, with_stores

if TYPE_CHECKING:
    from store.stores import Stores

purge_app = typer.Typer(help="Delete a patient's data, or a tenant's, at once.", no_args_is_help=True)
TenantName = Annotated[str, typer.Argument(metavar="ORG/ENV", help=TENANT_HELP)]
PatientName = Annotated[
    str, typer.Argument(metavar="PATIENT", help="`system|value`, quoted; or `Patient/id`.")
]
Reason = Annotated[str, typer.Option(help="Why, in a few words without anything of a patient.")]


@purge_app.command("patient")
def purge_patient(
    name: TenantName,
    patient: PatientName,
    reason: Reason,
    every: Annotated[
        bool, typer.Option("--every", help="All Patients that carry the identifier, when they are several.")
    ] = False,
    absent: Annotated[
        bool, typer.Option("--absent", help="Also when nothing is stored: what comes later is refused.")
    ] = False,
    data_dir: DataDir = None,
    mongodb_uri: MongodbUri = None,
    config: Config = None,
) -> None:
    """Erase one patient: current and past data, files, dead letters. Exit 1 when something is held.

    Safe to repeat; broken off, the same command goes on where it was.
    """
    from api.commands.retention.purge import erase

    owner = tenant_of(name)

    async def work(stores: Stores) -> bool:
        return await erase(stores, owner, patient, reason=reason, every=every, absent=absent, say=typer.echo)

    if not with_stores(work, data_dir=data_dir, mongodb_uri=mongodb_uri, config=config):
        raise typer.Exit(1)


@purge_app.command("lift")
def purge_lift(
    name: TenantName,
    patient: PatientName,
    reason: Reason,
    data_dir: DataDir = None,
    mongodb_uri: MongodbUri = None,
    config: Config = None,
) -> None:
    """Let an erased patient's data come again. What was deleted stays deleted."""
    from api.commands.retention.purge import lift

    owner = tenant_of(name)

    async def work(stores: Stores) -> str:
        return await lift(stores, owner, patient, reason=reason)

    typer.echo(with_stores(work, data_dir=data_dir, mongodb_uri=mongodb_uri, config=config))


@purge_app.command("tenant")
def purge_tenant(
    name: TenantName,
    reason: Reason,
    yes: Annotated[str, typer.Option("--yes", metavar="ORG/ENV", help="The name again, to be sure.")] = "",
    data_dir: DataDir = None,
    mongodb_uri: MongodbUri = None,
    config: Config = None,
) -> None:
    """Close a tenant to its clients at once and delete all it has; its receipts stay.

    Safe to repeat; broken off, the same command goes on where it was.
    """
    from api.commands.retention.purge import close_tenant
    from api.settings.service import load_settings

    owner = tenant_of(name)
    if yes != name:
        said = f"name the tenant that is to be purged again, to be sure: `--yes {name}`"
        raise typer.BadParameter(said, param_hint="--yes")
    places = {"data_dir": data_dir, "mongodb_uri": mongodb_uri, "config": config}
    settings = load_settings(**places)
    # For so long a push goes on that was let in before: it may have looked at the tenant, then be written.
    remembered = max(settings.access_cache_seconds, settings.policy_cache_seconds)
    wait_seconds = remembered + settings.store_timeout_seconds

    async def work(stores: Stores) -> None:
        await close_tenant(stores, owner, reason=reason, wait_seconds=wait_seconds, say=typer.echo)

    with_stores(work, **places)
