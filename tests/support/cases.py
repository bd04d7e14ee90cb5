"""Messages of hand-written cases of identity, and what is served of them in one line a report."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar
from urllib.parse import quote

from store.tenancy import SearchScope
from tests.oracle.identity.hospital import moment, number
from tests.support.feed import send
from tests.support.fhir import refers
from tests.support.together import together

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from tests.support.service import Answer, Service

Json = dict[str, Any]
T = TypeVar("T")
"""A message, in whatever format."""

ROOT: Final = "https://lab.example/fhir"
LAB: Final = "urn:made-up:lab"


def mr(value: str, **more: Any) -> Json:
    return number("mr", value, "MR", **more)


def fill(value: str, kind: str | None = "FILL") -> Json:
    return number("fillers", value, kind)


def pat(id: str, *numbers: Json, name: str = "Ann", born: str | None = "1950-01-01", **more: Any) -> Json:
    """A patient; female unless said otherwise."""
    numbered = {"identifier": list(numbers)} if numbers else {}
    dated = {"birthDate": born} if born else {}
    gender = more.pop("gender", "female")
    named = {"name": [{"text": name}], "gender": gender}
    return {"resourceType": "Patient", "id": id, **numbered, **named, **dated, **more}


def obs(id: str, subject: str, code: str, value: str, *numbers: Json, **more: Any) -> Json:
    """A result."""
    numbered = {"identifier": list(numbers)} if numbers else {}
    said = {"status": "final", "code": {"text": code}, "subject": refers(subject), "valueString": value}
    return {"resourceType": "Observation", "id": id, **numbered, **said, **more}


def rep(
    id: str,
    subject: str,
    *numbers: Json,
    code: str = "CBC",
    status: str = "final",
    results: Sequence[str] = (),
    **more: Any,
) -> Json:
    """A report; `results` are references."""
    numbered = {"identifier": list(numbers)} if numbers else {}
    led = {"result": [refers(one) for one in results]} if results else {}
    said = {"status": status, "code": {"text": code}, "subject": refers(subject)}
    return {"resourceType": "DiagnosticReport", "id": id, **numbered, **said, **led, **more}


def at(root: str, resource: Json) -> Json:
    """An entry under another root than usual."""
    return {"fullUrl": f"{root}/{resource['resourceType']}/{resource['id']}", "resource": resource}


def msg(*contents: Json, minute: int, source: str | None = LAB) -> Json:
    """A message Bundle of resources, or of entries as they stand."""
    header = {
        "resourceType": "MessageHeader",
        "id": f"header-{minute}",
        "eventUri": "https://example.org/events/report-created",
        "source": {"name": "Made up", **({"endpoint": source} if source else {})},
    }
    entries = [one if "resource" in one else at(ROOT, one) for one in contents]
    first = {"fullUrl": f"{ROOT}/MessageHeader/header-{minute}", "resource": header}
    return {
        "resourceType": "Bundle",
        "type": "message",
        "timestamp": moment(minute),
        "entry": [first, *entries],
    }


class Case(NamedTuple):
    """Messages in the order in which they come, and what is found then."""

    name: str
    sent: Sequence[Json]
    found: Mapping[str, Sequence[str]]
    """By patient's number (`mr|A`: the system without its prefix) or by query: a line for each report."""
    patients: int | None = None
    """Number of current resources."""
    doubt: int | None = None
    """Number of the message whose reply must say that a doubt made two, or that something moved."""


async def all_of(service: Service, path: str) -> list[Json]:
    answer = await service.get(path)
    assert answer.status == 200, answer.text
    return [entry["resource"] for page in await service.pages(answer) for entry in page.matches]


async def lines(service: Service, asked: str) -> list[str]:
    """The reports that a query or a patient's number finds, each in one line with what it leads to."""
    query = asked if "=" in asked or not asked else f"patient.identifier={quote(f'urn:made-up:{asked}')}"
    return sorted([await line(service, one) for one in await all_of(service, f"DiagnosticReport?{query}")])


async def line(service: Service, report: Json) -> str:
    """`CBC final of Ann: K=6.9, Na=140`, and interpreters, performers, specimens, media, orders as named."""
    patient = await read(service, report["subject"])
    results = [await result(service, one) for one in report.get("result", ())]
    pointers = [
        *report.get("resultsInterpreter", ()),
        *report.get("performer", ()),
        *report.get("specimen", ()),
        *(one["link"] for one in report.get("media", ())),
        *report.get("basedOn", ()),
        *([report["encounter"]] if "encounter" in report else []),
    ]
    more = [text(await read(service, one)) for one in pointers]
    said = f"{text(report)} {report['status']} of {text(patient)}"
    led = f": {', '.join(sorted(results))}" if results else ""
    return said + led + "".join(f" + {one}" for one in more)


async def result(service: Service, reference: Json) -> str:
    """`K=6.9`, with its members in brackets."""
    one = await read(service, reference)
    members = [await result(service, member) for member in one.get("hasMember", ())]
    device = f" on {text(await read(service, one['device']))}" if "device" in one else ""
    inner = f"[{', '.join(sorted(members))}]" if members else ""
    return f"{text(one)}={one.get('valueString', '')}{inner}{device}"


def text(resource: Json) -> str:
    """The words by which a resource of a case is known."""
    match resource["resourceType"]:
        case "Patient" | "Practitioner":
            return str(resource["name"][0]["text"])
        case "Organization" | "Location":
            return str(resource["name"])
        case "DiagnosticReport" | "Observation" | "ServiceRequest":
            return str(resource["code"]["text"])
        case "Media":
            return str(resource["content"]["title"])
        case "Device":
            return str(resource["deviceName"][0]["name"])
        case "Encounter" | "Specimen":
            return str(
                resource["type"]["text"]
                if isinstance(resource["type"], dict)
                else resource["type"][0]["text"]
            )
        case other:
            return str(other)


async def read(service: Service, reference: Json) -> Json:
    """Target of a reference; a name for it when it leads nowhere."""
    where = reference.get("reference")
    if where is None:
        return {"resourceType": f"by {reference.get('identifier', {}).get('value', 'display')}"}
    if ":" in where or where.startswith("#"):
        return {"resourceType": "elsewhere"}
    answer = await service.get(where)
    assert answer.status == 200, f"{where}: {answer.text}"
    found: Json = answer.body
    return found


async def told(service: Service, case: Case) -> list[Answer]:
    """All messages of a case, each acknowledged."""
    answers = []
    for one in case.sent:
        answer = await send(service, one)
        assert answer.status == 200, answer.text
        answers.append(answer)
    return answers


def outcomes(answer: Answer) -> list[str]:
    """Parts of the reply beyond the statuses of its entries."""
    found = [entry["response"].get("outcome") for entry in answer.body["entry"]]
    return [issue["details"]["text"] for one in found if one is not None for issue in one.get("issue", ())]


async def holds(service: Service, case: Case, *, again: bool = True) -> None:
    """AssertionError unless the case comes out as its row says; what is sent twice changes nothing."""
    answers = await told(service, case)
    await _as_said(service, case)
    if case.patients is not None:
        found = len(await all_of(service, "Patient?_count=50"))
        assert found == case.patients, f"{found} patients, wanted {case.patients}"
    if case.doubt is not None:
        assert outcomes(answers[case.doubt]), "the reply says nothing"
    if not again:
        return
    for n, one in enumerate(case.sent):
        assert (await send(service, {**one, "id": f"again-{n}"})).status == 200
    await _as_said(service, case)


async def in_any_order(
    service: Service, sent: Iterable[T], holds_for: Callable[[Service, Sequence[T]], Awaitable[None]]
) -> None:
    """Each order of the messages, at a new tenant each: at the same time, so that they share commands."""

    async def one(order: Sequence[T]) -> None:
        await holds_for(await service.new_tenant(search_scope=SearchScope.ANY), order)

    await together(one(order) for order in permutations(sent))


async def holds_in_any_order(service: Service, case: Case) -> None:
    """AssertionError unless the case comes out as its row says, in whatever order it is sent."""
    again = list(permutations(case.sent))[:2]

    async def one(tenant: Service, order: Sequence[Json]) -> None:
        await holds(tenant, case._replace(sent=order, doubt=None), again=order in again)

    await in_any_order(service, case.sent, one)


async def _as_said(service: Service, case: Case) -> None:
    seen = {asked: await lines(service, asked) for asked in case.found}
    wanted = {asked: sorted(lines) for asked, lines in case.found.items()}
    assert seen == wanted, f"{seen}, wanted {wanted}"
