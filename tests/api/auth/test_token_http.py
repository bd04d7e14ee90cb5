"""`POST /v2/auth/token` as stock OAuth clients and as strangers call it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from joserfc import jwt
from joserfc.jwk import OctKey

from api.auth import assertions
from api.auth.public_keys import keys_of_jwks
from api.auth.verification import HEADER, SECRET, keyed_digest, new_verification_token
from api.commands.access.clients import Credential, disabled, enabled, rotated
from api.http.app_keys import REGISTRY
from api.interactions.token import NO_SCOPE
from store.access import VerificationToken
from store.tenancy import Tenant
from tests.support.fhir import patient, report
from tests.support.oauth import SigningKey, assertion, claims, form, key, public
from tests.support.service import FORM, Answer, RunningClock, Service, opened_service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from store.clients import Client

TOKEN = "/v2/auth/token"
RSA, EC = key("rsa"), key("ec")
SCOPES = ("system/DiagnosticReport.rs", "system/Patient.rs")


def url_of(service: Service) -> str:
    return str(service.client.make_url(TOKEN))


async def post(service: Service, told: dict[str, str], content_type: str = FORM) -> Answer:
    body = urlencode(told) if content_type == FORM else orjson.dumps(told).decode()
    return await service.request("POST", url_of(service), data=body, content_type=content_type)


async def ask(
    service: Service, client: Client, signer: SigningKey = RSA, scope: str | None = None, **changed: Any
) -> Answer:
    told = claims(service.clock().timestamp(), url_of(service), iss=client.id, sub=client.id)
    return await post(service, form(assertion({**told, **changed}, signer), scope=scope))


async def bearer_of(service: Service, client: Client, signer: SigningKey = RSA) -> Service:
    """The same tenant, with an access token of this client."""
    answer = await ask(service, client, signer)
    assert answer.status == 200, answer.text
    headers = {"Authorization": f"Bearer {answer.body['access_token']}"}
    return Service(service.client, service.clock, service.tenant, headers)


def refused(answer: Answer) -> tuple[int, str, str]:
    return answer.status, answer.body["error"], answer.body["error_description"]


@pytest.mark.parametrize("signer", [RSA, EC], ids=["RS384", "ES384"])
async def test_a_token_is_given_and_searches(service: Service, signer: SigningKey) -> None:
    await service.load(patient("p1"), report("r1", "p1"))
    client = await service.register(RSA, EC, scopes=SCOPES)
    answer = await ask(service, client, signer)
    token = answer.body.pop("access_token")
    assert answer.body | {"access_token": token} == {
        "access_token": token,
        "token_type": "Bearer",
        "expires_in": 300,
        "scope": " ".join(SCOPES),
    }
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Content-Type"].startswith("application/json")
    vendor = await bearer_of(service, client, signer)
    assert (await vendor.search("patient=p1")).ids == ["r1"]
    assert (await vendor.get("Observation/1")).status == 403


@pytest.mark.parametrize(("signer", "algorithm"), [(RSA, "RS384"), (EC, "ES384")], ids=["RS384", "ES384"])
async def test_authlib_gets_a_token_and_searches(mongodb: str, signer: SigningKey, algorithm: str) -> None:
    """The stock client's own clock counts, so the service goes by it too."""
    clock = RunningClock()
    async with opened_service(mongodb, clock=clock) as service:
        await service.load(patient("p1"), report("r1", "p1"))
        client = await service.register(signer, scopes=SCOPES)
        url = url_of(service)
        method = PrivateKeyJWT(
            url, claims={"exp": int(time.time()) + 300}, headers={"kid": signer.kid}, alg=algorithm
        )

        def vendor() -> Any:
            with OAuth2Session(client.id, signer, token_endpoint_auth_method=method) as session:
                session.fetch_token(url, grant_type="client_credentials")
                found = session.get(f"{service.base}/DiagnosticReport?patient=p1")
                found.raise_for_status()
                return found.json()

        found = await asyncio.to_thread(vendor)
        assert [entry["resource"]["id"] for entry in found["entry"]] == ["r1"]


async def test_each_wrong_request_is_refused_as_upstream_refuses_it(service: Service) -> None:
    client = await service.register(RSA, scopes=SCOPES)
    other = await service.register(key("rsa", 1), scopes=SCOPES)
    now, url = service.clock().timestamp(), url_of(service)

    def made(signer: SigningKey | OctKey = RSA, kid: str | None = RSA.kid, **changed: Any) -> str:
        return assertion({**claims(now, url, iss=client.id, sub=client.id), **changed}, signer, kid=kid)

    no_key = (401, "invalid_client", assertions.NO_KEY)
    secret = OctKey.import_key(b"x" * 40)
    for told, expected in (
        (form(made(), grant_type=None), (400, "invalid_request", assertions.NO_GRANT_TYPE)),
        (form(made(), grant_type="x"), (400, "unsupported_grant_type", assertions.WRONG_GRANT_TYPE)),
        (form(made(), client_assertion_type=None), (401, "invalid_client", assertions.NO_ASSERTION_TYPE)),
        (form(made(), client_assertion_type="x"), (401, "invalid_client", assertions.WRONG_ASSERTION_TYPE)),
        (form(made(), client_assertion=None), (401, "invalid_client", assertions.NO_ASSERTION)),
        (form(made(kid=None)), (401, "invalid_client", assertions.NO_KID)),
        (form(made(kid="nobody's")), no_key),
        (form(made(key("rsa", 1), kid=key("rsa", 1).kid)), no_key),
        (form(made(iss="nobody", sub="nobody")), no_key),
        (form(made(iss=other.id, sub=other.id)), no_key),
        (form(made(key("rsa", 2))), (401, "invalid_client", assertions.WRONG_SIGNATURE)),
        (form(made(EC)), (401, "invalid_client", assertions.WRONG_ALGORITHM)),
        (form(made(secret)), (401, "invalid_client", assertions.WRONG_ALGORITHM)),
        (form(made(exp=now - 10)), (401, "invalid_client", assertions.EXPIRED)),
        (form(made(exp=now + 3_600)), (401, "invalid_client", assertions.TOO_LONG)),
        (form(made(aud="x")), (401, "invalid_client", f"JWT aud must be the token URL, {url}")),
        (form(made(), scope="system/Pacient.rs"), (400, "invalid_scope", None)),
        (form(made(), scope="system/Device.rs"), (400, "invalid_scope", NO_SCOPE)),
        (form(made(), scope="system/*.rs?category=x"), (400, "invalid_scope", None)),
    ):
        answer = await post(service, told)
        status, error, text = refused(answer)
        assert (status, error) == expected[:2], answer.text
        assert expected[2] in (None, text)
        assert ("WWW-Authenticate" in answer.headers) is (status == 401)
        assert answer.headers["Cache-Control"] == "no-store"
    json = await post(service, form(made()), "application/json")
    assert refused(json) == (400, "invalid_request", assertions.NO_FORM)
    twice = await service.request(
        "POST",
        url,
        data=urlencode([*form(made()).items(), ("scope", "a"), ("scope", "b")]),
        content_type=FORM,
    )
    assert refused(twice)[:2] == (400, "invalid_request")
    large = await service.request("POST", url, data="a" * 50_000, content_type=FORM)
    assert refused(large)[:2] == (413, "invalid_request")
    assert (await service.request("GET", url)).status == 405


async def test_an_assertion_is_used_once_at_whichever_replica(service: Service, mongodb: str) -> None:
    client = await service.register(RSA, scopes=SCOPES)
    audience = "https://dod.example/v2/auth/token"
    async with (
        opened_service(mongodb, token_audiences=audience) as here,
        opened_service(mongodb, token_audiences=audience) as there,
    ):
        told = claims(service.clock().timestamp(), audience, iss=client.id, sub=client.id)
        text = assertion(told)
        answers = await asyncio.gather(*(post(one, form(text)) for one in (here, there, here, there)))
        assert sorted(answer.status for answer in answers) == [200, 401, 401, 401]
        used = next(answer for answer in answers if answer.status == 401)
        assert refused(used) == (401, "invalid_client", assertions.USED)
        # The same `jti` of another client is another one.
        other = await service.register(EC, scopes=SCOPES)
        again = {**told, "iss": other.id, "sub": other.id}
        assert (await post(here, form(assertion(again, EC)))).status == 200


async def test_a_token_of_one_replica_is_good_at_the_other(service: Service, mongodb: str) -> None:
    client = await service.register(RSA, scopes=SCOPES)
    vendor = await bearer_of(service, client)
    async with opened_service(mongodb) as there:
        same = Service(there.client, there.clock, service.tenant, vendor.headers)
        assert (await same.search("patient=p1")).status == 200


async def test_a_disabled_client_stops_at_every_replica_at_once(service: Service, mongodb: str) -> None:
    client = await service.register(RSA, scopes=SCOPES)
    vendor = await bearer_of(service, client)
    async with opened_service(mongodb) as there:
        same = Service(there.client, there.clock, service.tenant, vendor.headers)
        assert (await same.search("patient=p1")).status == 200
        assert await service.clients.put(disabled(client, service.clock()))
        for one in (vendor, same):
            answer = await one.search("patient=p1")
            assert answer.status == 401
            assert "disabled" in answer.texts
            assert "WWW-Authenticate" in answer.headers
        assert refused(await ask(service, client)) == (401, "invalid_client", "The client is disabled")
        # Let in again, it needs a new token.
        stopped = await service.clients.client(client.id)
        assert stopped is not None
        assert await service.clients.put(enabled(stopped))
        service.clock.move(seconds=1)
        assert (await vendor.search("patient=p1")).status == 401
        assert (await (await bearer_of(service, client)).search("patient=p1")).status == 200


async def test_keys_are_rotated_with_an_overlap_and_stolen_ones_end_at_once(service: Service) -> None:

    client = await service.register(RSA, scopes=SCOPES)
    before = await bearer_of(service, client)
    new = Credential(keys=keys_of_jwks(orjson.dumps(public(EC))))
    now, clients = service.clock(), service.clients
    assert await clients.put(rotated(client, new, now=now, overlap=timedelta(hours=24)))
    assert (await before.search("patient=p1")).status == 200
    for signer in (RSA, EC):
        assert (await ask(service, client, signer)).status == 200
    service.clock.move(hours=24)
    assert refused(await ask(service, client, RSA))[2] == assertions.NO_KEY
    assert (await ask(service, client, EC)).status == 200
    stolen = await bearer_of(service, client, EC)
    kept = await clients.client(client.id)
    assert kept is not None
    service.clock.move(seconds=1)
    newest = Credential(keys=keys_of_jwks(orjson.dumps(public(key("ec", 1)))))
    assert await clients.put(rotated(kept, newest, now=service.clock(), overlap=timedelta(0)))
    assert (await stolen.search("patient=p1")).status == 401
    assert refused(await ask(service, client, EC))[2] == assertions.NO_KEY
    assert (await ask(service, client, key("ec", 1))).status == 200


async def test_too_many_requests_are_refused_in_oauth_s_form_and_guesses_count(mongodb: str) -> None:
    changed: dict[str, Any] = {"rate_login": "2/minute", "throttle_pause_seconds": 0}
    async with opened_service(mongodb, **changed) as service:
        client = await service.register(RSA)
        for expected in (200, 200, 429):
            answer = await ask(service, client)
            assert answer.status == expected
        assert refused(answer)[:2] == (429, "temporarily_unavailable")
        assert answer.headers["Retry-After"]
        assert answer.headers["Cache-Control"] == "no-store"
    async with opened_service(mongodb, **changed) as service:
        nobody = replace(service, headers={})
        guess, challenge = {HEADER: "dodv_guess"}, {"verification-token": "x", "challenge": "y"}
        statuses = [
            (await nobody.request("POST", "$process-message", body, headers=told)).status
            for body, told in ((report(), guess), (challenge, {}), (report(), guess), (challenge, {}))
        ]
        assert statuses == [401, 401, 429, 429]


async def test_keys_are_rotated_under_load_and_no_request_with_a_good_key_is_refused(
    service: Service, mongodb: str
) -> None:
    audience = "https://dod.example/v2/auth/token"
    rotations, done = 3, asyncio.Event()
    answers: Counter[tuple[str, int]] = Counter()

    async def vendor(
        client: Client, in_use: list[SigningKey], turns: asyncio.Queue[int], replicas: Sequence[Service]
    ) -> None:
        """A client that signs with its newest key, or the one before, and searches with what it gets."""
        turn = 0
        while not done.is_set() or turn < 2:
            turn += 1
            signer = in_use[-1 - turn % 2 % len(in_use)]
            told = claims(service.clock().timestamp(), audience, iss=client.id, sub=client.id)
            granted = await post(replicas[turn % 2], form(assertion(told, signer)))
            answers["token", granted.status] += 1
            assert granted.status == 200, (signer.kid, granted.text)
            bearer = {"Authorization": f"Bearer {granted.body['access_token']}"}
            there = replicas[(turn + 1) % 2]
            found = await replace(there, tenant=service.tenant, headers=bearer).search("patient=p1")
            answers["search", found.status] += 1
            assert found.status == 200, found.text
            turns.put_nowait(turn)

    async def rotating(
        client: Client, number: int, in_use: list[SigningKey], turns: asyncio.Queue[int]
    ) -> None:
        """Several times another key, the one before being good for a day."""
        for turn in range(1, rotations + 1):
            new = key(("rsa", "ec")[turn % 2], 10 * number + turn)
            kept = await service.clients.client(client.id)
            assert kept is not None
            keys = Credential(keys=keys_of_jwks(orjson.dumps(public(new))))
            overlap = timedelta(days=1)
            assert await service.clients.put(rotated(kept, keys, now=service.clock(), overlap=overlap))
            in_use.append(new)
            for _ in range(3):
                await turns.get()

    async with (
        opened_service(mongodb, token_audiences=audience) as here,
        opened_service(mongodb, token_audiences=audience) as there,
    ):
        clients = [await service.register(key("ec", 10 * n), scopes=SCOPES) for n in range(4)]
        in_use = [[key("ec", 10 * n)] for n in range(4)]
        turns = [asyncio.Queue[int]() for _ in clients]
        async with asyncio.TaskGroup() as group:
            for n, client in enumerate(clients):
                group.create_task(vendor(client, in_use[n], turns[n], (here, there)))
            async with asyncio.TaskGroup() as turning:
                for n, client in enumerate(clients):
                    turning.create_task(rotating(client, n, in_use[n], turns[n]))
            done.set()
    assert answers.keys() == {("token", 200), ("search", 200)}


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
        f"{head}.{body}.{signature[:-2]}AA",
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


async def test_keys_are_read_from_the_clients_own_url_and_may_change_there(mongodb: str) -> None:
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
        answer = await ask(guarded, client, EC)
        assert refused(answer) == (401, "invalid_client", "The registered JWKS URL cannot be read")
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
            assert await status(azp="nobody") == 401
            assert await status(azp=own.id) == 401  # It proves itself by keys of its own.


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
