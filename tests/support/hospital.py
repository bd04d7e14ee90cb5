"""A world of `tests/oracle/identity/identities.py` told to the service, and all that it serves then."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar
from urllib.parse import quote

from store.tenancy import SearchScope
from tests.oracle.identity.closure import Served, patient_numbers
from tests.oracle.identity.habits import written
from tests.support.feed import send

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from random import Random

    from tests.oracle.identity.hospital import Sent
    from tests.support.service import Service

Json = dict[str, Any]
T = TypeVar("T")
"""A delivery, in whatever format."""
C = TypeVar("C", bound="Delivered")
Load = "Callable[[Service, Sequence[Json]], Awaitable[None]]"

AGAIN = (409, 503)
"""A source tries again when this is the answer."""
ATTEMPTS = 5


class Delivered(Protocol):
    """A delivery of a message."""

    @property
    def sent(self) -> Sent: ...


class Copy(NamedTuple):
    """Delivery of a message: byte for byte the same as another one, or not."""

    sent: Sent
    bundle: Json


def deliveries(messages: Sequence[Sent], rng: Random) -> list[Copy]:
    """Each message once or more, in random order."""
    found = []
    for one in messages:
        bundle = written(one, rng)
        for n in range(rng.choice((1, 2, 2, 3))):
            # Byte for byte it may only be given the first answer again.
            more = {"id": f"attempt-{n}"} if rng.random() < 0.5 else {}
            found.append(Copy(one, {**bundle, **more}))
    rng.shuffle(found)
    return found


def rounds(copies: Sequence[C]) -> list[list[C]]:
    """The deliveries in order, those last that must not come before others; these come again among them."""
    told: set[int] = set()
    first: list[C] = []
    second: list[C] = []
    kinds = {one.sent.kind for one in copies if one.sent.later}
    for one in copies:
        again = one.sent.kind in kinds and one.sent.minute in told
        (second if one.sent.later or again else first).append(one)
        told.add(one.sent.minute)
    return [one for one in (first, second) if one]


async def tell(
    replicas: tuple[Service, Service], copies: Sequence[Copy], load: Any, *, senders: int
) -> Service:
    """A new tenant to which all of these were sent; AssertionError when one is not acknowledged."""
    tenant = await replicas[0].new_tenant(search_scope=SearchScope.ANY)
    there = tenant, replace(replicas[1], tenant=tenant.tenant, headers=tenant.headers)
    for some in rounds(copies):
        await _tell(there, some, load, senders=senders)
    return tenant


async def _tell(there: tuple[Service, Service], copies: Sequence[Copy], load: Any, *, senders: int) -> None:
    # Every other document is pushed as messages are.
    pushed = [n % 2 == 0 or one.bundle["type"] == "message" for n, one in enumerate(copies)]
    queue = [one.bundle for one, way in zip(copies, pushed, strict=True) if way]
    documents = [one.bundle for one, way in zip(copies, pushed, strict=True) if not way]

    async def sender(service: Service) -> None:
        while queue:
            await _acknowledged(service, queue.pop(0))

    working = [sender(there[number % 2]) for number in range(senders)]
    if senders == 1:
        await working.pop()
    if documents:
        working.append(load(there[0], documents))
    await asyncio.gather(*working)


async def _acknowledged(service: Service, bundle: Json) -> None:
    for _ in range(ATTEMPTS):
        answer = await send(service, bundle)
        if answer.status not in AGAIN:
            break
    assert answer.status == 200, answer.text


async def served(service: Service, messages: Sequence[Sent]) -> Served:
    """Everything, read as a client would: searches with paging, references followed by reads."""
    reports = await _all(service, "DiagnosticReport?_count=4")
    observations = await _all(service, "Observation?_count=50")
    numbers = sorted(patient_numbers(messages))
    found = await asyncio.gather(*(_found_by(service, one) for one in numbers))
    resources = await _reached(service, [*reports, *observations])
    return Served(reports, resources, observations, dict(zip(numbers, found, strict=True)))


async def _found_by(service: Service, number: str) -> list[str]:
    searched = f"DiagnosticReport?_count=100&_elements=id&patient.identifier={quote(number)}"
    return [one["id"] for one in await _all(service, searched)]


async def _all(service: Service, path: str) -> list[Json]:
    first = await service.get(path)
    assert first.status == 200, first.text
    pages = await service.pages(first)
    return [entry["resource"] for page in pages for entry in page.matches]


async def _reached(service: Service, resources: Sequence[Json]) -> dict[str, Json]:
    """Everything that these lead to, and these."""
    found: dict[str, Json] = {f"{one['resourceType']}/{one['id']}": one for one in resources}
    ahead = {reference for one in resources for reference in references(one)} - found.keys()
    while ahead:
        answers = await asyncio.gather(*(service.get(path) for path in ahead))
        read = {
            path: answer.body for path, answer in zip(ahead, answers, strict=True) if answer.status == 200
        }
        tried = ahead | found.keys()
        found |= read
        ahead = {one for resource in read.values() for one in references(resource)} - tried
    return found


def references(value: Any) -> list[str]:
    """All literal references to resources of ours in a resource."""
    if isinstance(value, dict):
        own = value.get("reference")
        mine = [own] if isinstance(own, str) and own.count("/") == 1 and ":" not in own else []
        return mine + [one for inner in value.values() for one in references(inner)]
    return [one for inner in value for one in references(inner)] if isinstance(value, list) else []


def story(copies: Sequence[Copy]) -> str:
    """The deliveries as they were sent, one a line."""
    return "\n".join(f"{one.sent.kind}, minute {one.sent.minute}: {json.dumps(one.bundle)}" for one in copies)


async def smallest(copies: list[T], fails: Callable[[list[T]], Awaitable[bool]]) -> list[T]:
    """As few deliveries as fail still, dropped one after the other."""
    n = 0
    while n < len(copies):
        fewer = [*copies[:n], *copies[n + 1 :]]
        if await fails(fewer):
            copies = fewer
        else:
            n += 1
    return copies
