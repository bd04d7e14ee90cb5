"""Upstream's endpoint verification over HTTP, and what its token allows afterwards."""

from __future__ import annotations

import gzip
import json
from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import generate_latest

from api.commands.access.verification import put_token, remove_tokens, state_rows
from api.http.app_keys import REGISTRY
from store.errors import StartupError
from store.tenancy import Tenant
from tests.support.fhir import Json, batch, message, patient, report
from tests.support.lines import logged
from tests.support.service import Answer, Service, opened_service

TOKEN = "made-up-verification-token-1"
OTHER = "made-up-verification-token-2"
CHALLENGE = "2e73f864-1f5a-4c44-9d58-0d5b0b6d3b7b"
APPLICATION_JSON = "application/json"
DESTINATIONS = (
    "",
    "$process-message",
    "DiagnosticReport/$diagnosticreport-create",
    "DiagnosticReport/$diagnosticreport-amend",
    "DiagnosticReport/$write",
    "Observation/$observation-create",
)


@pytest.fixture
def service(own_service: Service) -> Service:
    """A service of its own: its counts start at nothing."""
    return own_service


async def given(service: Service, token: str = TOKEN, *, overlap: timedelta | None = None) -> Service:
    """The tenant gets this token; the service as seen without any credential."""
    await put_token(service.access, service.tenant, given=token, now=service.clock(), overlap=overlap)
    return Service(service.client, service.clock, service.tenant)


async def challenged(service: Service, body: Any, path: str = "", **headers: str) -> Answer:
    headers = {"Application-Name": "RedoxEngine", **headers}
    return await service.request("POST", path, body, headers=headers, content_type=APPLICATION_JSON)


def asked(token: Any = TOKEN, challenge: Any = CHALLENGE) -> Json:
    return {"verification-token": token, "challenge": challenge}


def echoed(answer: Answer) -> bool:
    if answer.status != 200:
        assert CHALLENGE not in answer.text
        assert answer.headers["Content-Type"].startswith("application/fhir+json")
        return False
    assert answer.text == CHALLENGE
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    return True


def counted(service: Service, at: str, outcome: str) -> float:
    value = service._app[REGISTRY].get_sample_value("dod_verifications_total", {"at": at, "outcome": outcome})
    return value or 0.0


# --- the challenge


@pytest.mark.parametrize("path", DESTINATIONS)
async def test_a_challenge_is_answered_to_who_knows_the_token(service: Service, path: str) -> None:
    nobody = await given(service)
    assert echoed(await challenged(nobody, asked(), path))
    assert echoed(await nobody.get(f"{path}?challenge={CHALLENGE}&verification-token={TOKEN}"))
    refused = [
        await challenged(nobody, asked(OTHER), path),
        await nobody.get(f"{path}?challenge={CHALLENGE}&verification-token={OTHER}"),
    ]
    assert [answer.status for answer in refused] == [401, 401]
    assert not any(map(echoed, refused))
    assert (counted(service, "challenge", "accepted"), counted(service, "challenge", "refused")) == (2, 2)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (asked("x"), 401),
        (asked(""), 401),
        (asked(7), 401),
        ({"challenge": CHALLENGE}, 401),
        ({**asked(), "resourceType": "Bundle"}, 401),
        ([asked()], 401),
        (asked(challenge="<b>"), 400),
        (asked(challenge=""), 400),
        ({**asked(), "more": "x" * 4_096}, 401),
        ({**asked(), "more": "x"}, 200),
    ],
)
async def test_what_is_a_challenge(shared: Service, body: Any, status: int) -> None:
    answer = await challenged(await given(shared), body)
    assert answer.status == status, answer.text
    assert echoed(answer) is (status == 200)


async def test_a_challenge_beside_any_credential_is_a_challenge(service: Service) -> None:
    nobody = await given(service)
    for headers in ({"Authorization": "Bearer x"}, service.headers, {"verification-token": TOKEN}):
        assert echoed(await challenged(nobody, asked(), **dict(headers)))


async def test_a_compressed_body_is_not_looked_at_before_its_sender_is_known(service: Service) -> None:
    nobody = await given(service)
    body = gzip.compress(json.dumps(asked()).encode())
    answer = await nobody.request("POST", "", data=body, headers={"Content-Encoding": "gzip"})
    assert answer.status == 401


@pytest.mark.parametrize("query", ["", "?challenge=x", f"?verification-token={TOKEN}"])
async def test_a_get_without_both_is_400(shared: Service, query: str) -> None:
    answer = await (await given(shared)).get(query)
    assert (answer.status, answer.issues) == (400, [("error", "required")])


async def test_elsewhere_a_challenge_is_nothing(service: Service) -> None:
    nobody = await given(service)
    assert (await challenged(nobody, asked(), "DiagnosticReport")).status == 401
    assert (await nobody.get(f"DiagnosticReport?challenge=x&verification-token={TOKEN}")).status == 401


async def test_a_tenant_without_token_answers_no_challenge_nor_one_that_does_not_exist(
    service: Service,
) -> None:
    for tenant in (service.tenant, Tenant("nowhere", "Production")):
        nobody = Service(service.client, service.clock, tenant)
        assert (await challenged(nobody, asked())).status == 401
        assert (await nobody.get(f"?challenge={CHALLENGE}&verification-token={TOKEN}")).status == 401


# --- the token with a push


PUSHES: list[tuple[str, str, Any]] = [
    ("POST", "$process-message", message(patient("p1"), report())),
    ("POST", "DiagnosticReport/$diagnosticreport-create", message(patient("p1"), report())),
    ("POST", "DiagnosticReport", report()),
    ("PUT", "DiagnosticReport/r1", report()),
    ("POST", "", batch(("PUT", "Patient/p1", patient()))),
]
OTHERS: list[tuple[str, str, Any]] = [
    ("GET", "DiagnosticReport/r1", None),
    ("GET", "DiagnosticReport/r1/_history/1", None),
    ("GET", "DiagnosticReport?patient=p1", None),
    ("GET", "DiagnosticReport/_search?patient=p1", None),
    ("GET", "Patient/p1/DiagnosticReport", None),
    ("DELETE", "DiagnosticReport/r1", None),
    ("GET", "$dead-letters", None),
    ("PUT", "$dead-letters/00000000-0000-0000-0000-000000000000", report()),
]


@pytest.mark.parametrize(("method", "path", "body"), PUSHES)
async def test_the_token_does_for_pushes(shared: Service, method: str, path: str, body: Any) -> None:
    nobody = await given(shared)
    upstream = {"verification-token": TOKEN, "Authorization": f"Bearer {TOKEN}"}
    for headers in ({"verification-token": TOKEN}, upstream):
        assert (await nobody.request(method, path, body, headers=headers)).status in (200, 201)


@pytest.mark.parametrize(("method", "path", "body"), PUSHES)
async def test_a_wrong_token_stores_nothing(service: Service, method: str, path: str, body: Any) -> None:
    nobody = await given(service)
    good_bearer = {**service.headers, "verification-token": OTHER}
    for headers in ({"verification-token": OTHER}, {}, {"Authorization": f"Bearer {TOKEN}"}, good_bearer):
        answer = await nobody.request(method, path, body, headers=headers)
        assert (answer.status, answer.issues) == (401, [("error", "login")])
    assert (await service.search("patient=p1")).ids == []
    assert (await service.get("Patient/p1")).status == 404
    assert counted(service, "push", "refused") == 2


@pytest.mark.parametrize(("method", "path", "body"), OTHERS)
async def test_the_token_does_for_nothing_else(shared: Service, method: str, path: str, body: Any) -> None:
    await shared.put(report())
    nobody = await given(shared)
    for headers in (
        {"verification-token": TOKEN},
        {"verification-token": TOKEN, "Authorization": f"Bearer {TOKEN}"},
    ):
        assert (await nobody.request(method, path, body, headers=headers)).status == 401
    assert (await shared.get("DiagnosticReport/r1")).status == 200


async def test_a_form_search_does_not_take_it(service: Service) -> None:
    nobody = await given(service)
    assert (await nobody.post_search("patient=p1", verification_token=TOKEN)).status == 401


async def test_reads_and_deletions_hidden_in_a_batch_are_refused(service: Service) -> None:
    await service.put(report())
    nobody = await given(service)
    bundle = batch(("GET", "DiagnosticReport/r1", None), ("DELETE", "DiagnosticReport/r1", None))
    answer = await nobody.request("POST", "", bundle, headers={"verification-token": TOKEN})
    assert [entry["response"]["status"] for entry in answer.body["entry"]] == ["403", "403"]
    assert (await service.get("DiagnosticReport/r1")).status == 200


async def test_the_token_is_of_one_tenant(service: Service) -> None:
    await given(service)
    other = await service.new_tenant()
    await given(other, OTHER)
    nobody = Service(service.client, service.clock, other.tenant)
    assert (await nobody.create(report(), verification_token=TOKEN)).status == 401
    assert (await nobody.create(report(), verification_token=OTHER)).status == 201


async def test_a_tenant_without_token_does_not_look_at_the_header(service: Service) -> None:
    assert (await service.create(report(), verification_token="anything")).status == 201
    nobody = Service(service.client, service.clock, service.tenant)
    assert (await nobody.create(report(), verification_token="anything")).status == 401


async def test_a_bearer_token_of_ours_says_who_pushes_and_what_it_may(service: Service) -> None:
    await given(service)
    narrow = await service.with_token(scopes=["system/Patient.cu"])
    assert (await narrow.create(patient(), verification_token=TOKEN)).status == 201
    assert (await narrow.create(report(), verification_token=TOKEN)).status == 403


async def test_rotation_with_overlap(service: Service) -> None:
    nobody = await given(service)
    service.clock.move(hours=1)
    await given(service, OTHER, overlap=timedelta(hours=24))

    async def accepted() -> list[bool]:
        answers = [await nobody.create(report(), verification_token=token) for token in (TOKEN, OTHER)]
        challenges = [echoed(await challenged(nobody, asked(token))) for token in (TOKEN, OTHER)]
        assert [answer.status == 201 for answer in answers] == challenges
        return challenges

    assert await accepted() == [True, True]
    service.clock.move(hours=24)
    assert await accepted() == [False, True]
    third = "made-up-verification-token-3"
    await given(service, third, overlap=timedelta(hours=1))
    rows = await state_rows(service.access, service.tenant, now=service.clock())
    assert [row[-1] for row in rows] == ["STATE", "current", "overlap"]
    assert await accepted() == [False, True]
    await given(service, third)
    assert await accepted() == [False, False]
    await remove_tokens(service.access, service.tenant)
    assert (await nobody.create(report(), verification_token=third)).status == 401


async def test_a_token_rotated_to_itself_stays_current(service: Service) -> None:
    nobody = await given(service)
    await given(service, TOKEN, overlap=timedelta(hours=1))
    service.clock.move(hours=2)
    assert (await nobody.create(report(), verification_token=TOKEN)).status == 201


@pytest.mark.parametrize("token", ["short", "x" * 15, "with blank in the middle", "x" * 257, "ü" * 20])
async def test_a_token_that_could_be_guessed_or_not_be_sent_is_refused(shared: Service, token: str) -> None:
    with pytest.raises(StartupError, match="16 to 256"):
        await given(shared, token)
    assert await shared.access.verification(shared.tenant) == ()


async def test_two_who_rotate_at_once_do_not_lose_one_another(service: Service) -> None:
    before = await service.access.verification(service.tenant)
    await given(service)
    tokens = await service.access.verification(service.tenant)
    assert not await service.access.put_verification(service.tenant, (), instead_of=before)
    assert await service.access.verification(service.tenant) == tokens


async def test_a_refused_push_names_the_token_in_its_letter(service: Service) -> None:
    nobody = await given(service)
    refused = await nobody.request(
        "POST", "$process-message", report(), headers={"verification-token": TOKEN}
    )
    assert refused.status == 422
    admin = await service.with_token(scopes=["dod/admin"])
    [letter] = (await admin.get("$dead-letters")).body["letters"]
    [current] = await service.access.verification(service.tenant)
    assert (letter["client"], letter["token"]) == (
        "verification-token",
        f"verification {current.digest[:12]}",
    )


async def test_the_role_that_takes_no_pushes_takes_no_challenge(mongodb: str) -> None:
    async with opened_service(mongodb, role="query") as service:
        nobody = await given(service)
        assert (await challenged(nobody, asked())).status == 405
        assert (await nobody.get(f"?challenge={CHALLENGE}&verification-token={TOKEN}")).status == 405


async def test_tokens_and_challenges_are_neither_logged_nor_kept(service: Service) -> None:
    with logged() as lines:
        nobody = await given(service)
        await challenged(nobody, asked())
        await challenged(nobody, asked(OTHER))
        await nobody.get(f"?challenge={CHALLENGE}&verification-token={TOKEN}")
        await nobody.create(report(), verification_token=TOKEN)
        await nobody.create(report(), verification_token=OTHER)
    seen = b"\n".join(lines.raw).decode() + generate_latest(service._app[REGISTRY]).decode()
    for secret in (TOKEN, OTHER, CHALLENGE):
        assert secret not in seen
        assert secret not in str(await service.access.verification(service.tenant))


@pytest.mark.parametrize("path", DESTINATIONS)
async def test_a_stranger_does_not_learn_whether_the_tenant_has_a_token(shared: Service, path: str) -> None:
    """Nor does a client of another tenant."""
    other = await shared.new_tenant()
    await given(other)
    told = []
    for tenant in (shared, other):
        guess = {"verification-token": "made-up-guess-of-a-stranger"}
        foreign = {**guess, "Authorization": (shared if tenant is other else other).headers["Authorization"]}
        for headers in (guess, foreign):
            answer = await Service(shared.client, shared.clock, tenant.tenant).request(
                "POST", path, message(patient("p1"), report()), headers=headers
            )
            named = {name for name in answer.headers if name not in ("X-Request-Id", "Date")}
            told.append((answer.status, answer.text, named))
    assert told[0] == told[2]
    assert told[1] == told[3]
    assert [status for status, _, _ in told] == [401, 403, 401, 403]
