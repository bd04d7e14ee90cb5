"""`dod client` and `dod apply` at the terminal, on a real database."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING
from uuid import uuid4

import orjson
import pytest
from joserfc.jwk import ECKey

from api.auth.public_keys import thumbprint
from store.tenancy import SearchScope, parse_tenant
from tests.support.commands import command, database_of_commands
from tests.support.oauth import key, public
from tests.support.service import opened_service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from store.clients import Client
    from store.mongo.driver.client import Database
    from tests.support.commands import Dod
    from tests.support.service import Service


@pytest.fixture
async def service(
    mongodb: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Service]:
    """A service on a database of its own, which the commands use as well."""
    async with opened_service(mongodb, mongodb_database=database.name) as opened:
        database_of_commands(monkeypatch, mongodb, database.name)
        yield opened


@pytest.fixture
def dod(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Dod:
    return command(monkeypatch, capsys)


async def test_a_client_is_registered_shown_rotated_and_stopped(
    service: Service, dod: Dod, tmp_path: Path
) -> None:
    tenant, private = str(service.tenant), tmp_path / "key.pem"
    wanted = ("--tenant", tenant, "--scope", "system/DiagnosticReport.rs", "--name", "Vendor")
    made = await dod("client", "create", *wanted, "--new-key", str(private), "--kid", "k1")
    client_id = made.out.strip()
    assert (made.code, made.err) == (0, "")
    client = await service.clients.client(client_id)
    assert client is not None
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert ECKey.import_key(private.read_bytes()).thumbprint() == thumbprint(client.keys[0].jwk)
    shown = await dod("client", "show", client_id)
    assert shown.code == 0
    for word in ("Vendor", tenant, "system/DiagnosticReport.rs", "k1", "ES384", "enabled"):
        assert word in shown.out
    assert client_id in (await dod("client", "list")).out
    assert "PRIVATE" not in shown.out + made.out

    jwks = tmp_path / "jwks.json"
    jwks.write_bytes(orjson.dumps(public(key("rsa"))))
    rotated = await dod("client", "rotate", client_id, "--jwks", str(jwks), "--overlap-hours", "2")
    assert rotated.code == 0
    kids = {one.kid: one.ends_at is None for one in (await known(service, client_id)).keys}
    assert kids == {"k1": False, "rsa-0": True}
    assert (await dod("client", "disable", client_id)).out == f"{client_id} is disabled\n"
    assert "disabled since" in (await dod("client", "show", client_id)).out
    assert (await dod("client", "enable", client_id)).out == f"{client_id} is enabled\n"
    assert (await known(service, client_id)).disabled_at is None


async def known(service: Service, client_id: str) -> Client:
    client = await service.clients.client(client_id)
    assert client is not None
    return client


async def test_what_is_refused_at_the_terminal(service: Service, dod: Dod, tmp_path: Path) -> None:
    tenant = str(service.tenant)
    base = ("client", "create", "--tenant", tenant, "--scope", "system/*.rs")
    private = tmp_path / "private.json"
    private.write_bytes(orjson.dumps({"keys": [key("ec").as_dict(private=True)]}))
    there = tmp_path / "there.pem"
    there.write_text("mine")
    for words, code, said in (
        (base, 2, "is needed"),
        ((*base, "--external", "--jwks-url", "https://a.example/keys"), 2, "is needed"),
        ((*base, "--jwks-url", "http://a.example/keys"), 2, "https://"),
        ((*base, "--jwks-url", "https://127.0.0.1/keys"), 2, "private or loopback"),
        ((*base, "--jwks", str(private)), 2, "private"),
        ((*base, "--jwks", str(tmp_path / "nothing")), 1, "cannot be read"),
        ((*base, "--new-key", str(tmp_path / "k.pem")), 2, "--kid"),
        ((*base, "--new-key", str(there), "--kid", "k"), 2, "exists"),
        ((*base, "--external", "--scope", "system/Pacient.rs"), 2, "did you mean `Patient`"),
        ((*base, "--external", "--scope", "system/Observation.cruds?category=a"), 2, "not tested"),
        ((*base, "--external", "--id", "a b"), 2, "client's id"),
        (("client", "create", "--tenant", "no/Staging", "--scope", "dod/push", "--external"), 1, "no tenant"),
        (("client", "show", "nobody"), 1, "There is no client"),
        (("client", "disable", "nobody"), 1, "There is no client"),
        (("client", "rotate", "nobody", "--jwks-url", "https://a.example/keys"), 1, "There is no client"),
    ):
        result = await dod(*words)
        assert (result.code, result.out) == (code, ""), words
        assert said in result.err.replace("\n", " "), (words, result.err)
    assert there.read_text() == "mine"


FILE = """
[[tenant]]
name = "{org}/Production"
search_scope = "any"
cors_origins = ["https://app.example"]
policy = {{ keep_days = 30 }}

[[tenant]]
name = "{org}/Staging"

[[client]]
id = "{org}-vendor"
name = "Vendor app"
tenants = ["{org}/Production"]
scopes = ["system/DiagnosticReport.rs", "system/Observation.rs?category=laboratory"]
jwks = "vendor.json"

[[client]]
id = "{org}-feed"
tenants = ["{org}/Staging"]
scopes = ["dod/push"]
jwks_url = "https://feed.example/jwks.json"
"""


async def test_a_file_is_applied_once_and_then_as_far_as_it_changes(
    service: Service, dod: Dod, tmp_path: Path
) -> None:
    org = f"org{uuid4().hex[:8]}"
    file, text = tmp_path / "access.toml", FILE.format(org=org)
    (tmp_path / "vendor.json").write_bytes(orjson.dumps(public(key("rsa"))))
    file.write_text(text)

    planned = await dod("apply", str(file), "--dry-run")
    assert planned.code == 0
    assert planned.out.splitlines()[-1] == "5 changes to make."
    assert await service.clients.client(f"{org}-vendor") is None
    done = await dod("apply", str(file))
    assert done.out == planned.out.replace("to make", "made")
    production = parse_tenant(f"{org}/Production")
    kept = await service.access.tenant(production)
    assert kept is not None
    assert kept.search_scope is SearchScope.ANY
    assert kept.cors_origins == {"https://app.example"}
    assert (await known(service, f"{org}-vendor")).scopes == (
        "system/DiagnosticReport.rs",
        "system/Observation.rs?category=laboratory",
    )
    assert (await dod("apply", str(file))).out == "Nothing to change.\n"

    text = text.replace('"system/DiagnosticReport.rs", ', '"system/Patient.rs", ')
    text = text.replace("jwks_url = ", "disabled = true\njwks_url = ").replace(
        "keep_days = 30", "keep_days = 60"
    )
    file.write_text(text.replace('search_scope = "any"\n', "").replace("app.example", "other.example"))
    (tmp_path / "vendor.json").write_bytes(orjson.dumps(public(key("rsa", 1))))
    changed = await dod("apply", str(file))
    assert changed.out.splitlines() == [
        (
            f"~ tenant {org}/Production: search_scope any → patient,"
            " cors_origins https://app.example → https://other.example"
        ),
        f"~ tenant {org}/Production: another retention policy",
        f"~ client {org}-vendor: scopes +system/Patient.rs -system/DiagnosticReport.rs, keys +rsa-1 -rsa-0",
        f"~ client {org}-feed: disabled",
        "4 changes made.",
    ]
    vendor = await known(service, f"{org}-vendor")
    assert {one.kid: one.ends_at is None for one in vendor.keys} == {"rsa-0": False, "rsa-1": True}
    assert (await known(service, f"{org}-feed")).disabled_at is not None
    assert (await dod("apply", str(file))).out == "Nothing to change.\n"

    other = await service.register(key("ec"))
    only = tmp_path / "only.toml"
    only.write_text("")
    assert f"- client {other.id}: disabled" in (await dod("apply", str(only), "--dry-run", "--prune")).out
    assert (await dod("apply", str(only))).out == "Nothing to change.\n"
    assert (await known(service, other.id)).disabled_at is None


async def test_a_file_with_faults_changes_nothing(service: Service, dod: Dod, tmp_path: Path) -> None:
    file = tmp_path / "access.toml"
    good = '[[tenant]]\nname = "good/Staging"\n'
    client = '[[client]]\nid = "c"\ntenants = ["good/Staging"]\nscopes = ["system/*.rs"]\n'
    for text, *said in (
        ("[[tenant", "no TOML"),
        ('[[tenant]]\nname = "good/Staging"\nserch_scope = "any"\n', "serch_scope"),
        ('[[tenant]]\nname = "good/stagin"\n', "tenant.0", "did you mean `Staging`"),
        (good + good, "there twice"),
        (good + "policy = { keep_day = 3 }\n", "its policy is refused"),
        (client, "one of these"),
        (good + client + "external = true\n" + client + "external = true\n", "`client` c is there twice"),
        (good + client + 'jwks = "nothing.json"\n', "client.0", "cannot be read"),
        (good + client + 'jwks_url = "https://10.0.0.1/"\n', "private or loopback"),
        (good + client.replace("*.rs", "Pacient.rs") + "external = true\n", "did you mean `Patient`"),
        (client.replace("good", "no") + "external = true\n", "names no tenant: no/Staging"),
    ):
        file.write_text(text)
        result = await dod("apply", str(file))
        assert result.code == 1, text
        for one in said:
            assert one in result.err, (text, result.err)
    assert await service.access.tenant(parse_tenant("good/Staging")) is None
