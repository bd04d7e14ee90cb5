"""Pushes that are refused for their content, and their letters over HTTP."""

from __future__ import annotations

from typing import Any

from prometheus_client import generate_latest

from api.http.app_keys import REGISTRY
from tests.support.fhir import MRN, Json, identified, message, patient, report
from tests.support.service import Answer, Service

SENTINEL = "sentinel-5527"
"""A patient's value: stands in every payload here, and may show in none of the places that are looked at."""


ADMIN = ("dod/admin",)


def wrong(id: str = "r1", **elements: Any) -> Json:
    """A report without the status that R4 demands."""
    faulty = report(id, conclusion=SENTINEL, **elements)
    del faulty["status"]
    return faulty


def wrong_message(**elements: Any) -> Json:
    """A message of a patient and a faulty report."""
    return message(patient("p1", identified(MRN, SENTINEL)), wrong(), **elements)


def right_message(**elements: Any) -> Json:
    return message(patient("p1", identified(MRN, SENTINEL)), report(conclusion=SENTINEL), **elements)


async def admin_of(service: Service) -> Service:
    return await service.with_token(scopes=ADMIN)


async def letters(service: Service, query: str = "") -> list[Json]:
    answer = await (await admin_of(service)).get(f"$dead-letters?{query}")
    assert answer.status == 200, answer.text
    assert SENTINEL not in answer.text
    listed: list[Json] = answer.body["letters"]
    return listed


async def kept(
    service: Service, method: str = "POST", path: str = "$process-message", body: Any = None
) -> str:
    """Push what is refused; the id of its letter."""
    answer = await service.request(method, path, wrong_message() if body is None else body)
    assert 400 <= answer.status < 500, answer.text
    assert SENTINEL not in answer.text
    return answer.headers["Dead-Letter"]


async def replay(service: Service, letter: str) -> Answer:
    return await (await admin_of(service)).request("POST", f"$dead-letters/{letter}/$replay")


def metrics(service: Service) -> str:
    return generate_latest(service._app[REGISTRY]).decode()
