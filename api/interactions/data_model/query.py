"""Queries in upstream's Data Model: `POST /query` with `Results.Query` or `PatientSearch.Query`.

Reports of any origin are found by the searches of FHIR, under the same rules, and read by the tables.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, Final

from api.http.app_keys import REQUEST_ID, SETTINGS
from api.interactions.data_model.entered import in_tenant
from api.interactions.data_model.finding import Found, find, find_named
from api.interactions.data_model.push import json
from api.interactions.data_model.tenants import enter_tenant, meta_of, refuse_test
from ingest.data_model import queries, replies
from ingest.data_model.from_fhir import Reader, outgoing
from ingest.data_model.models import fault, read
from ingest.data_model.people import read_patient
from ingest.http.app_keys import AUDITED, PRINCIPAL, TENANT, base_of
from ingest.http.body import body_of
from ingest.http.parsing import parsed
from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.search.reach import reaches
from store.tenancy import SearchScope

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from aiohttp import web

    from ingest.data_model.models import Meta
    from ingest.data_model.places import Element
    from store.fhir.datatypes import JsonObject

BODY_BYTES_MAX: Final = 1_000_000
_NAMED: Final = frozenset({"Practitioner", "Organization", "Specimen"})
"""Types of what a report's own resources lead to, and no include brings along."""
_OURS: Final = re.compile(r"([A-Z][A-Za-z]+/[A-Za-z0-9.-]{1,64})(?:/_history/[A-Za-z0-9.-]{1,64})?")


async def query(request: web.Request) -> web.StreamResponse:
    """POST /query."""
    body = await body_of(request, most=BODY_BYTES_MAX)
    found = await parsed(request)
    meta = await found.work(meta_of, found.resource)
    await enter_tenant(request, meta)

    async def answer() -> web.StreamResponse:
        if AUDITED in request:
            request[AUDITED].asks(bytes(body))
        refuse_test(request, meta)
        handler = _HANDLERS.get((meta.DataModel or "", meta.EventType or ""))
        if handler is None:
            names = ", ".join(f"`{model}.{event}`" for model, event in _HANDLERS)
            issue = fault(
                "$.Meta.EventType", f"with `DataModel` must be one of {names} here", "not-supported"
            )
            raise ServiceError(Category.INCORRECT, issue)
        return json(await handler(request, meta, found.resource))

    return await in_tenant(request, answer)


async def _results(request: web.Request, meta: Meta, body: JsonObject) -> dict[str, Any]:
    """The answer to `Results.Query`."""
    asked: queries.ResultsQuery = await asyncio.to_thread(read, queries.ResultsQuery, body)
    issues = [*queries.faults(asked)]
    if not asked.Patients and request[TENANT].search_scope is SearchScope.PATIENT:
        rule = "is missing: a query names its patients"
        issues.append(fault("$.Patients", rule, "required"))
    if issues:
        raise ServiceError(Category.INCORRECT, *issues)
    _refuse_without_patients(request)
    found = await _reports(request, asked)
    orders = await _orders(request, found)
    told = replies.envelope(request[REQUEST_ID], model=meta.DataModel, event="QueryResponse")
    return {"Meta": {**told, "IsIncomplete": found.incomplete}, "Orders": orders}


def _refuse_without_patients(request: web.Request) -> None:
    """Raise ServiceError `forbidden` unless the caller may read and search patients, or a part of them."""
    if not reaches(request[PRINCIPAL], "Patient", "rs"):
        text = "An answer shows patients: the token needs `rs` on Patient, such as `system/Patient.rs`."
        raise ServiceError(Category.FORBIDDEN, Issue("forbidden", text))


async def _reports(request: web.Request, asked: queries.ResultsQuery) -> Found:
    most = str(request.app[SETTINGS].query_orders_max)
    pairs = [*queries.report_pairs(asked), ("_count", most)]
    groups: list[list[tuple[str, str]]] = [[]]
    if asked.Patients:
        numbers = {one.ID or "" for each in asked.Patients for one in each.Identifiers}
        spelled = ",".join(queries.escaped(one) for one in sorted(numbers))
        people = (await find(request, "Patient", [("identifier", spelled)])).matches
        known = [one for each in people.values() for one in each.get("identifier", ())]
        groups = queries.patient_groups(asked, known, request[TENANT].tenant.organization)
    pages = [await find(request, "DiagnosticReport", [*group, *pairs]) for group in groups]
    matches = {name: one for page in pages for name, one in page.matches.items()}
    included = {name: one for page in pages for name, one in page.included.items()}
    return Found(matches, included, any(page.incomplete for page in pages))


async def _orders(request: web.Request, found: Found) -> list[Any]:
    known, base = {**found.included, **found.matches}, base_of(request)
    further = [name for one in known.values() for name in _named(one, base) if name not in known]
    known |= await find_named(request, further)
    return await asyncio.to_thread(_read_orders, found.matches.values(), known, base)


def _named(value: Any, base: str) -> Iterator[str]:  # noqa: ANN401 -- JSON
    """Names of people, organizations and specimens that a resource refers to."""
    if isinstance(value, dict):
        for name, below in value.items():
            if name == "reference" and isinstance(below, str):
                own = _ours(below, base)
                if own.partition("/")[0] in _NAMED:
                    yield own
            else:
                yield from _named(below, base)
    elif isinstance(value, list):
        for below in value:
            yield from _named(below, base)


def _ours(reference: str, base: str) -> str:
    """`Type/id` of a reference to a resource of ours; empty: it leads elsewhere, where ids are others."""
    match = _OURS.fullmatch(reference.removeprefix(f"{base}/"))
    return "" if match is None else match[1]


def _read_orders(reports: Iterable[Element], known: Mapping[str, Element], base: str) -> list[Any]:
    return [outgoing(Reader(_Resolver(one, known, base)).order(one)) for one in reports]


class _Resolver:
    """Finds what a report refers to: contained, or among what came along."""

    def __init__(self, report: Element, known: Mapping[str, Element], base: str) -> None:
        self._contained = {f"#{one.get('id')}": one for one in report.get("contained", ())}
        self._known = known
        self._base = base

    def __call__(self, reference: str) -> Element | None:
        """The resource; None: it is not there, or not to be seen."""
        if reference.startswith("#"):
            return self._contained.get(reference)
        return self._known.get(_ours(reference, self._base))


async def _people(request: web.Request, meta: Meta, body: JsonObject) -> dict[str, Any]:
    """The answer to `PatientSearch.Query`: who has all that is said, alone or as one of several."""
    asked: queries.PatientQuery = await asyncio.to_thread(read, queries.PatientQuery, body)
    _refuse_without_patients(request)
    found = await find(request, "Patient", queries.person_pairs(asked))
    said = asked.Patient.model_dump()
    people = [
        outgoing(told)
        for one in found.matches.values()
        if queries.is_the_person(said, told := read_patient(one), one)
    ]
    told = replies.envelope(request[REQUEST_ID], model=meta.DataModel, event="Response")
    alone = people[0] if len(people) == 1 else None
    return {
        "Meta": {**told, "IsIncomplete": found.incomplete},
        "Patient": alone,
        "PotentialMatches": [] if alone else people,
    }


_HANDLERS: Final = {("Results", "Query"): _results, ("PatientSearch", "Query"): _people}
