"""The `dod` command. Each command says what it needs, calls one thing and prints what came of it.

Exit codes: 0 done, 1 refused with a sentence for each reason on stderr, 2 the command itself was misused.
"""

from __future__ import annotations

import asyncio
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer
from typer.core import TyperGroup
from typing_extensions import override

from api.cli.access.clients import client_app
from api.cli.access.tenants import tenant_app
from api.cli.access.tokens import token_app
from api.cli.apply import apply
from api.cli.audit import audit
from api.cli.doctor import doctor
from api.cli.export import export
from api.cli.feeds.remap import remap
from api.cli.feeds.sources import source_app
from api.cli.letters import letters_app
from api.cli.load import load
from api.cli.options import (
    Config,
    DataDir,
    MongodbUri,
    OnlyTenant,
    PushedUnder,
    only_tenant,
    tenant_of,
    warn,
    with_stores,
)
from api.cli.retention.holds import hold_app
from api.cli.retention.policies import policy_app
from api.cli.retention.purge import purge_app
from api.cli.retention.runs import retention_app
from api.cli.search import search
from api.cli.subscriptions import subscription_app
from api.cli.verify_data import verify_data
from api.commands.terminal import sentence_of
from store.errors import ServiceError, StartupError

if TYPE_CHECKING:
    from store.stores import Stores

_ORDER: Final = (
    *("demo", "serve", "tenant", "token", "client", "apply", "load", "search", "export", "letters", "source"),
    *(
        "subscription",
        "retention",
        "purge",
        "audit",
        "reindex",
        "remap",
        "collect-files",
        "verify-data",
        "settings",
        "version",
    ),
)


class InOrder(TyperGroup):
    """The commands as somebody comes to need them."""

    @override
    def list_commands(self, ctx: Any) -> list[str]:
        """Names in order; one that the order does not name comes last."""
        names = super().list_commands(ctx)
        return sorted(names, key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))


app = typer.Typer(
    cls=InOrder,
    epilog="Begin with `dod demo`. Options are settings too: `dod settings` lists them all.",
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # `[8080]` in a help text is a default, no markup.
    add_completion=False,
)
app.add_typer(tenant_app, name="tenant")
app.add_typer(token_app, name="token")
app.add_typer(client_app, name="client")
app.command()(apply)
retention_app.add_typer(policy_app)
retention_app.add_typer(hold_app, name="hold")
app.add_typer(letters_app, name="letters")
app.add_typer(source_app, name="source")
app.add_typer(subscription_app, name="subscription")
app.add_typer(retention_app, name="retention")
app.add_typer(purge_app, name="purge")
app.command()(audit)
app.command()(doctor)
app.command()(search)
app.command()(load)
app.command()(export)
app.command("verify-data")(verify_data)
app.command()(remap)

Port = Annotated[int | None, typer.Option(help="Port of the FHIR endpoint [8080]; 0 takes a free one.")]
AdminPort = Annotated[int | None, typer.Option(help="Port of /livez, /readyz, /metrics [9090].")]
Host = Annotated[str | None, typer.Option(help="Address to listen on [127.0.0.1].")]
REINDEX_BATCH: Final = 500
"""Resources looked at in one step of `dod reindex`: one deadline of the store, about 32 MB in memory."""


def main() -> NoReturn:
    """Run the command line."""
    try:
        _command_line()()
    except StartupError as error:
        _end(str(error))
    except ServiceError as error:
        _end("\n".join(issue.text for issue in error.issues) or f"The store failed: {error.category}.")
    except (OSError, MemoryError, RuntimeError) as error:
        if not (said := sentence_of(error)):
            raise
        _end(said)
    sys.exit(0)


@cache
def _command_line() -> TyperGroup:
    """All commands with their options, which takes longer than most of them: built once in a process."""
    return typer.main.get_group(app)


@app.command()
def serve(
    host: Host = None,
    port: Port = None,
    admin_host: Annotated[str | None, typer.Option(help="Address of the admin endpoint.")] = None,
    admin_port: AdminPort = None,
    role: Annotated[str | None, typer.Option(help="all, query, ingest or jobs [all].")] = None,
    workers: Annotated[
        str | None, typer.Option(metavar="N|auto", help="Processes on one address; auto: all processors [1].")
    ] = None,
    base_url: Annotated[str | None, typer.Option(help="Public base for links.")] = None,
    mllp_port: Annotated[
        int | None, typer.Option(help="Port for HL7 v2 over MLLP; 0 takes a free one.")
    ] = None,
    mllp_tenant: Annotated[
        str | None, typer.Option(metavar="ORG/ENV", help="Tenant of the messages at that port.")
    ] = None,
    mongod: Annotated[Path | None, typer.Option(help="The mongod binary to embed.")] = None,
    data_dir: DataDir = None,
    mongodb_uri: MongodbUri = None,
    config: Config = None,
) -> None:
    """Run the service until SIGTERM or Ctrl-C. With workers, SIGHUP replaces them one after another."""
    from api.serve import serve as run_service
    from api.server.event_loop import run
    from api.settings.service import load_settings
    from api.workers.order import count_of

    options = {
        "host": host,
        "port": port,
        "admin_host": admin_host,
        "admin_port": admin_port,
        "role": role,
        "workers": workers,
        "base_url": base_url,
        "mllp_port": mllp_port,
        "mllp_tenant": mllp_tenant,
        "mongod": mongod,
        "data_dir": data_dir,
        "mongodb_uri": mongodb_uri,
        "config": config,
    }
    settings = load_settings(**options)
    if count_of(settings) == 1:
        run(run_service(settings), event_loop=settings.event_loop)
        return
    from api.workers.supervisor import supervise

    asyncio.run(supervise(settings, {name: value for name, value in options.items() if value is not None}))


@app.command("reindex")
def reindex(
    tenant: OnlyTenant = None,
    batch: Annotated[
        int, typer.Option(min=1, max=10_000, help="Resources looked at in one step.")
    ] = REINDEX_BATCH,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    progress: Annotated[Path | None, typer.Option(help="File that keeps how far it has come.")] = None,
    base_url: PushedUnder = None,
    data_dir: DataDir = None,
    mongodb_uri: MongodbUri = None,
    config: Config = None,
) -> None:
    """Index anew what an older release indexed. Safe to repeat, and while the service runs."""
    from api.commands.reindex import reindex_tenants
    from api.settings.service import load_settings

    places = {"data_dir": data_dir, "mongodb_uri": mongodb_uri, "config": config}
    origin = load_settings(**places, base_url=base_url).base_url
    only = only_tenant(tenant)

    async def run(stores: Stores) -> int:
        return await reindex_tenants(
            stores,
            tenant=only,
            origin=origin,
            batch=batch,
            dry_run=dry_run,
            progress=progress,
            say=typer.echo,
            warn=warn,
        )

    if code := with_stores(run, **places):
        raise typer.Exit(code)


@app.command("collect-files")
def collect_files(
    tenant: Annotated[str | None, typer.Option(metavar="ORG/ENV", help="Of this tenant only.")] = None,
    data_dir: DataDir = None,
    mongodb_uri: MongodbUri = None,
    config: Config = None,
) -> None:
    """Delete files that no version of a resource refers to. Safe to repeat, and while the service runs."""
    from api.app import utc_now
    from api.commands.files.collect_files import collect_files as run_collect

    only = None if tenant is None else tenant_of(tenant)

    async def run(stores: Stores) -> None:
        await run_collect(stores, tenant=only, now=utc_now(), say=typer.echo)

    with_stores(run, data_dir=data_dir, mongodb_uri=mongodb_uri, config=config)


@app.command("settings")
def show_settings(data_dir: DataDir = None, mongodb_uri: MongodbUri = None, config: Config = None) -> None:
    """Show every setting: its value, where that comes from, its default and what it is for."""
    from api.commands.settings import describe_settings

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
    from api.server.event_loop import run
    from api.settings.service import load_settings

    settings = load_settings(port=port, admin_port=admin_port, data_dir=data_dir)
    run(run_demo(settings, once=once), event_loop=settings.event_loop)


@app.command()
def version() -> None:
    """Print the version."""
    from api.version import VERSION

    typer.echo(VERSION)


def _version_alone(asked: bool) -> None:
    if asked:
        version()
        raise typer.Exit


@app.callback()
def options(
    show_version: Annotated[
        bool,
        typer.Option("--version", "-V", callback=_version_alone, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Data on demand: accepts pushed FHIR DiagnosticReports, answers searches for them."""


@app.command("help", hidden=True)
def show_help(context: typer.Context) -> None:
    """Show the help of `dod`."""
    typer.echo(context.find_root().get_help())


def _end(sentence: str) -> NoReturn:
    typer.echo(sentence, err=True)
    sys.exit(1)
