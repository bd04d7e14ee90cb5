"""Requests for access tokens, and how they are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import orjson

from tests.support.oauth import SigningKey, assertion, claims, form, key
from tests.support.service import FORM, Answer, Service

if TYPE_CHECKING:
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
