"""The audit over HTTP, for tokens with the scope `dod/audit`: AuditEvents by patient, client and time.

Without the scope the type is as any other: AuditEvents that somebody pushed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import orjson

from api.auth.scopes import AUDIT as SCOPE
from api.http.app_keys import PAGE_SECRET, PRIVACY, SETTINGS
from api.interactions import read as stored
from api.interactions.audit_event import (
    DEEDS,
    INTERACTIONS,
    OPERATION,
    OUR_DEEDS,
    PATTERNS,
    Where,
    audit_event,
)
from api.middleware.authenticate import refuse_unless
from api.search import handlers as searches
from api.search.following import followed
from api.search.links import links
from api.search.page_token import PAGE, SILENT, PageState, bound
from ingest.http.app_keys import AUDITED, CLOCK, LIMITS, PRINCIPAL, TENANT, base_of, origin_of
from ingest.http.replies import fhir_json
from ingest.unique import unique_id
from store.audit.records import AuditPlace, AuditQuery
from store.errors import Category, ServiceError
from store.fhir.instants import SECOND, from_datetime, parse, to_datetime
from store.fhir.issues import Issue
from store.resources.pages import Page
from store.retention.subjects import Subject, read_subject
from store.search.criteria import Position
from store.search.parsing.query_text import pairs_of
from store.search.values.escapes import split, unescape

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from aiohttp import web

    from store.audit.records import AuditRecord
    from store.search.parsing.query_text import Pair

TYPE: Final = "AuditEvent"
_COUNT: Final = re.compile(r"[0-9]{1,9}", re.ASCII)
_PREFIX: Final = re.compile(r"(ge|gt|le|lt|)(.+)", re.DOTALL)
_RECORD: Final = re.compile(r"[0-9a-f]{24}")
"""Form of a record's id."""
PARAMETERS: Final = ("patient", "patient.identifier", "agent:identifier", "subtype", "date", "_count")
_UNKNOWN: Final = f"is no parameter of the audit; {', '.join(f'`{one}`' for one in PARAMETERS)} are"


async def search(request: web.Request) -> web.StreamResponse:
    """GET {base}/AuditEvent?patient=…, and …/_search as an alias."""
    return await _search(request, pairs_of(request.rel_url.raw_query_string))


async def search_post(request: web.Request) -> web.StreamResponse:
    """POST {base}/AuditEvent/_search: the patient's number stands in no URL."""
    return await _search(request, await searches.posted(request))


async def _search(request: web.Request, pairs: Sequence[Pair]) -> web.StreamResponse:
    if SCOPE not in request[PRINCIPAL].own:
        refuse_unless(request[PRINCIPAL], TYPE, "s")
        return await searches.search_pairs(request, pairs)
    state = await _state(request, pairs)
    wanted = await _wanted(request, state)
    page = await request.app[PRIVACY].audit.find(wanted)
    following = None if page.next is None else Position(tuple(page.next))
    base = base_of(request)
    to = links(
        state,
        Page((), None, next=following),
        base=base,
        tenant=bound(wanted.tenant, request[PRINCIPAL]),
        secret=request.app[PAGE_SECRET],
    )
    bundle = {
        "resourceType": "Bundle",
        "id": unique_id(),
        "type": "searchset",
        "link": [{"relation": link.relation, "url": link.url} for link in to],
    }
    entries = list(_entries(page.records, request, wanted.patients))
    return fhir_json(orjson.dumps({**bundle, "entry": entries} if entries else bundle))


async def read(request: web.Request) -> web.StreamResponse:
    """GET {base}/AuditEvent/{id}."""
    if SCOPE not in request[PRINCIPAL].own:
        refuse_unless(request[PRINCIPAL], TYPE, "r")
        return await stored.read(request)
    record = await request.app[PRIVACY].audit.get(request[TENANT].tenant, request.match_info["id"])
    if record is None:
        raise ServiceError(Category.NOT_FOUND, Issue("not-found", "there is no such record"))
    return fhir_json(orjson.dumps(audit_event(record, _where(request))))


def _where(request: web.Request) -> Where:
    return Where(base_of(request), origin_of(request))


def _entries(
    records: Sequence[AuditRecord], request: web.Request, names: frozenset[str] | None
) -> Iterator[dict[str, Any]]:
    where = _where(request)
    for record in records:
        # Who else a record is about is not told where one patient is asked for.
        told = None if names is None else [one for one in record.patients if one in names]
        yield {
            "fullUrl": f"{where.base}/{TYPE}/{record.id}",
            "resource": audit_event(record, where, patients=told),
            "search": {"mode": "match"},
        }


async def _state(request: web.Request, sent: Sequence[Pair]) -> PageState:
    """The parameters as a link holds them: of a first page, or of the one that a link leads to."""
    app = request.app
    pairs = [pair for pair in sent if pair[0] not in SILENT]
    now = from_datetime(app[CLOCK]()).start
    state = await followed(request, pairs, of=TYPE)
    until = now // SECOND + app[SETTINGS].page_token_seconds
    return state or PageState(TYPE, tuple(pairs), now, until)


async def _wanted(request: web.Request, state: PageState) -> AuditQuery:
    """The conditions. Raises ServiceError `incorrect` with every issue: what is unknown would widen them."""
    limits = request.app[LIMITS]
    wanted = AuditQuery(request[TENANT].tenant, most=limits.count_default)
    if state.position is not None:
        wanted = wanted._replace(after=_place(state.position))
    issues: list[Issue] = []
    subject: Subject | None = None
    for name, value in state.pairs:
        try:
            if name in ("patient", "patient.identifier"):
                subject = _subject(name, value)
            else:
                wanted = _read(wanted, name, value, limits.count_max)
        except (ValueError, ServiceError):
            known = name in PARAMETERS
            text = f"`{name}`: is not understood" if known else f"`{name[:40]}`: {_UNKNOWN}"
            issues.append(Issue("invalid", text, (name[:40],)))
    asked = [name for name, _ in state.pairs if name in PARAMETERS and name != "date"]
    asked = ["patient" if name == "patient.identifier" else name for name in asked]
    twice = dict.fromkeys(name for name in asked if asked.count(name) > 1)
    issues += [Issue("invalid", f"`{name}`: may be given once", (name,)) for name in twice]
    if issues:
        raise ServiceError(Category.INCORRECT, *issues)
    if subject is not None:
        if AUDITED in request:
            request[AUDITED].about([subject.name])
        names = await request.app[PRIVACY].names.known_as(wanted.tenant, subject)
        wanted = wanted._replace(patients=names)
    return wanted


def _place(position: Position) -> AuditPlace:
    """Place that a link leads to. Raises ServiceError for a link of AuditEvents that were pushed."""
    match position.values:
        case (int(at), str(id)) if _RECORD.fullmatch(id):
            return AuditPlace(at, id)
    issue = Issue("not-found", "this page link is not one of the audit", (PAGE,))
    raise ServiceError(Category.NOT_FOUND, issue)


def _subject(name: str, value: str) -> Subject:
    if name == "patient":
        return read_subject(value if value.startswith("Patient/") else f"Patient/{value}")
    return read_subject(value)


def _read(wanted: AuditQuery, name: str, value: str, most: int) -> AuditQuery:
    match name:
        case "agent:identifier" if value.removeprefix("|"):
            return wanted._replace(by=value.removeprefix("|"))  # It has no system.
        case "subtype":
            return done(wanted, value)
        case "_count" if _COUNT.fullmatch(value):
            return wanted._replace(most=max(1, min(int(value), most)))
        case "date":
            return bounded(wanted, value)
        case _:
            raise ValueError(name)


def done(wanted: AuditQuery, text: str) -> AuditQuery:
    """The conditions for any of these subtypes: codes as AuditEvents show them, or names of `dod audit`.

    Raises ValueError.
    """
    names: set[str] = set()
    beside = None
    for one in split(text, ","):
        system, bar, code = (unescape(part) for part in one.rpartition("|"))
        if not code or (bar and system not in (INTERACTIONS, OUR_DEEDS)):
            raise ValueError(text)
        if system != OUR_DEEDS:
            names |= {name for name, pattern in PATTERNS.items() if pattern.subtype == code}
            if code == OPERATION:  # Every route without a pattern of its own is one.
                beside = frozenset((*PATTERNS, *DEEDS))
        if system != INTERACTIONS:
            names |= {code, *(deed for deed in DEEDS if deed.replace(" ", "-") == code)}
    return wanted._replace(dids=frozenset(names), beside=beside)


def bounded(wanted: AuditQuery, text: str) -> AuditQuery:
    """The conditions within a date, with the prefix ge, gt, le or lt, or none, and within those before it.

    Raises ValueError.
    """
    found = _PREFIX.fullmatch(text)
    if found is None:
        raise ValueError(text)
    prefix, moment = found[1], parse(found[2])
    since, until = to_datetime(moment.start), to_datetime(moment.end)
    first = {"ge": since, "gt": until, "": since}.get(prefix)
    last = {"lt": since, "le": until, "": until}.get(prefix)
    return wanted._replace(
        since=max(filter(None, (wanted.since, first)), default=None),
        until=min(filter(None, (wanted.until, last)), default=None),
    )
