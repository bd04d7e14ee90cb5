"""Command `dod search`, without the command line around it: the story of `api.search.answer`, printed.

The operator has the database in hand, so the patient scope rule does not bind here
(`DECISIONS.md#scope-of-the-command-line`). The aim of the rule stays: handling is strict, and a parameter
without a value is refused, so that a typo or an unset shell variable never widens a search to everyone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from api.app import limits_of
from api.commands.access.tenants import existing_tenant
from api.commands.terminal import user
from api.search.answer import Asker, ask, begin, bundle, following
from api.search.explanation import facts
from api.search.on_record import found_in
from api.search.table import lines, row_of
from ingest.http.app_keys import base_under
from store.audit.patients import asked_for
from store.audit.records import PATIENTS_MAX, AuditRecord, Deed
from store.errors import Category, ServiceError
from store.fhir.instants import from_datetime
from store.near import unknown_type
from store.search.parameters import TYPES
from store.search.parsing.context import SearchContext, shown
from store.search.parsing.query_text import pairs_of
from store.search.reach import Everything

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from datetime import datetime

    from api.search.answer import Answer, Search
    from api.settings.service import Settings
    from store.resources.pages import Page
    from store.search.parsing.query_text import Pair
    from store.stores import Stores
    from store.tenancy import Tenant


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """Order of the command line."""

    tenant: Tenant
    type: str
    pairs: Sequence[Pair]
    json: bool = False
    explain: bool = False
    all_pages: bool = False
    width: int | None = None
    """Width of the terminal; None: lines are not cut."""


def read_query(arguments: Sequence[str], *, count: int | None = None) -> list[Pair]:
    """The pairs of `name=value&…` in one or several arguments. Raises ServiceError or ValueError.

    `%26` and the like are decoded; `+` stays what it is, for in a shell it is the sign of an offset.
    """
    pairs = pairs_of("&".join(arguments).replace("+", "%2B"))
    for part in "&".join(arguments).split("&"):
        if part and "=" not in part:
            raise ValueError("a parameter is `name=value`; write `%26` for an ampersand within a value")
    empty = [shown(name) for name, value in pairs if not value.strip(",")]
    if empty:
        raise ValueError(f"`{empty[0]}` has no value: is a shell variable unset?")
    if any(name.partition("?")[0] in TYPES and "?" in name for name, _ in pairs):
        raise ValueError(
            "the type is named by `--type`, the query alone stands here: `--type Patient 'name=…'`"
        )
    return [*pairs, *([("_count", str(count))] if count is not None else [])]


async def search(
    stores: Stores, settings: Settings, request: SearchRequest, *, now: datetime, say: Callable[[str], None]
) -> None:
    """Answer the request, line by line. Raises ServiceError or StartupError when it is refused."""
    await existing_tenant(stores.access, request.tenant)
    if request.type not in TYPES:
        raise ServiceError(Category.NOT_FOUND, unknown_type(request.type, TYPES))
    base = base_under(origin_of(settings), str(request.tenant))
    context = SearchContext(limits_of(settings), base, from_datetime(now).start, strict=True)
    first = begin(request.type, request.pairs, context, link_seconds=settings.page_token_seconds)
    sent = urlencode(request.pairs).encode()
    named = asked_for(first.query)
    did = Deed.SEARCHED.value
    record = AuditRecord(request.tenant, now, user(), did, patients=named, resource=request.type, query=sent)
    await stores.privacy.audit.note(record)
    if request.explain and not request.json:
        explanation = await stores.resources.explain(request.tenant, first.query)
        for name, fact in facts(explanation):
            say(f"{name}: {fact}")
        return
    secret = await stores.access.secret("page links")
    asker = Asker(stores.resources, request.tenant, base, secret, Everything(), request.explain)
    known = set(named)

    async def told(page: Page) -> None:
        """Put the patients on record that a page shows and the query did not name, before it is shown."""
        found = tuple(dict.fromkeys(one for one in found_in(page) if one not in known))
        known.update(found)
        if found:
            await stores.privacy.audit.note(record._replace(patients=found[:PATIENTS_MAX]))

    answers = _answers(asker, first, all_pages=request.all_pages, told=told)
    if request.json:
        async for answer in answers:
            say(bundle(asker, answer).decode())
    else:
        await _tabulate(answers, width=request.width, say=say)


def origin_of(settings: Settings) -> str:
    """Address at which clients find the service, as far as its settings tell."""
    return settings.base_url or f"http://{settings.host}:{settings.port}"


async def _answers(
    asker: Asker, first: Search, *, all_pages: bool, told: Callable[[Page], Awaitable[None]]
) -> AsyncIterator[Answer]:
    search: Search | None = first
    while search is not None:
        answer = await ask(asker, search)
        await told(answer.page)
        yield answer
        search = following(answer) if all_pages else None


async def _tabulate(answers: AsyncIterator[Answer], *, width: int | None, say: Callable[[str], None]) -> None:
    """Print pages as one table, each as it comes, so that a long answer is not held; the total below."""
    number, included, last = 0, 0, None
    async for answer in answers:
        rows = [row_of(entry) for entry in answer.page.entries]
        for line in lines(rows, width=width, head=not number) if rows else ():
            say(line)
        number, included, last = number + len(rows), included + len(answer.page.included), answer.page
    if last is not None:
        say(_total(number, included=included, total=last.total, more=last.next is not None))


def _total(number: int, *, included: int, total: int | None, more: bool) -> str:
    """The line below the table."""
    if not more and (total is None or total <= number):
        said = "1 match" if number == 1 else f"{number:,} matches"
    elif total is not None:
        said = f"{number:,} of {total:,} matches" + ("; --all shows the others" if more else "")
    else:
        said = f"{number:,} matches and more, not counted; --all shows them, `_total=accurate` counts them"
    return said + (f"; {included:,} included, shown by --json" if included else "")
