"""`dod retention set` and `show`: the policy of a tenant."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.options import TENANT_HELP, Config, DataDir, MongodbUri, read_file, tenant_of, with_stores

if TYPE_CHECKING:
    from store.stores import Stores

policy_app = typer.Typer()


@policy_app.command("set")
def set_policy(
    name: Annotated[str, typer.Argument(metavar="ORG/ENV", help=TENANT_HELP)],
    file: Annotated[
        Path | None, typer.Option("--file", help="A policy in TOML; `-` is stdin. `show` prints one.")
    ] = None,
    keep_days: Annotated[int | None, typer.Option(help="Of all that no rule fits [without end].")] = None,
    counted_from: Annotated[
        str | None, typer.Option(help="received, issued or effective [received].")
    ] = None,
    superseded_days: Annotated[int | None, typer.Option(help="Of versions that were replaced.")] = None,
    dead_letter_days: Annotated[int | None, typer.Option(help="Of refused pushes.")] = None,
    audit_days: Annotated[int | None, typer.Option(help="Of audit records.")] = None,
    page_token_days: Annotated[int | None, typer.Option(help="Of page links.")] = None,
    idempotency_days: Annotated[int | None, typer.Option(help="Of answers to repeated pushes.")] = None,
    erasure_days: Annotated[int | None, typer.Option(help="How long what was erased stays out.")] = None,
    rule: Annotated[
        list[str] | None,
        typer.Option(help="Such as `type=DiagnosticReport,category=LAB,keep_days=30,counted_from=issued`."),
    ] = None,
    data_dir: DataDir = None,
    mongodb_uri: MongodbUri = None,
    config: Config = None,
) -> None:
    """Set how long a tenant's data stays. The whole policy at once: what is not said stays without end."""
    from api.app import utc_now
    from api.commands.retention.policies import put_policy, read_policy

    owner = tenant_of(name)
    options = {
        "keep_days": keep_days,
        "counted_from": counted_from,
        "superseded_days": superseded_days,
        "dead_letter_days": dead_letter_days,
        "audit_days": audit_days,
        "page_token_days": page_token_days,
        "idempotency_days": idempotency_days,
        "erasure_days": erasure_days,
    }
    policy = read_policy(
        None if file is None else read_file(file).decode(errors="replace"), options, rule or []
    )

    async def work(stores: Stores) -> str:
        return await put_policy(stores, owner, policy, now=utc_now())

    typer.echo(with_stores(work, data_dir=data_dir, mongodb_uri=mongodb_uri, config=config))


@policy_app.command("show")
def show(
    name: Annotated[str, typer.Argument(metavar="ORG/ENV", help=TENANT_HELP)],
    every: Annotated[bool, typer.Option("--all", help="All versions, the newest first.")] = False,
    data_dir: DataDir = None,
    mongodb_uri: MongodbUri = None,
    config: Config = None,
) -> None:
    """Show the policy of a tenant, as a file that sets it again."""
    from api.commands.retention.policies import shown_policy

    owner = tenant_of(name)

    async def work(stores: Stores) -> str:
        return await shown_policy(stores.access, stores.policies, owner, every=every)

    typer.echo(with_stores(work, data_dir=data_dir, mongodb_uri=mongodb_uri, config=config))
