"""Environment variables of an extra run: places of more data and more search cases.

Not `DOD_*`: the service refuses such names when it does not know them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.support.service import exactly

if TYPE_CHECKING:
    from tests.support.service import Answer, Service


def place(name: str) -> Path | None:
    """The path a variable names; None when it is not set."""
    text = os.environ.get(name)
    return Path(text) if text else None


DATA: Final = place("TEST_DATA")
"""A folder of FHIR files."""
CASES: Final = place("TEST_CASES")
"""A file of search cases, one JSON object a line."""


async def push(service: Service, body: bytes) -> tuple[Answer, list[tuple[Any, str]]]:
    """The answer, and each resource that was accepted with where it is now."""
    sent = exactly(body)
    kind = sent.get("type") if sent["resourceType"] == "Bundle" else None
    if kind is None:
        path = f"{sent['resourceType']}/{sent['id']}" if "id" in sent else sent["resourceType"]
        answer = await service.request("PUT" if "id" in sent else "POST", path, data=body)
        where = answer.headers.get("Location", "")
        return answer, [(sent, where)] if where else []
    path = "$process-message" if kind == "message" else ""
    answer = await service.request("POST", path, data=body)
    if answer.status != 200:
        return answer, []
    pairs = zip(sent["entry"], answer.body["entry"], strict=True)
    return answer, [
        (e["resource"], a["response"]["location"]) for e, a in pairs if "location" in a["response"]
    ]
