"""Conditions of a transaction hold when it takes effect: whoever is meant is looked up again when somebody
changed who that is.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest

from ingest.writes import filing
from store.tenancy import SearchScope
from tests.support.fhir import MRN, Json, batch, identified, patient, refers, report

if TYPE_CHECKING:
    from tests.support.service import Service

WANTED = f"Patient?identifier={MRN}|1"


def named(id: str | None, number: str, family: str) -> Json:
    """A patient with this number; without an id when None."""
    made = patient("x", identified(MRN, number), name=[{"family": family}])
    return {name: value for name, value in made.items() if name != "id"} if id is None else {**made, "id": id}


def transaction(*requests: tuple[str, str, Json | None], **elements: Any) -> Json:
    return {**batch(*requests, **elements), "type": "transaction"}


def created(resource: Json) -> Json:
    return {name: value for name, value in resource.items() if name != "id"}


OF_ANNA = created(report("r", None, subject=refers(WANTED)))
MEANT: dict[str, Json] = {
    "a reference by a condition": transaction(("POST", "DiagnosticReport", OF_ANNA)),
    "a create that finds her": {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {
                "fullUrl": "urn:uuid:0f8fad5b-d9cb-469f-a165-70867728950e",
                "resource": named(None, "1", "Anna"),
                "request": {"method": "POST", "url": "Patient", "ifNoneExist": f"identifier={MRN}|1"},
            },
            {
                "resource": created(
                    report("r", None, subject=refers("urn:uuid:0f8fad5b-d9cb-469f-a165-70867728950e"))
                ),
                "request": {"method": "POST", "url": "DiagnosticReport"},
            },
        ],
    },
    "an update": transaction(("PUT", WANTED, named(None, "1", "Anna, corrected"))),
    "a deletion": transaction(("DELETE", WANTED, None)),
}


@pytest.mark.parametrize("sent", MEANT.values(), ids=MEANT.keys())
async def test_who_is_meant_may_change_while_it_is_looked_up(service: Service, sent: Json) -> None:
    await service.load(named("a", "1", "Anna"))
    first, changed = filing.file_first, list[bool]()

    async def meanwhile(*arguments: Any, **more: Any) -> None:
        if not changed:
            changed.append(True)
            # The record was Bert's all along, and Anna gets one of her own.
            await service.load(named("a", "2", "Bert"), named("b", "1", "Anna"))
        await first(*arguments, **more)

    with patch("ingest.bundles.transaction.filing.file_first", meanwhile):
        answer = await service.request("POST", "", sent)
    assert (answer.status, changed) == (200, [True]), answer.text
    bert = (await service.get("Patient/a")).body
    assert (bert["identifier"][0]["value"], bert["name"][0]["family"]) == ("2", "Bert")
    reports = [
        (await service.get(entry["response"]["location"].partition("/Development/")[2])).body
        for entry in answer.body["entry"]
        if "DiagnosticReport" in entry["response"].get("location", "")
    ]
    assert all(one["subject"]["reference"] == "Patient/b" for one in reports)
    assert len(reports) == ("DiagnosticReport" in str(sent))


async def test_who_is_meant_may_change_while_a_load_looks_it_up(service: Service, load: Any) -> None:
    """Over HTTP the memory of the request has fixed the moment; a load has none."""
    lab = await service.new_tenant(search_scope=SearchScope.ANY)
    await lab.load(named("a", "1", "Anna"))
    first, changed, here = filing.file_first, list[bool](), asyncio.get_running_loop()

    async def meanwhile(*arguments: Any, **more: Any) -> None:
        if not changed:
            changed.append(True)
            other = lab.load(named("a", "2", "Bert"), named("b", "1", "Anna"))
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(other, here))
        await first(*arguments, **more)

    with patch("ingest.bundles.transaction.filing.file_first", meanwhile):
        await load(lab, [transaction(("POST", "DiagnosticReport", OF_ANNA))])
    [there] = (await lab.search("_count=9")).matches
    assert (changed, there["resource"]["subject"]["reference"]) == ([True], "Patient/b")
