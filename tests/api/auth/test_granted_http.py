"""Access tokens once given: their end, tenants and scopes; keys and an issuer elsewhere."""

from __future__ import annotations

from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import replace
from math import inf, nan
from typing import TYPE_CHECKING, Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from joserfc import jwt
from joserfc.jwk import OctKey

from api.auth import assertions, key_sets
from api.auth.access_check import EXTERNAL_SECONDS
from api.auth.verification import HEADER, SECRET, keyed_digest, new_verification_token
from api.http.app_keys import REGISTRY
from store.access import VerificationToken
from store.tenancy import Tenant
from tests.api.auth.asking import EC, RSA, SCOPES, ask, bearer_of, post, refused, url_of
from tests.support.fhir import report
from tests.support.oauth import SigningKey, assertion, claims, form, key, public
from tests.support.service import Service, opened_service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest


async def test_a_token_ends_and_is_bound_to_its_tenants(service: Service) -> None:
    client = await service.register(RSA, scopes=SCOPES)
    vendor = await bearer_of(service, client)
    staging = Tenant(service.tenant.organization, "Staging")
    elsewhere = Service(service.client, service.clock, staging, vendor.headers)
    assert (await elsewhere.search("patient=p1")).status == 403
    service.clock.move(seconds=299)
    assert (await vendor.search("patient=p1")).status == 200
    service.clock.move(seconds=1)
    answer = await vendor.search("patient=p1")
    assert (answer.status, answer.issues) == (401, [("error", "expired")])


async def test_altered_and_foreign_tokens_are_refused(service: Service) -> None:
    client = await service.register(RSA, scopes=SCOPES)
    token = (await bearer_of(service, client)).headers["Authorization"].removeprefix("Bearer ")
    head, body, signature = token.split(".")
    foreign = jwt.encode(
        {"alg": "HS256", "typ": "at+jwt"},
        {"iss": "dod", "aud": "dod", "client_id": client.id, "scope": "system/*.cruds", "exp": 9e9},
        OctKey.import_key(b"y" * 32),
    )
    for sent in (
        f"{head}.{body}.",
        f"{head}.{body}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}",
        f"e30.{body}.{signature}",
        foreign,
        "a.b.c",
    ):
        answer = await service.request("GET", "Patient/1", headers={"Authorization": f"Bearer {sent}"})
        assert answer.status == 401, sent
        assert sent not in answer.text
    # An assertion is no access token.
    proof = assertion(claims(service.clock().timestamp(), url_of(service), iss=client.id, sub=client.id))
    answer = await service.request("GET", "Patient/1", headers={"Authorization": f"Bearer {proof}"})
    assert answer.status == 401


async def test_scopes_are_granted_as_far_as_they_are_registered(service: Service) -> None:
    client = await service.register(RSA, scopes=SCOPES)
    for asked, given in (
        (None, " ".join(SCOPES)),
        ("", " ".join(SCOPES)),
        ("system/*.read", "system/DiagnosticReport.rs system/Patient.rs"),
        ("system/DiagnosticReport.s", "system/DiagnosticReport.s"),
        ("system/DiagnosticReport.cruds system/Device.r", "system/DiagnosticReport.rs"),
    ):
        answer = await ask(service, client, scope=asked)
        assert answer.body["scope"] == given


async def test_a_scope_that_is_taken_from_a_client_is_taken_from_its_tokens(service: Service) -> None:

    client = await service.register(RSA, scopes=SCOPES)
    vendor = await bearer_of(service, client)
    assert (await vendor.search("patient=p1")).status == 200
    assert await service.clients.put(replace(client, scopes=("system/Patient.rs",)))
    assert (await vendor.search("patient=p1")).status == 403


@asynccontextmanager
async def published(*keys: SigningKey) -> AsyncIterator[tuple[str, list[SigningKey]]]:
    """A vendor's server with these keys, which may be changed, and its URL."""
    current = list(keys)

    async def answer(_: web.Request) -> web.Response:
        headers = {"Cache-Control": "max-age=0"}
        return web.json_response(public(*current), headers=headers)

    app = web.Application()
    app.router.add_get("/jwks", answer)
    async with TestServer(app) as server:
        yield str(server.make_url("/jwks")), current


async def test_keys_are_read_from_the_clients_own_url_and_may_change_there(
    mongodb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_sets, "AGAIN_SECONDS", 0.0)
    async with (
        published(RSA) as (url, current),
        opened_service(mongodb, jwks_networks="127.0.0.0/8") as service,
        opened_service(mongodb) as guarded,
    ):
        client = await service.register(scopes=SCOPES, jwks_url=url)
        assert (await ask(service, client)).status == 200
        assert (await ask(service, client, EC)).status == 401
        current[:] = [EC]
        assert (await ask(service, client, EC)).status == 200
        assert refused(await ask(service, client, RSA))[2] == assertions.NO_KEY
        # Its network is closed unless a setting opens it.
        assert refused(await ask(guarded, client, EC)) == (401, "invalid_client", assertions.NO_KEY)
        # A `jku` must be the registered one.
        now, here = service.clock().timestamp(), url_of(service)
        for jku, status in ((url, 200), ("https://evil.example/jwks", 401)):
            told = claims(now, here, iss=client.id, sub=client.id)
            assert (await post(service, form(assertion(told, EC, jku=jku)))).status == status


async def test_tokens_of_an_external_issuer(mongodb: str) -> None:
    issuer = "https://login.example/realms/hospital"
    async with published(RSA, EC) as (url, _):
        told: dict[str, Any] = {"issuer": issuer, "issuer_audience": "dod", "issuer_jwks_url": url}
        async with opened_service(mongodb, jwks_networks="127.0.0.0/8", **told) as service:
            name = f"vendor-{service.tenant.organization}"
            await service.register(scopes=SCOPES, id=name, external=True)
            own = await service.register(RSA, scopes=SCOPES)
            now = service.clock().timestamp()

            async def status(signer: SigningKey = RSA, **changed: Any) -> int:
                right = {
                    "iss": issuer,
                    "aud": ["dod", "other"],
                    "azp": name,
                    "sub": "someone",
                    "scope": "openid system/*.rs",
                    "iat": now,
                    "exp": now + 60,
                }
                text = assertion({**right, **changed}, signer)
                sent = {"Authorization": f"Bearer {text}"}
                vendor = Service(service.client, service.clock, service.tenant, sent)
                return (await vendor.search("patient=p1")).status

            assert await status() == 200
            assert await status(EC) == 200
            assert await status(scope="openid") == 403
            assert await status(key("rsa", 1)) == 401
            assert await status(iss="https://evil.example") == 401
            assert await status(aud="other") == 401
            assert await status(exp=now) == 401
            assert await status(nbf=now + 60) == 401
            for odd in (nan, inf, 10**400, -(10**400), True, "1"):
                assert await status(iat=odd) == 401, odd
                assert await status(exp=odd) == 401, odd
            assert await status(azp="nobody") == 401
            assert await status(azp=own.id) == 401  # It proves itself by keys of its own.


async def test_a_token_of_an_external_issuer_ends_with_its_key(
    mongodb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_sets, "AGAIN_SECONDS", 0.0)
    issuer = "https://login.example/realms/hospital"
    async with published(RSA, EC) as (url, current):
        told: dict[str, Any] = {"issuer": issuer, "issuer_audience": "dod", "issuer_jwks_url": url}
        async with opened_service(mongodb, jwks_networks="127.0.0.0/8", **told) as service:
            name = f"vendor-{service.tenant.organization}"
            await service.register(scopes=SCOPES, id=name, external=True)
            now = service.clock().timestamp()
            told_of = {"iss": issuer, "aud": "dod", "azp": name, "scope": "system/*.rs", "iat": now}
            sent = {"Authorization": f"Bearer {assertion({**told_of, 'exp': now + 3_600}, RSA)}"}
            vendor = Service(service.client, service.clock, service.tenant, sent)
            assert (await vendor.search("patient=p1")).status == 200
            service.clock.move(seconds=EXTERNAL_SECONDS)
            assert (await vendor.search("patient=p1")).status == 200
            current[:] = [EC]
            service.clock.move(seconds=EXTERNAL_SECONDS - 1)
            assert (await vendor.search("patient=p1")).status == 200
            service.clock.move(seconds=1)
            assert (await vendor.search("patient=p1")).status == 401


async def test_discovery_says_where_tokens_are_and_how_to_ask_for_them(service: Service) -> None:
    answer = await service.get(".well-known/smart-configuration")
    told = answer.body
    assert told["token_endpoint"] == url_of(service)
    assert told["grant_types_supported"] == ["client_credentials"]
    assert told["token_endpoint_auth_methods_supported"] == ["private_key_jwt"]
    assert told["token_endpoint_auth_signing_alg_values_supported"] == ["RS384", "ES384"]
    assert {"client-confidential-asymmetric", "permission-v1", "permission-v2"} <= set(told["capabilities"])
    assert "system/DiagnosticReport.rs" in told["scopes_supported"]
    assert told["code_challenge_methods_supported"] == ["S256"]
    statement = (await service.get("metadata")).body
    security = statement["rest"][0]["security"]
    assert security["service"][0]["coding"][0]["code"] == "SMART-on-FHIR"
    assert "extension" not in security  # `oauth-uris` would promise the launch of an app.


def store_calls(service: Service) -> Counter[str]:
    """Number of store calls by operation; signs of life and the record of accesses are left out."""
    return Counter(
        {
            sample.labels["operation"]: int(sample.value)
            for metric in service._app[REGISTRY].collect()
            for sample in metric.samples
            if sample.name == "dod_store_operation_duration_seconds_count"
            and sample.labels["operation"] not in ("ping", "audit", "audit_write", "look_up")
        }
    )


async def test_a_search_with_an_access_token_asks_the_store_for_no_more_than_with_a_static_one(
    mongodb: str,
) -> None:
    async with opened_service(mongodb, access_cache_seconds=60) as service:
        vendor = await bearer_of(service, await service.register(RSA, scopes=SCOPES))
        for one in (service, vendor):
            before = store_calls(service)
            for _ in range(5):
                assert (await one.search("patient=p1")).status == 200
            # The tenant and the client, or grant, are looked up once.
            assert (store_calls(service) - before)["search"] == 5
            assert (store_calls(service) - before).total() <= 7


async def test_an_access_token_counts_beside_a_verification_token(service: Service) -> None:
    """A foreign bearer token means nothing there; one of ours says what its client may do."""
    token = new_verification_token()
    kept = VerificationToken(
        keyed_digest(token, service.tenant, await service.access.secret(SECRET)), service.clock()
    )
    assert await service.access.put_verification(service.tenant, (kept,), instead_of=())
    reader = await bearer_of(service, await service.register(RSA, scopes=SCOPES))
    for headers, status in (
        ({"Authorization": "Bearer a.b.c"}, 201),
        (dict(reader.headers), 403),
        ({}, 201),
    ):
        pusher = Service(service.client, service.clock, service.tenant, {**headers, HEADER: token})
        assert (await pusher.create(report("x", None))).status == status
