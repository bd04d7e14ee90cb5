"""`dod subscription`: who is told of changes, and how that goes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from api.cli.options import Config, DataDir, MongodbUri, print_table, read_file, tenant_of, with_stores

if TYPE_CHECKING:
    from store.stores import Stores
    from store.tenancy import Tenant

subscription_app = typer.Typer(
    help="Subscriptions: who is told of changes, and how that goes.", no_args_is_help=True
)
Owner = Annotated[str, typer.Argument(metavar="ORG/ENV")]
Id = Annotated[str, typer.Argument(metavar="ID", help="As `dod subscription list` shows it.")]


@subscription_app.command("list")
def subscription_list(
    tenant: Annotated[
        str | None, typer.Option("--tenant", metavar="ORG/ENV", help="Of this tenant only.")
    ] = None,
    data_dir: DataDir = None,
    mongodb_uri: MongodbUri = None,
    config: Config = None,
) -> None:
    """Show all subscriptions: status, events that wait, failures, the next attempt."""
    owner = None if tenant is None else tenant_of(tenant)

    async def rows(stores: Stores) -> list[tuple[str, ...]]:
        from api.app import utc_now
        from api.commands.subscriptions import listed

        return await listed(stores, owner, utc_now())

    print_table(with_stores(rows, data_dir=data_dir, mongodb_uri=mongodb_uri, config=config))


@subscription_app.command("show")
def subscription_show(
    tenant: Owner,
    subscription_id: Id,
    data_dir: DataDir = None,
    mongodb_uri: MongodbUri = None,
    config: Config = None,
) -> None:
    """Show one subscription with the events that wait; no secret, and no value of its filters."""
    from api.commands.subscriptions import shown

    _tell(tenant, subscription_id, shown, "", data_dir=data_dir, mongodb_uri=mongodb_uri, config=config)


@subscription_app.command("pause")
def subscription_pause(
    tenant: Owner,
    subscription_id: Id,
    data_dir: DataDir = None,
    mongodb_uri: MongodbUri = None,
    config: Config = None,
) -> None:
    """Hold back its notifications. Events are counted all the same, and sent when it goes on."""
    from api.commands.subscriptions import paused

    _tell(
        tenant, subscription_id, paused, "paused", data_dir=data_dir, mongodb_uri=mongodb_uri, config=config
    )


@subscription_app.command("resume")
def subscription_resume(
    tenant: Owner,
    subscription_id: Id,
    data_dir: DataDir = None,
    mongodb_uri: MongodbUri = None,
    config: Config = None,
) -> None:
    """Go on with one that is paused, was given up or is off: its receiver is asked at once."""
    from functools import partial

    from api.app import utc_now
    from api.commands.subscriptions import resumed

    work = partial(resumed, now=utc_now())
    _tell(tenant, subscription_id, work, "resumed", data_dir=data_dir, mongodb_uri=mongodb_uri, config=config)


@subscription_app.command("replay")
def subscription_replay(
    tenant: Owner,
    subscription_id: Id,
    after: Annotated[int, typer.Option(min=0, help="Number of the last event that arrived.")],
    data_dir: DataDir = None,
    mongodb_uri: MongodbUri = None,
    config: Config = None,
) -> None:
    """Deliver events again, with the numbers that they had."""
    from functools import partial

    from api.commands.subscriptions import replayed

    work = partial(replayed, after=after)
    _tell(
        tenant, subscription_id, work, "replayed", data_dir=data_dir, mongodb_uri=mongodb_uri, config=config
    )


@subscription_app.command("delete")
def subscription_delete(
    tenant: Owner,
    subscription_id: Id,
    data_dir: DataDir = None,
    mongodb_uri: MongodbUri = None,
    config: Config = None,
) -> None:
    """Forget a subscription with its events."""
    from api.commands.subscriptions import deleted

    _tell(
        tenant, subscription_id, deleted, "deleted", data_dir=data_dir, mongodb_uri=mongodb_uri, config=config
    )


@subscription_app.command("secret")
def subscription_secret(
    tenant: Owner,
    subscription_id: Id,
    rotate: Annotated[bool, typer.Option("--rotate", help="Make another one.")] = False,
    overlap_hours: Annotated[
        float, typer.Option(min=0, max=720, help="How long the one before signs as well.")
    ] = 24,
    data_dir: DataDir = None,
    mongodb_uri: MongodbUri = None,
    config: Config = None,
) -> None:
    """Print the secret that signs its notifications, alone, on stdout."""
    from datetime import timedelta
    from functools import partial

    from api.app import utc_now
    from api.commands.subscriptions import secret

    overlap = timedelta(hours=overlap_hours) if rotate else None
    work = partial(secret, now=utc_now(), overlap=overlap)
    _tell(
        tenant,
        subscription_id,
        work,
        "secret rotated" if rotate else "secret shown",
        data_dir=data_dir,
        mongodb_uri=mongodb_uri,
        config=config,
    )


@subscription_app.command("notify")
def subscription_notify(
    tenant: Owner,
    to: Annotated[str, typer.Option("--to", metavar="URL", help="Where messages are posted.")],
    token_file: Annotated[
        Path,
        typer.Option("--token-file", help="File with the verification token that it knows."),
    ],
    detailed: Annotated[
        bool, typer.Option("--detailed", help="The resources too, not only who, when and which.")
    ] = False,
    base_url: Annotated[
        str | None, typer.Option("--base-url", help="Our public origin, for references [DOD_BASE_URL].")
    ] = None,
    data_dir: DataDir = None,
    mongodb_uri: MongodbUri = None,
    config: Config = None,
) -> None:
    """Send upstream's notifications of reports to a destination, once it has answered a challenge."""
    from api.app import utc_now
    from api.commands.subscriptions import Destination, note, notified
    from api.settings.service import load_settings
    from ingest.http.app_keys import base_under
    from ingest.http.forwarded import networks
    from store.audit.records import Deed

    places = {"data_dir": data_dir, "mongodb_uri": mongodb_uri, "config": config}
    settings, owner = load_settings(**places), tenant_of(tenant)
    origin = base_url or settings.base_url
    if origin is None:
        raise typer.BadParameter("references need our public origin", param_hint="--base-url")
    token = read_file(token_file).decode(errors="replace").strip()
    if not token or not token.isascii() or not token.isprintable():
        raise typer.BadParameter("the token is one line of ASCII", param_hint="--token-file")
    told = Destination(owner, to, token, base_under(origin.rstrip("/"), str(owner)), detailed)
    allowed = networks(settings.subscription_networks)

    async def work(stores: Stores) -> str:
        made = await notified(stores, told, now=utc_now(), allowed=allowed)
        await note(
            stores, owner, Deed.NOTIFICATIONS_SET, made, reason=urlsplit(to).hostname or "", now=utc_now()
        )
        return made

    typer.echo(with_stores(work, **places))


def _tell(
    tenant: str,
    subscription_id: str,
    work: Callable[[Stores, Tenant, str], Awaitable[str]],
    done: str,
    **places: Path | str | None,
) -> None:
    """Print what the work on one subscription says; `done` is what is put on record, if anything."""
    from api.app import utc_now
    from api.commands.subscriptions import note
    from store.audit.records import Deed

    owner = tenant_of(tenant)

    async def run(stores: Stores) -> str:
        said = await work(stores, owner, subscription_id)
        if done:
            deed = Deed.SUBSCRIPTION_CHANGED
            await note(stores, owner, deed, subscription_id, reason=done, now=utc_now())
        return said

    typer.echo(with_stores(run, **places))
