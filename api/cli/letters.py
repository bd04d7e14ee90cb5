"""`dod letters`: refused pushes, kept with reasons."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.options import Config, DataDir, MongodbUri, print_table, read_file, tenant_of, with_stores

if TYPE_CHECKING:
    from api.commands.letters import Selection
    from store.stores import Stores

letters_app = typer.Typer(help="Dead letters: refused pushes, kept with reasons.", no_args_is_help=True)

OneTenant = Annotated[str | None, typer.Option("--tenant", metavar="ORG/ENV", help="Of this tenant only.")]
Reason = Annotated[str | None, typer.Option(help="Only letters with this issue code among their reasons.")]
LetterIds = Annotated[list[str] | None, typer.Argument(metavar="[ID...]", show_default=False)]
EveryLetter = Annotated[bool, typer.Option("--all", help="All open letters.")]


@letters_app.command("list")
def letters_list(
    tenant: OneTenant = None,
    state: Annotated[str, typer.Option(help="open, replayed, discarded or all.")] = "open",
    reason: Reason = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Most letters of each tenant.")] = 100,
    data_dir: DataDir = None,
    mongodb_uri: MongodbUri = None,
    config: Config = None,
) -> None:
    """Show the letters, newest first, without anything of the payload."""
    from api.commands.letters import list_letters
    from store.dead_letters import State

    if state not in [*State, "all"]:
        raise typer.BadParameter(f"one of {', '.join(State)}, all", param_hint="--state")
    owner = None if tenant is None else tenant_of(tenant)
    wanted = None if state == "all" else State(state)

    async def work(stores: Stores) -> list[tuple[str, ...]]:
        return await list_letters(stores, tenant=owner, state=wanted, reason=reason, limit=limit)

    print_table(with_stores(work, data_dir=data_dir, mongodb_uri=mongodb_uri, config=config))


@letters_app.command("show")
def letters_show(
    letter: Annotated[str, typer.Argument(metavar="ID")],
    body: Annotated[bool, typer.Option("--body", help="The payload too; the letter notes it.")] = False,
    tenant: OneTenant = None,
    data_dir: DataDir = None,
    mongodb_uri: MongodbUri = None,
    config: Config = None,
) -> None:
    """Show all reasons of a letter and what was done with it."""
    from api.commands.letters import show

    owner = None if tenant is None else tenant_of(tenant)

    async def work(stores: Stores) -> str:
        return await show(stores, letter, tenant=owner, body=body)

    typer.echo(with_stores(work, data_dir=data_dir, mongodb_uri=mongodb_uri, config=config))


@letters_app.command("fix")
def letters_fix(
    letter: Annotated[str, typer.Argument(metavar="ID")],
    file: Annotated[Path, typer.Argument(help="The new body; `-` is stdin.")],
    tenant: OneTenant = None,
    data_dir: DataDir = None,
    mongodb_uri: MongodbUri = None,
    config: Config = None,
) -> None:
    """Replace the body of a letter."""
    from api.commands.letters import fix

    owner, content = None if tenant is None else tenant_of(tenant), read_file(file)

    async def work(stores: Stores) -> str:
        return await fix(stores, letter, content, tenant=owner)

    typer.echo(with_stores(work, data_dir=data_dir, mongodb_uri=mongodb_uri, config=config))


@letters_app.command("replay")
def letters_replay(
    letters: LetterIds = None,
    every: EveryLetter = False,
    reason: Reason = None,
    tenant: OneTenant = None,
    data_dir: DataDir = None,
    mongodb_uri: MongodbUri = None,
    config: Config = None,
) -> None:
    """Push letters again, as their senders did; exit 1 when one is refused again."""
    from api.commands.letters import replay
    from api.settings.service import load_settings

    selection = _selection(letters, every=every, reason=reason, tenant=tenant)
    places = {"data_dir": data_dir, "mongodb_uri": mongodb_uri, "config": config}
    settings = load_settings(**places)

    async def work(stores: Stores) -> int:
        return await replay(stores, settings, selection, say=typer.echo)

    if with_stores(work, **places):
        raise typer.Exit(1)


@letters_app.command("discard")
def letters_discard(
    letters: LetterIds = None,
    every: EveryLetter = False,
    reason: Reason = None,
    tenant: OneTenant = None,
    data_dir: DataDir = None,
    mongodb_uri: MongodbUri = None,
    config: Config = None,
) -> None:
    """Forget the payload of letters; a record without it stays until it is too old."""
    from api.commands.letters import discard

    selection = _selection(letters, every=every, reason=reason, tenant=tenant)

    async def work(stores: Stores) -> list[str]:
        return await discard(stores, selection)

    for line in with_stores(work, data_dir=data_dir, mongodb_uri=mongodb_uri, config=config):
        typer.echo(line)


def _selection(
    letters: list[str] | None, *, every: bool, reason: str | None, tenant: str | None
) -> Selection:
    """The letters that are meant. Refuses ids together with a filter, and neither of the two."""
    from api.commands.letters import Selection

    if bool(letters) == (every or reason is not None):
        raise typer.BadParameter("name letters, or give `--all` or `--reason`", param_hint="ID")
    owner = None if tenant is None else tenant_of(tenant)
    return Selection(tuple(letters or ()), owner, every, reason)
