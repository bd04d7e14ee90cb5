"""`dod client`: registered clients, who prove themselves with signed JWTs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.options import Config, DataDir, MongodbUri, print_table, read_file, tenant_of, with_stores

if TYPE_CHECKING:
    from api.commands.access.clients import Credential
    from store.stores import Stores

client_app = typer.Typer(
    help="Clients that ask for access tokens with a signed JWT (`POST /v2/auth/token`).", no_args_is_help=True
)
Id = Annotated[str, typer.Argument(metavar="ID", help="The `client_id`.")]
Jwks = Annotated[
    Path | None, typer.Option("--jwks", help="JWKS document with the public keys; `-` is stdin.")
]
JwksUrl = Annotated[str | None, typer.Option("--jwks-url", help="Where the client publishes its keys.")]
PublicPem = Annotated[Path | None, typer.Option("--public-key", help="One public key, in PEM.")]
Kid = Annotated[str | None, typer.Option("--kid", help="The `kid` of `--public-key` or `--new-key`.")]
NewKey = Annotated[
    Path | None,
    typer.Option("--new-key", help="Make a key pair (ES384); the private half is written to this new file."),
]


@client_app.command("create")
def client_create(
    tenant: Annotated[list[str], typer.Option(metavar="ORG/ENV", help="May be given several times.")],
    scope: Annotated[
        list[str], typer.Option(help="Such as `system/DiagnosticReport.rs`; may be given several times.")
    ],
    client_id: Annotated[
        str | None, typer.Option("--id", help="The id that it has already [a new UUID].")
    ] = None,
    name: Annotated[str, typer.Option(help="A label for people.")] = "",
    jwks: Jwks = None,
    jwks_url: JwksUrl = None,
    public_key: PublicPem = None,
    new_key: NewKey = None,
    kid: Kid = None,
    external: Annotated[
        bool, typer.Option("--external", help="Its tokens come from the external issuer (`DOD_ISSUER`).")
    ] = False,
    data_dir: DataDir = None,
    mongodb_uri: MongodbUri = None,
    config: Config = None,
) -> None:
    """Register a client, and print its `client_id`, alone, on stdout."""
    from api.app import utc_now
    from api.commands.access.clients import Registration, create_client, refuse_broken
    from api.settings.service import load_settings
    from ingest.http.forwarded import networks

    places = {"data_dir": data_dir, "mongodb_uri": mongodb_uri, "config": config}
    allowed = networks(load_settings(**places).jwks_networks)
    tenants = tuple(tenant_of(one) for one in tenant)
    credential = _credential(jwks, jwks_url, public_key, new_key, kid, external=external)
    told = Registration(tenants, tuple(scope), credential, client_id, name)
    try:
        refuse_broken(told, allowed=allowed)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None

    async def create(stores: Stores) -> str:
        return (await create_client(stores, told, now=utc_now())).id

    typer.echo(with_stores(create, **places))


@client_app.command("list")
def client_list(data_dir: DataDir = None, mongodb_uri: MongodbUri = None, config: Config = None) -> None:
    """Show all clients; there is nothing secret in it."""

    async def rows(stores: Stores) -> list[tuple[str, ...]]:
        from api.commands.access.clients import client_rows

        return client_rows(await stores.clients.clients())

    print_table(with_stores(rows, data_dir=data_dir, mongodb_uri=mongodb_uri, config=config))


@client_app.command("show")
def client_show(
    client_id: Id, data_dir: DataDir = None, mongodb_uri: MongodbUri = None, config: Config = None
) -> None:
    """Show one client with its keys."""

    async def show(stores: Stores) -> str:
        from api.app import utc_now
        from api.commands.access.clients import existing_client, shown

        return shown(await existing_client(stores.clients, client_id), now=utc_now())

    typer.echo(with_stores(show, data_dir=data_dir, mongodb_uri=mongodb_uri, config=config))


@client_app.command("rotate")
def client_rotate(
    client_id: Id,
    jwks: Jwks = None,
    jwks_url: JwksUrl = None,
    public_key: PublicPem = None,
    new_key: NewKey = None,
    kid: Kid = None,
    overlap_hours: Annotated[
        float,
        typer.Option(
            min=0,
            max=8_760,
            help="How long the keys before work on; 0 ends them and all their tokens at once.",
        ),
    ] = 24,
    data_dir: DataDir = None,
    mongodb_uri: MongodbUri = None,
    config: Config = None,
) -> None:
    """Give a client other keys. With an overlap no request is lost; without, what was stolen is worthless."""
    from datetime import timedelta

    from api.app import utc_now
    from api.auth.key_sets import refuse_jwks_url
    from api.commands.access.clients import change, rotated
    from api.settings.service import load_settings
    from ingest.http.forwarded import networks

    places = {"data_dir": data_dir, "mongodb_uri": mongodb_uri, "config": config}
    credential = _credential(jwks, jwks_url, public_key, new_key, kid, external=False)
    overlap, now = timedelta(hours=overlap_hours), utc_now()

    async def rotate(stores: Stores) -> str:
        if credential.jwks_url is not None:
            refuse_jwks_url(credential.jwks_url, networks(load_settings(**places).jwks_networks))
        client = await change(
            stores.clients, client_id, lambda one: rotated(one, credential, now=now, overlap=overlap)
        )
        return f"{client.id} has other keys: {client.jwks_url or ', '.join(key.kid for key in client.keys)}"

    try:
        typer.echo(with_stores(rotate, **places))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


@client_app.command("disable")
def client_disable(
    client_id: Id, data_dir: DataDir = None, mongodb_uri: MongodbUri = None, config: Config = None
) -> None:
    """Stop a client: services notice within `DOD_ACCESS_CACHE_SECONDS`, and refuse its tokens too."""
    _stop(client_id, stopped=True, data_dir=data_dir, mongodb_uri=mongodb_uri, config=config)


@client_app.command("enable")
def client_enable(
    client_id: Id, data_dir: DataDir = None, mongodb_uri: MongodbUri = None, config: Config = None
) -> None:
    """Let a client in again. Tokens from before it was disabled stay worthless."""
    _stop(client_id, stopped=False, data_dir=data_dir, mongodb_uri=mongodb_uri, config=config)


def _stop(client_id: str, *, stopped: bool, **places: Path | str | None) -> None:
    from api.app import utc_now
    from api.commands.access.clients import change, disabled, enabled

    now = utc_now()

    async def stop(stores: Stores) -> str:
        change_it = (lambda one: disabled(one, now)) if stopped else enabled
        client = await change(stores.clients, client_id, change_it)
        return f"{client.id} is {'disabled' if stopped else 'enabled'}"

    typer.echo(with_stores(stop, **places))


def _credential(
    jwks: Path | None,
    jwks_url: str | None,
    public_key: Path | None,
    new_key: Path | None,
    kid: str | None,
    *,
    external: bool,
) -> Credential:
    """The credential that the options name. Raises BadParameter unless it is one."""
    from api.auth.public_keys import key_of_pem, keys_of_jwks, new_key_pair
    from api.commands.access.clients import Credential

    if sum((bool(jwks), bool(jwks_url), bool(public_key), bool(new_key), external)) != 1:
        raise typer.BadParameter("one of --jwks, --jwks-url, --public-key, --new-key, --external is needed")
    if (public_key or new_key) and not kid:
        raise typer.BadParameter("the key needs a name, by which its JWTs call it", param_hint="--kid")
    try:
        if jwks:
            return Credential(keys=keys_of_jwks(read_file(jwks)))
        if public_key and kid:
            return Credential(keys=dict([key_of_pem(read_file(public_key), kid)]))
        if new_key and kid:
            public, private = new_key_pair(kid)
            _write_secret(new_key, private)
            return Credential(keys={kid: public})
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    return Credential(jwks_url=jwks_url, external=external)


def _write_secret(file: Path, content: bytes) -> None:
    """A new file that only its owner may read. What is there already is never overwritten."""
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as sink:
            sink.write(content)
    except OSError as error:
        raise typer.BadParameter(f"{file}: {error.strerror}", param_hint="--new-key") from None
