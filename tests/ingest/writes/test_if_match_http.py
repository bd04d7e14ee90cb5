"""`If-Match: *`: whatever version is current, but there must be one. As a header and in Bundles."""

from __future__ import annotations

import asyncio
import base64
import json
from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from multidict import CIMultiDict

from store.retention.policy import Policy
from tests.support.fhir import ORDERS, Json, identified, report
from tests.support.service import named

if TYPE_CHECKING:
    from tests.support.service import Answer, Service

PATH = "DiagnosticReport/r1"
WHERE = f"DiagnosticReport?identifier={quote(f'{ORDERS}|A-1', safe='')}"
PATCHES = [{"op": "replace", "path": "/status", "value": "amended"}]
BINARY = {
    "resourceType": "Binary",
    "contentType": "application/json-patch+json",
    "data": base64.b64encode(json.dumps(PATCHES).encode()).decode(),
}


def numbered(**elements: Any) -> Json:
    return report(identifier=[identified(ORDERS, "A-1")], **elements)


BODIES: dict[str, Any] = {"PUT": numbered(status="amended"), "PATCH": BINARY, "DELETE": None}
FORMS = [(method, path) for method in BODIES for path in (PATH, WHERE)]
DONE = {"PUT": 200, "PATCH": 200, "DELETE": 204}


async def direct(service: Service, method: str, path: str) -> int:
    body = PATCHES if method == "PATCH" else BODIES[method]
    media = "application/json-patch+json" if method == "PATCH" else "application/fhir+json"
    answer = await service.request(method, path, body, headers={"If-Match": "*"}, content_type=media)
    return answer.status


async def bundled(service: Service, method: str, path: str, kind: str) -> Answer:
    inner = {} if BODIES[method] is None else {"resource": BODIES[method]}
    entry = {"request": {"method": method, "url": path, "ifMatch": "*"}, **inner}
    return await service.request("POST", "", {"resourceType": "Bundle", "type": kind, "entry": [entry]})


async def in_batch(service: Service, method: str, path: str) -> int:
    [entry] = (await bundled(service, method, path, "batch")).body["entry"]
    return int(entry["response"]["status"][:3])


async def in_transaction(service: Service, method: str, path: str) -> int:
    answer = await bundled(service, method, path, "transaction")
    if answer.status != 200:
        return answer.status
    return int(answer.body["entry"][0]["response"]["status"][:3])


async def never(_: Service) -> None:
    """Nothing was ever there."""


async def deleted(service: Service) -> None:
    await service.load(numbered())
    await service.delete(PATH)


async def expired(service: Service) -> None:
    await service.keeps(Policy(keep_days=1))
    await service.load(numbered())
    service.clock.move(days=2)


async def there(service: Service) -> None:
    await service.load(numbered(), numbered(conclusion="2"))


@pytest.mark.parametrize("ask", [direct, in_batch, in_transaction])
@pytest.mark.parametrize(("method", "path"), FORMS)
@pytest.mark.parametrize("before", [never, deleted, expired, there])
async def test_any_version_will_do_but_there_must_be_one(
    service: Service, ask: Any, method: str, path: str, before: Any
) -> None:
    await before(service)
    status = await ask(service, method, path)
    assert status == (DONE[method] if before is there else 412)
    read = await service.get(PATH)
    if before is there and method != "DELETE":
        assert (read.status, read.headers["ETag"]) == (200, 'W/"3"')
    else:
        assert read.status in (404, 410)


async def test_what_is_said(service: Service) -> None:
    answer = await service.put(report(), if_match="*")
    assert (answer.status, answer.issues) == (412, [("error", "conflict")])
    assert answer.texts == "`If-Match: *` was asked for, and there is no such resource"


async def test_a_list_is_refused_as_one_header_and_as_several(service: Service) -> None:
    """Else the first of several would decide."""
    await service.load(report())
    body, known = report(status="amended"), service.headers.items()
    for fields in (['W/"1", W/"2"'], ['W/"1"', 'W/"2"'], ["*", 'W/"1"']):
        headers = CIMultiDict([*known, *(("If-Match", one) for one in fields)])
        async with service.client.session.put(f"{service.base}/{PATH}", json=body, headers=headers) as answer:
            assert answer.status == 400, fields
            assert "a list is not offered here" in await answer.text()
    assert (await service.get(PATH)).headers["ETag"] == 'W/"1"'


async def test_a_condition_that_is_not_offered_is_not_passed_over(service: Service) -> None:
    await service.load(report())
    headers = {"If-Unmodified-Since": "Sun, 06 Nov 1994 08:49:37 GMT"}
    for method in ("PUT", "DELETE"):
        body = report(status="amended") if method == "PUT" else None
        answer = await service.request(method, PATH, body, headers=headers)
        assert (answer.status, answer.issues) == (400, [("error", "not-supported")]), method
        assert "`If-Match`" in answer.texts
    assert (await service.get(PATH)).headers["ETag"] == 'W/"1"'


@pytest.mark.parametrize("tag", ['W/"0"', 'W/"00"', '"-1"', '* , W/"1"', "**", ""])
async def test_what_is_no_version_is_not_any(service: Service, tag: str) -> None:
    await service.load(report())
    answer = await service.put(report(status="amended"), if_match=tag)
    assert answer.status in (400, 412)
    assert (await service.get(PATH)).headers["ETag"] == 'W/"1"'


async def test_at_once_with_a_deletion(service: Service) -> None:
    """An update that comes after the deletion brings nothing back; patches all take place."""
    for turn in range(5):
        await service.load(report(conclusion=str(turn)))
        gone, *updates = await asyncio.gather(
            service.delete(PATH),
            *(service.put(report(conclusion=f"{turn} {n}"), if_match="*") for n in range(10)),
        )
        assert gone.status == 204
        assert set(Counter(answer.status for answer in updates)) <= {200, 412}
        assert (await service.get(PATH)).status == 410
    await service.load(report(extension=[{"url": "urn:0"}]))
    answers = await asyncio.gather(
        *(
            service.request(
                "PATCH",
                PATH,
                [{"op": "add", "path": "/extension/-", "value": {"url": f"urn:{n}"}}],
                headers=named({"if_match": "*"}),
                content_type="application/json-patch+json",
            )
            for n in range(10)
        )
    )
    assert {answer.status for answer in answers} == {200}
    assert len((await service.get(PATH)).body["extension"]) == 11
