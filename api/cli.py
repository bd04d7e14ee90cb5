"""The `dod` command. Each command says what it needs, calls one thing and prints what came of it.

Exit codes: 0 done, 1 refused with a sentence for each reason on stderr, 2 the command itself was misused.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from collections.abc import Awaitable, Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NoReturn, TypeVar

import typer

from api.hold_cli import hold_app
from api.options import (
    TENANT_HELP,
    Config,
    DataDir,
    MongodbUri,
    print_table,
    read_file,
    tenant_of,
    with_stores,
)
from api.policy_cli import policy_app
from api.purge_cli import purge_app
from api.retention_cli import retention_app
from store.errors import ServiceError, StartupError
from store.tenancy import SearchScope, Tenant

if TYPE_CHECKING:
    from store.access import AccessStore
    from store.mongo.stores import Stores

T = TypeVar("T")

app = typer.Typer(
    help="Data on demand: accepts pushed FHIR DiagnosticReports, answers searches for them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
tenant_app = typer.Typer(help="Tenants: whose data.", no_args_is_help=True)
token_app = typer.Typer(help="Bearer tokens: who may do what for which tenants.", no_args_is_help=True)
letters_app = typer.Typer(help="Dead letters: refused pushes, kept with reasons.", no_args_is_help=True)
app.add_typer(tenant_app, name="tenant")
app.add_typer(token_app, name="token")
retention_app.add_typer(policy_app)
retention_app.add_typer(hold_app, name="hold")
app.add_typer(letters_app, name="letters")
app.add_typer(retention_app, name="retention")
app.add_typer(purge_app, name="purge")

Port = Annotated[int | None, typer.Option(help="Port of the FHIR endpoint [8080]; 0 takes a free one.")]
AdminPort = Annotated[int | None, typer.Option(help="Port of /livez, /readyz, /metrics [9090].")]
Host = Annotated[str | None, typer.Option(help="Address to listen on [127.0.0.1].")]
OneTenant = Annotated[str | None, typer.Option("--tenant", metavar="ORG/ENV", help="Of this tenant only.")]
Reason = Annotated[str | None, typer.Option(help="Only letters with this issue code among their reasons.")]
LetterIds = Annotated[list[str] | None, typer.Argument(metavar="[ID...]", show_default=False)]
EveryLetter = Annotated[bool, typer.Option("--all", help="All open letters.")]
REINDEX_BATCH: Final = 500
"""Resources looked at in one step of `dod reindex`: one deadline of the store, about 32 MB in memory."""
CLIENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._@-]{0,63}")
DIGEST_PREFIX: Final = re.compile(r"[0-9a-f]{8,64}")


class LoadMode(StrEnum):
    """How `dod load` gets on with others."""

    NORMAL = "normal"
    BACKFILL = "backfill"


def main() -> NoReturn:
    """Run the command line."""
    try:
        app()
    except StartupError as error:
        _end(str(error))
    except ServiceError as error:
        _end("\n".join(issue.text for issue in error.issues) or f"The store failed: {error.category}.")
    sys.exit(0)


@app.command()
def serve(
    host: Host = None,
    port: Port = None,
    admin_host: Annotated[str | None, typer.Option(help="Address of the admin endpoint.")] = None,
    admin_port: AdminPort = None,
    role: Annotated[str | None, typer.Option(help="all, query, ingest or jobs [all].")] = None,
    base_url: Annotated[str | None, typer.Option(help="Public base for links.")] = None,
    mongod: Annotated[Path | None, typer.Option(help="The mongod binary to embed.")] = None,
    data_dir: DataDir = None,
    mongodb_uri: MongodbUri = None,
    config: Config = None,
) -> None:
    """Run the service until SIGTERM or Ctrl-C."""
    from api.serve import serve as run_service
    from api.settings import load_settings

    settings = load_settings(
        host=host,
        port=port,
        admin_host=admin_host,
        admin_port=admin_port,
        role=role,
        base_url=base_url,
        mongod=mongod,
        data_dir=data_dir,
        mongodb_uri=mongodb_uri,
        config=config,
    )
    asyncio.run(run_service(settings))


@tenant_app.command("create")
def tenant_create(
    names: Annotated[list[str], typer.Argument(metavar="ORG/ENV...", help=TENANT_HELP)],
    search_scope: Annotated[
        SearchScope | None, typer.Option(help="`patient`: searches are bounded by a patient [patient].")
    ] = None,
    retain_days: Annotated[
        int | None,
        typer.Option(min=1, max=36_500, help="Forget what is pushed after so many days [kept without end]."),
    ] = None,
    data_dir: DataDir = None,
    mongodb_uri: MongodbUri = None,
    config: Config = None,
) -> None:
    """Make tenants, or change what is given. Safe to repeat."""
    tenants = [tenant_of(name) for name in names]

    async def create(stores: Stores) -> list[str]:
        from api.access_commands import create_tenant
        from api.app import utc_now

        return [
            await create_tenant(
                stores.access,
                tenant,
                policies=stores.policies,
                now=utc_now(),
                search_scope=search_scope,
                retain_days=retain_days,
            )
            for tenant in tenants
        ]

    for done in with_stores(create, data_dir=data_dir, mongodb_uri=mongodb_uri, config=config):
        typer.echo(done)


@tenant_app.command("list")
def tenant_list(data_dir: DataDir = None, mongodb_uri: MongodbUri = None, config: Config = None) -> None:
    """Show all tenants."""

    async def rows(stores: Stores) -> list[tuple[str, ...]]:
        from api.access_commands import tenant_rows

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
    from api.verification_command import Action, put_token, remove_tokens, state_rows

    tenant = tenant_of(name)
    if action not in list(Action):
        raise typer.BadParameter(f"one of {', '.join(Action)}", param_hint="ACTION")
    given = None if token_file is None else read_file(token_file).decode(errors="replace").strip()
    overlap = timedelta(hours=overlap_hours) if action == Action.ROTATE else None

    async def work(access: AccessStore) -> str:
        if action == Action.SHOW_STATE:
            from api.access_commands import columns

            return columns(await state_rows(access, tenant, now=utc_now()))
        if action == Action.REMOVE:
            return await remove_tokens(access, tenant)
        token = await put_token(access, tenant, given=given, now=utc_now(), overlap=overlap)
        return token if given is None else f"{tenant}: the verification token was taken"

    typer.echo(_with_access(work, data_dir=data_dir, mongodb_uri=mongodb_uri, config=config))


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
    from api.letters_command import list_letters
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
    from api.letters_command import show

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
    from api.letters_command import fix

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
    from api.letters_command import replay
    from api.settings import load_settings

    owner = _one_choice(letters, every=every, reason=reason, tenant=tenant)
    places = {"data_dir": data_dir, "mongodb_uri": mongodb_uri, "config": config}
    settings = load_settings(**places)

    async def work(stores: Stores) -> int:
        return await replay(
            stores, settings, letters or (), tenant=owner, every=every, reason=reason, say=typer.echo
        )

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
    from api.letters_command import discard

    owner = _one_choice(letters, every=every, reason=reason, tenant=tenant)

    async def work(stores: Stores) -> list[str]:
        return await discard(stores, letters or (), tenant=owner, every=every, reason=reason)

    for line in with_stores(work, data_dir=data_dir, mongodb_uri=mongodb_uri, config=config):
        typer.echo(line)


@token_app.command("issue")
def token_issue(
    tenant: Annotated[list[str], typer.Option(metavar="ORG/ENV", help="May be given several times.")],
    scope: Annotated[list[str], typer.Option(help="Such as `system/*.cruds`; may be given several times.")],
    days: Annotated[int | None, typer.Option(min=1, max=3650, help="Until it expires [30].")] = None,
    client: Annotated[str, typer.Option(help="A name for people and logs.")] = "client",
    data_dir: DataDir = None,
    mongodb_uri: MongodbUri = None,
    config: Config = None,
) -> None:
    """Print a new bearer token, alone, on stdout. It cannot be shown again."""
    from api.access_commands import issue_token
    from api.app import utc_now
    from api.settings import load_settings

    tenants = [tenant_of(name) for name in tenant]
    _check_scopes(scope)
    if not CLIENT.fullmatch(client):
        raise typer.BadParameter("1 to 64 letters, digits, blanks or `._@-`", param_hint="--client")
    places = {"data_dir": data_dir, "mongodb_uri": mongodb_uri, "config": config}
    lasting = days or load_settings(**places).token_days_default

    async def issue(access: AccessStore) -> str:
        return await issue_token(
            access, client=client, tenants=tenants, scopes=scope, now=utc_now(), days=lasting
        )

    typer.echo(_with_access(issue, **places))


@token_app.command("list")
def token_list(data_dir: DataDir = None, mongodb_uri: MongodbUri = None, config: Config = None) -> None:
    """Show all tokens by the start of their digest; there is nothing secret in it."""

    async def rows(access: AccessStore) -> list[tuple[str, ...]]:
        from api.access_commands import grant_rows
        from api.app import utc_now

        return grant_rows(await access.grants(), now=utc_now())

    print_table(_with_access(rows, data_dir=data_dir, mongodb_uri=mongodb_uri, config=config))


@token_app.command("revoke")
def token_revoke(
    prefix: Annotated[str, typer.Argument(help="Start of the digest, as `dod token list` shows it.")],
    data_dir: DataDir = None,
    mongodb_uri: MongodbUri = None,
    config: Config = None,
) -> None:
    """Make a token worthless; services notice within `DOD_ACCESS_CACHE_SECONDS`."""
    if not DIGEST_PREFIX.fullmatch(prefix):
        raise typer.BadParameter("8 to 64 hexadecimal digits of a digest", param_hint="PREFIX")

    async def revoke(access: AccessStore) -> str:
        from api.access_commands import revoke_token

        grant = await revoke_token(access, prefix)
        return f"revoked the token of {grant.client}"

    typer.echo(_with_access(revoke, data_dir=data_dir, mongodb_uri=mongodb_uri, config=config))


@app.command()
def search(
    tenant: Annotated[str, typer.Option(metavar="ORG/ENV", help=TENANT_HELP)],
    query: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME=VALUE&...]...", help="Quoted; `%26` is an ampersand in a value."),
    ] = None,
    type: Annotated[str, typer.Option(help="Resource type.")] = "DiagnosticReport",
    json: Annotated[bool, typer.Option("--json", help="The searchset, as the service would answer.")] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="How it is answered, instead of the answer; with --json both.")
    ] = False,
    all_pages: Annotated[bool, typer.Option("--all", help="All pages; with --json one per line.")] = False,
    count: Annotated[int | None, typer.Option(min=0, help="Matches on a page [50].")] = None,
    data_dir: DataDir = None,
    mongodb_uri: MongodbUri = None,
    config: Config = None,
) -> None:
    """Search as a client would, and show date, code, status, patient and id of what matches."""
    from api.app import utc_now
    from api.search_command import Request, read_query
    from api.search_command import search as run_search
    from api.settings import load_settings

    if explain and all_pages:
        raise typer.BadParameter("explains one page, so it goes without `--all`", param_hint="--explain")
    try:
        pairs = read_query(query or (), count=count)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="NAME=VALUE") from None
    places = {"data_dir": data_dir, "mongodb_uri": mongodb_uri, "config": config}
    request = Request(tenant_of(tenant), type, pairs, json, explain, all_pages, _width())
    settings = load_settings(**places)

    async def run(stores: Stores) -> None:
        await run_search(stores, settings, request, now=utc_now(), say=typer.echo)

    with_stores(run, **places)


@app.command()
def load(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH...", exists=True, help="Files or folders: JSON, NDJSON, .gz, .zip."),
    ],
    tenant: Annotated[str, typer.Option(metavar="ORG/ENV", help=TENANT_HELP)],
    concurrency: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Bodies under way at once [64; backfill 8].")
    ] = None,
    mode: Annotated[LoadMode, typer.Option(help="`backfill` steps aside for live pushes.")] = LoadMode.NORMAL,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be refused.")] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Load again what the journal says is stored.")
    ] = False,
    journal: Annotated[
        Path | None, typer.Option(help="What is stored so far [load.journal in DATA_DIR].")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write each refusal here, as JSON lines.")] = None,
    base_url: Annotated[str | None, typer.Option(help="Public base of the service.")] = None,
    data_dir: DataDir = None,
    mongodb_uri: MongodbUri = None,
    config: Config = None,
) -> None:
    """Push files, whether or not the service runs. Started again after a kill it goes on where it was."""
    from api.load_command import Request, load_files
    from api.settings import load_settings

    places = {"data_dir": data_dir, "mongodb_uri": mongodb_uri, "config": config}
    settings = load_settings(**places, base_url=base_url)
    request = Request(
        paths,
        tenant_of(tenant),
        concurrency,
        mode.value,
        dry_run=dry_run,
        fresh=fresh,
        journal=journal,
        report=report,
        origin=settings.base_url,
    )

    def warn(line: str) -> None:
        typer.echo(line, err=True)

    async def run(stores: Stores) -> int:
        return await load_files(stores, settings, request, say=typer.echo, warn=warn)

    if code := with_stores(run, **places):
        raise typer.Exit(code)


@app.command("reindex")
def reindex(
    tenant: Annotated[str | None, typer.Option(metavar="ORG/ENV", help="Of this tenant only.")] = None,
    batch: Annotated[
        int, typer.Option(min=1, max=10_000, help="Resources looked at in one step.")
    ] = REINDEX_BATCH,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    base_url: Annotated[
        str | None, typer.Option(help="Public base under which the service was pushed to.")
    ] = None,
    data_dir: DataDir = None,
    mongodb_uri: MongodbUri = None,
    config: Config = None,
) -> None:
    """Index anew what an older release indexed. Safe to repeat, and while the service runs."""
    from api.reindex_command import reindex_tenants
    from api.settings import load_settings

    places = {"data_dir": data_dir, "mongodb_uri": mongodb_uri, "config": config}
    origin = load_settings(**places, base_url=base_url).base_url
    only = None if tenant is None else tenant_of(tenant)

    def warn(line: str) -> None:
        typer.echo(line, err=True)

    async def run(stores: Stores) -> int:
        return await reindex_tenants(
            stores, tenant=only, origin=origin, batch=batch, dry_run=dry_run, say=typer.echo, warn=warn
        )

    if with_stores(run, **places):
        raise typer.Exit(1)


@app.command("collect-files")
def collect_files(
    tenant: Annotated[str | None, typer.Option(metavar="ORG/ENV", help="Of this tenant only.")] = None,
    data_dir: DataDir = None,
    mongodb_uri: MongodbUri = None,
    config: Config = None,
) -> None:
    """Delete files that no version of a resource refers to. Safe to repeat, and while the service runs."""
    from api.app import utc_now
    from api.collect_command import collect_files as run_collect

    only = None if tenant is None else tenant_of(tenant)

    async def run(stores: Stores) -> None:
        await run_collect(stores, tenant=only, now=utc_now(), say=typer.echo)

    with_stores(run, data_dir=data_dir, mongodb_uri=mongodb_uri, config=config)


@app.command("settings")
def show_settings(data_dir: DataDir = None, mongodb_uri: MongodbUri = None, config: Config = None) -> None:
    """Show every setting: its value, where that comes from, its default and what it is for."""
    from api.settings_list import describe_settings

    typer.echo(describe_settings(data_dir=data_dir, mongodb_uri=mongodb_uri, config=config))


@app.command()
def demo(
    port: Port = None,
    admin_port: AdminPort = None,
    data_dir: DataDir = None,
    once: Annotated[bool, typer.Option("--once", help="End after printing, for scripts.")] = False,
) -> None:
    """Show the main job: start, push sample reports, search them, keep serving."""
    from api.demo.run import demo as run_demo
    from api.settings import load_settings

    settings = load_settings(port=port, admin_port=admin_port, data_dir=data_dir)
    asyncio.run(run_demo(settings, once=once))


@app.command()
def version() -> None:
    """Print the version."""
    from api.version import VERSION

    typer.echo(VERSION)


def _with_access(work: Callable[[AccessStore], Awaitable[T]], **places: Path | str | None) -> T:
    """What comes of the work on the access store, whether or not `dod serve` runs."""
    return with_stores(lambda stores: work(stores.access), **places)


def _width() -> int | None:
    """Columns of the terminal; None when the output goes elsewhere and nothing need be cut."""
    if sys.stdout.isatty() or "COLUMNS" in os.environ:
        return shutil.get_terminal_size().columns
    return None


def _one_choice(
    letters: list[str] | None, *, every: bool, reason: str | None, tenant: str | None
) -> Tenant | None:
    """The tenant that is meant, if any. Refuses ids together with a filter, and neither of the two."""
    if bool(letters) == (every or reason is not None):
        raise typer.BadParameter("name letters, or give `--all` or `--reason`", param_hint="ID")
    return None if tenant is None else tenant_of(tenant)


def _check_scopes(scopes: list[str]) -> None:
    from api.auth.scopes import merge_scopes

    try:
        merge_scopes(scopes)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--scope") from None


def _end(sentence: str) -> NoReturn:
    typer.echo(sentence, err=True)
    sys.exit(1)
