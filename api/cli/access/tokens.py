"""`dod token`: bearer tokens, who may do what for which tenants."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from api.auth.principal import UNNAMED
from api.cli.options import Config, DataDir, MongodbUri, print_table, tenant_of, with_access

if TYPE_CHECKING:
    from store.access import AccessStore

token_app = typer.Typer(help="Bearer tokens: who may do what for which tenants.", no_args_is_help=True)
CLIENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._@-]{0,63}")
DIGEST_PREFIX: Final = re.compile(r"[0-9a-f]{8,64}")


@token_app.command("issue")
def token_issue(
    tenant: Annotated[list[str], typer.Option(metavar="ORG/ENV", help="May be given several times.")],
    scope: Annotated[list[str], typer.Option(help="Such as `system/*.cruds`; may be given several times.")],
    days: Annotated[int | None, typer.Option(min=1, max=3650, help="Until it expires [30].")] = None,
    client: Annotated[
        str, typer.Option(help="A name for people and logs. Tokens of one name share subscriptions.")
    ] = UNNAMED,
    certificate: Annotated[
        Path | None,
        typer.Option(help="A client certificate, PEM, that stands for the client in place of a token."),
    ] = None,
    data_dir: DataDir = None,
    mongodb_uri: MongodbUri = None,
    config: Config = None,
) -> None:
    """Print a new bearer token, alone, on stdout. It cannot be shown again."""
    from api.app import utc_now
    from api.commands.access.tenants import certify, issue_token
    from api.settings.service import load_settings

    tenants = [tenant_of(name) for name in tenant]
    _check_scopes(scope)
    if not CLIENT.fullmatch(client):
        raise typer.BadParameter("1 to 64 letters, digits, blanks or `._@-`", param_hint="--client")
    places = {"data_dir": data_dir, "mongodb_uri": mongodb_uri, "config": config}
    lasting = days or load_settings(**places).token_days_default

    async def issue(access: AccessStore) -> str:
        now = utc_now()
        if certificate is None:
            return await issue_token(
                access, client=client, tenants=tenants, scopes=scope, now=now, days=lasting
            )
        return await certify(
            access, certificate, client=client, tenants=tenants, scopes=scope, now=now, days=lasting
        )

    typer.echo(with_access(issue, **places))


@token_app.command("list")
def token_list(data_dir: DataDir = None, mongodb_uri: MongodbUri = None, config: Config = None) -> None:
    """Show all tokens by the start of their digest; there is nothing secret in it."""

    async def rows(access: AccessStore) -> list[tuple[str, ...]]:
        from api.app import utc_now
        from api.commands.access.tenants import grant_rows

        return grant_rows(await access.grants(), now=utc_now())

    print_table(with_access(rows, data_dir=data_dir, mongodb_uri=mongodb_uri, config=config))


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
        from api.commands.access.tenants import revoke_token

        grant = await revoke_token(access, prefix)
        return f"revoked the token of {grant.client}"

    typer.echo(with_access(revoke, data_dir=data_dir, mongodb_uri=mongodb_uri, config=config))


def _check_scopes(scopes: list[str]) -> None:
    from api.auth.scopes import checked

    try:
        checked(scopes)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--scope") from None
