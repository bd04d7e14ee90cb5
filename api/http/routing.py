"""Rows of the route table: their fields, and how they become aiohttp's routes.

`api.routes` holds the table; the middlewares find the row of a request by its matched route.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Literal

from aiohttp import hdrs, web
from typing_extensions import override

from api.http.browsers import options
from api.http.fhir_json import refuse_unacceptable, refuse_unreadable_body
from api.http.large_bodies import answered
from ingest.http.admission import ADMISSION
from ingest.http.answer_room import ANSWER_ROOM
from ingest.http.app_keys import READS, asker_of
from ingest.http.idempotent import keyed
from ingest.pipeline.validation.validate import UNKEPT

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler

BASE: Final = "/fhir/R4/{organization}/{environment}"
TYPE: Final = "{type:[A-Z][A-Za-z]+}"
ID: Final = r"{id:[A-Za-z0-9\-.]{1,64}}"
"""https://hl7.org/fhir/R4/datatypes.html#id"""
SLASH: Final = "{slash:/?}"
"""A trailing slash is forgiven."""

Role = Literal["all", "query", "ingest", "jobs"]


STREAMED: Final = frozenset({"read-binary", "vread-binary", "changes"})
"""Rows whose answers are sent while they are read, or come when there is something to say."""


class Group(StrEnum):
    """Purpose of a route; a role serves some groups."""

    META = "meta"
    READ = "read"
    SEARCH = "search"
    WRITE = "write"
    ADMIN = "admin"
    """Operations on what was pushed; every row needs one of the service's own scopes."""


ROLES: Final[Mapping[Role, frozenset[Group]]] = {
    "all": frozenset(Group),
    "query": frozenset({Group.META, Group.READ, Group.SEARCH}),
    "ingest": frozenset({Group.META, Group.READ, Group.WRITE, Group.ADMIN}),
    "jobs": frozenset({Group.META}),
}


@dataclass(frozen=True, slots=True)
class Route:
    """Row: an interaction and what it asks of a request."""

    name: str
    """The metric label and the name in logs: a path would carry ids."""
    method: str
    path: str
    handler: Handler
    group: Group
    scope: str = ""
    """Letters of `cruds` needed for the type in the URL, where it names none for some type, or a scope of the
    service's own; none: the handler asks `Principal.may`."""
    open: bool = False
    """Needs no token and gets neither PRINCIPAL nor TENANT."""
    body: frozenset[str] | None = None
    """Media types of the body; None: the handler reads none."""
    negotiates: bool = True
    """Answers FHIR JSON only, so that another `Accept` is 406."""
    destination: bool = False
    """Whether upstream is told to push there: its endpoint verification may come here."""
    creates: bool = False
    """A plain create, which heeds `Idempotency-Key` by itself."""
    once_by_itself: bool = False
    """Whether what is sent again is known by its content, so that an `Idempotency-Key` adds nothing."""
    by_body: bool = False
    """Whether the body names the tenant: there is a PRINCIPAL, and no TENANT before the handler knows it."""
    data_model: bool = False
    """Whether refusals are told in upstream's envelope, `Meta.Errors`, and not as an OperationOutcome."""

    @property
    def is_push(self) -> bool:
        """Whether it writes what its body says."""
        return self.group is Group.WRITE and self.method in ("POST", "PUT", "PATCH")

    @property
    def takes_pushes(self) -> bool:
        """Whether a verification token will do in place of a bearer token."""
        return self.group is Group.WRITE and self.body is not None


Rows = Mapping[web.AbstractRoute, Route]
ROWS: Final[web.AppKey[Rows]] = web.AppKey("rows")
"""The row of each registered route."""


def counted(routes: Iterable[Route], *, role: Role) -> list[tuple[str, str]]:
    """Name and method of each row that this role serves, each once."""
    return list(dict.fromkeys((row.name, row.method) for row in routes if row.group in ROLES[role]))


def install(app: web.Application, routes: Iterable[Route], *, role: Role) -> None:
    """Register the rows that this role serves; the paths of others are there, for 405 with what they take."""
    by_path: dict[str, list[Route]] = defaultdict(list)
    for row in routes:
        by_path[row.path].append(row)
    rows: dict[web.AbstractRoute, Route] = {}
    for path, candidates in by_path.items():
        resource = _Path(path)
        app.router.register_resource(resource)
        resource.add_route(hdrs.METH_OPTIONS, options)
        for row in (row for row in candidates if row.group in ROLES[role]):
            handler = _edge(row)
            rows[resource.add_route(row.method, handler)] = row
            if row.method == hdrs.METH_GET:
                rows[resource.add_route(hdrs.METH_HEAD, handler)] = row
    app[ROWS] = rows


_FIXED: Final = re.compile(r"/(?:\{\w+:([A-Za-z]+)\}|([^/{]+))(?=/|$)")
"""A part of a path that is the same in every request for it, as a variable or as it stands."""

_OF_ITS_OWN: Final = re.compile(rf"/fhir/R4/[^/]+/[^/]+/(?:{'|'.join(sorted(UNKEPT))})(?:/|$)")
"""Path of a type that has interactions of its own alone: those of all types would look for it in vain."""


class _Path(web.DynamicResource):
    """Path of the table. One that is of a single type, or an operation, is out of question at a glance.

    aiohttp tries the paths one after the other, each by a regular expression.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path + SLASH)
        found = _FIXED.search(path.removeprefix(BASE))
        self._fixed = "" if found is None else f"/{found[1] or found[2]}"
        self._is_of_all = path.startswith(f"{BASE}/{TYPE}")

    @override
    async def resolve(self, request: web.Request) -> tuple[web.UrlMappingMatchInfo | None, set[str]]:
        path = request.rel_url.path_safe
        if self._fixed not in path:
            return None, set()
        found, methods = await super().resolve(request)
        if methods and self._is_of_all and _OF_ITS_OWN.match(path) is not None:
            return found if request.method == hdrs.METH_OPTIONS else None, {hdrs.METH_OPTIONS}
        return found, methods


def _edge(row: Route) -> Handler:
    """The row's handler behind the refusals that need no look at the content."""
    pushes = row.is_push
    is_keyed = pushes and not row.once_by_itself
    handler = keyed(row.handler, creates=row.creates) if is_keyed else row.handler
    media_types, negotiates = row.body, row.negotiates
    takes_room = pushes or (row.group is Group.ADMIN and row.body is not None)
    # A document is sent as it is read, and may take long.
    answers = row.group in (Group.READ, Group.SEARCH)
    reads = row.group is Group.READ and row.name not in STREAMED

    async def edge(request: web.Request) -> web.StreamResponse:
        if negotiates:
            refuse_unacceptable(request)
        if media_types is not None:
            refuse_unreadable_body(request, media_types)
        if answers:
            request.app[ANSWER_ROOM].check(asker_of(request))
        if reads:
            async with request.app[READS].turn(asker_of(request)):
                return await handler(request)
        if not takes_room:
            return await handler(request)
        with request.app[ADMISSION].room_for(request):
            return await (answered(request, handler) if pushes else handler(request))

    return edge
