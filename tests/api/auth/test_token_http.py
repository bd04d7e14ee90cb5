"""`POST /v2/auth/token` as stock OAuth clients and as strangers call it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import orjson
import pytest
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from joserfc.jwk import OctKey

from api.auth import assertions
from api.auth.public_keys import keys_of_jwks
from api.auth.refusal import Reason
from api.auth.verification import HEADER
from api.commands.access.clients import Credential, disabled, enabled, rotated
from api.http.app_keys import REGISTRY
from api.interactions.token import NO_SCOPE
from api.metrics import TOKEN_REASONS
from tests.api.auth.asking import EC, RSA, SCOPES, ask, bearer_of, post, refused, url_of
from tests.support.fhir import patient, report
from tests.support.lines import logged
from tests.support.oauth import SigningKey, assertion, claims, form, key, public
from tests.support.service import FORM, RunningClock, Service, opened_service

if TYPE_CHECKING:
    from collections.abc import Sequence

    from store.clients import Client


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
        (form(made(key("rsa", 2))), no_key),
        (form(made(EC)), no_key),
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


async def test_strangers_cannot_tell_who_is_a_client(mongodb: str) -> None:
    """A request that proves nothing gets one answer; the reason is in the log and the metrics."""
    async with opened_service(mongodb, jwks_networks="") as service:
        known = await service.register(RSA, scopes=SCOPES)
        publishing = await service.register(scopes=SCOPES, jwks_url="https://127.0.0.1:9/jwks")
        outside = await service.register(scopes=SCOPES, id=f"x-{known.id}", external=True)
        await service.clients.put(disabled(await service.register(EC, scopes=SCOPES), service.clock()))
        assert tuple(Reason) == TOKEN_REASONS
        stranger, registry = key("rsa", 3), service._app[REGISTRY]
        for client_id, signer, changed, reason in (
            ("nobody", stranger, {}, "no-client"),
            (outside.id, stranger, {}, "no-client"),
            (known.id, stranger, {}, "no-key"),
            (known.id, stranger, {"kid": RSA.kid}, "signature"),
            (known.id, EC, {"kid": RSA.kid}, "algorithm"),
            (known.id, RSA, {"jku": "https://evil.example/jwks"}, "no-key"),
            (publishing.id, stranger, {}, "key-set"),
        ):
            told = claims(service.clock().timestamp(), url_of(service), iss=client_id, sub=client_id)
            before = registry.get_sample_value("dod_token_refusals_total", {"reason": reason})
            with logged() as lines:
                answer = await post(service, form(assertion(told, signer, **changed)))
            assert refused(answer) == (401, "invalid_client", assertions.NO_KEY), reason
            line = next(one for one in lines.parsed if one["message"] == "access token refused")
            after = registry.get_sample_value("dod_token_refusals_total", {"reason": reason})
            assert (line["reason"], after) == (reason, (before or 0) + 1)
            assert line["client"] == (None if client_id == "nobody" else client_id)


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
