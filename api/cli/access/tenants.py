"""`dod tenant`: tenants, and the tokens that upstream verifies with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.options import (
    TENANT_HELP,
    Config,
    DataDir,
    MongodbUri,
    print_table,
    read_file,
    tenant_of,
    with_access,
    with_stores,
)
from store.tenancy import Handling, SearchScope

if TYPE_CHECKING:
    from store.access import AccessStore
    from store.stores import Stores

tenant_app = typer.Typer(help="Tenants: whose data.", no_args_is_help=True)


@tenant_app.command("create")
def tenant_create(
    names: Annotated[list[str], typer.Argument(metavar="ORG/ENV...", help=TENANT_HELP)],
    search_scope: Annotated[
        SearchScope | None, typer.Option(help="`patient`: searches are bounded by a patient [patient].")
    ] = None,
    handling: Annotated[
        Handling | None,
        typer.Option(help="`strict`: refuse pushes that deviate from R4 [as `DOD_VALIDATION` says]."),
    ] = None,
    retain_days: Annotated[
        int | None,
        typer.Option(min=1, max=36_500, help="Forget what is pushed after so many days [kept without end]."),
    ] = None,
    stable_source: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ENDPOINT",
            help="A source (`MessageHeader.source.endpoint`) that never uses an id again for another thing:"
            " references to what it sent before are found. May be repeated; an empty one takes all back.",
        ),
    ] = None,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN",
            help="Pages of this origin (`https://app.example`, `*`) may ask in browsers, in place of those of"
            " DOD_CORS_ORIGINS. May be repeated; an empty one takes all back.",
        ),
    ] = None,
    data_dir: DataDir = None,
    mongodb_uri: MongodbUri = None,
    config: Config = None,
) -> None:
    """Make tenants, or change what is given. Safe to repeat."""
    tenants = [tenant_of(name) for name in names]

    async def create(stores: Stores) -> list[str]:
        from api.app import utc_now
        from api.commands.access.tenants import create_tenant

        return [
            await create_tenant(
                stores.access,
                tenant,
                policies=stores.policies,
                now=utc_now(),
                search_scope=search_scope,
                handling=handling,
                retain_days=retain_days,
                stable_sources=stable_source or (),
                cors_origins=cors_origin or (),
            )
            for tenant in tenants
        ]

    for done in with_stores(create, data_dir=data_dir, mongodb_uri=mongodb_uri, config=config):
        typer.echo(done)


@tenant_app.command("list")
def tenant_list(data_dir: DataDir = None, mongodb_uri: MongodbUri = None, config: Config = None) -> None:
    """Show all tenants."""

    async def rows(stores: Stores) -> list[tuple[str, ...]]:
        from api.commands.access.tenants import tenant_rows

        return await tenant_rows(stores.access, stores.policies)

    print_table(with_stores(rows, data_dir=data_dir, mongodb_uri=mongodb_uri, config=config))


@tenant_app.command("verification")
def tenant_verification(
    name: Annotated[str, typer.Argument(metavar="ORG/ENV", help=TENANT_HELP)],
    action: Annotated[str, typer.Argument(metavar="set|rotate|show-state|remove")],
    token_file: Annotated[
        Path | None, typer.Option(help="Holds the token; `-` is stdin. Without: a new one is made.")
    ] = None,
    overlap_hours: Annotated[
        float, typer.Option(min=0, max=720, help="How long `rotate` leaves the one before valid.")
    ] = 24,
    data_dir: DataDir = None,
    mongodb_uri: MongodbUri = None,
    config: Config = None,
) -> None:
    """The token that upstream verifies with and pushes with. One that is made here is printed once."""
    from datetime import timedelta

    from api.app import utc_now
    from api.commands.access.verification import Action, put_token, remove_tokens, state_rows

    tenant = tenant_of(name)
    if action not in list(Action):
        raise typer.BadParameter(f"one of {', '.join(Action)}", param_hint="ACTION")
    given = None if token_file is None else read_file(token_file).decode(errors="replace").strip()
    overlap = timedelta(hours=overlap_hours) if action == Action.ROTATE else None

    async def work(access: AccessStore) -> str:
        if action == Action.SHOW_STATE:
            from api.commands.access.tenants import columns

            return columns(await state_rows(access, tenant, now=utc_now()))
        if action == Action.REMOVE:
            return await remove_tokens(access, tenant)
        token = await put_token(access, tenant, given=given, now=utc_now(), overlap=overlap)
        return token if given is None else f"{tenant}: the verification token was taken"

    typer.echo(with_access(work, data_dir=data_dir, mongodb_uri=mongodb_uri, config=config))
