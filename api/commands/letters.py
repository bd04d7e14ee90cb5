"""Command `dod letters`, without the command line around it.

Listing, showing, fixing and discarding go through the store's port. A replay must be what a push is: the
application is opened on a unix socket of its own, and the letter replayed there over HTTP.
"""

from __future__ import annotations

import tempfile
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson
from aiohttp import ClientSession, ClientTimeout, UnixConnector, web

from api.app import NO_DUTIES, create_app, utc_now
from api.auth.scopes import ADMIN
from api.auth.tokens import new_grant, new_token
from api.commands.access.tenants import columns, tenants_of
from api.commands.terminal import user
from api.feeds import known_sources
from api.interactions.dead_letters import details, payload
from api.limits.limiter import Class
from api.routes import routes
from api.server.runner import FhirRunner
from ingest.feeds.handler import FEEDS
from store.audit.records import AuditRecord, Deed
from store.dead_letters import Event, Letter, State
from store.errors import StartupError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from api.settings.service import Settings
    from store.metrics import StoreMetrics
    from store.stores import Stores
    from store.tenancy import Tenant

BY: Final = "dod letters"
"""Name of whoever dealt with a letter, as the letter says it."""
PAGE: Final = 500
REPLAY_SECONDS: Final = 120


async def list_letters(
    stores: Stores, *, tenant: Tenant | None, state: State | None, reason: str | None, limit: int
) -> list[tuple[str, ...]]:
    """The table of `dod letters list`, with its head: nothing of the payload."""
    rows: list[tuple[str, ...]] = [
        ("ID", "TIME", "TIMES", "TENANT", "OPERATION", "STATE", "SIZE", "CODE", "FIRST REASON")
    ]
    for owner in await tenants_of(stores.access, tenant):
        page = await stores.dead_letters.listed(owner, state=state, reason=reason, limit=limit)
        rows += [_row(owner, letter) for letter in page.letters]
        if page.next is not None:
            rows.append(("…", "more", "", str(owner), "", "", "", "", f"`--limit` is {limit}"))
    return rows


def _row(tenant: Tenant, letter: Letter) -> tuple[str, ...]:
    text = letter.issues[0].text if letter.issues else ""
    return (
        letter.id,
        f"{letter.last_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z",
        str(letter.times),
        str(tenant),
        letter.operation,
        letter.state.value,
        f"{letter.size:,}",
        letter.reason,
        text,
    )


async def show(stores: Stores, letter_id: str, *, tenant: Tenant | None, body: bool) -> str:
    """Show a letter as lines of text; with `body` the payload below, as it came."""
    owner, letter = await _letter(stores, letter_id, tenant)
    said = details(letter)
    simple = {name: value for name, value in said.items() if not isinstance(value, list | dict)}
    rows = [("tenant", str(owner)), *((name, _shown(value)) for name, value in simple.items())]
    issues = [
        f"{one.severity} {one.code}: {one.text}"
        + (f" ({', '.join(one.expression)})" if one.expression else "")
        for one in letter.issues
    ]
    events = [f"{_shown(one.at)} {one.by}: {one.did}" for one in letter.events]
    lines = [columns(rows), *issues, *events]
    if body:
        content = await stores.dead_letters.body(owner, letter.id)
        shown = AuditRecord(owner, utc_now(), user(), Deed.LETTER_SHOWN.value, of=letter.id)
        await stores.privacy.audit.note(shown)
        await stores.dead_letters.seen(owner, letter, _event("body shown"))
        sent = payload(letter, content)
        lines += [
            f"{sent['method']} {sent['path']}",
            *(f"{name}: {value}" for name, value in sent["headers"].items()),
            "",
            sent.get("bodyBase64") or sent.get("body") or "(no body is kept)",
        ]
    return "\n".join(lines)


def _shown(value: Any) -> str:  # noqa: ANN401 (any field of a letter)
    return f"{value:%Y-%m-%d %H:%M:%S}Z" if hasattr(value, "astimezone") else str(value)


async def fix(stores: Stores, letter_id: str, body: bytes, *, tenant: Tenant | None) -> str:
    """Put another body into a letter."""
    owner, letter = await _open_letter(stores, letter_id, tenant)
    if not body:
        raise StartupError("The new body is empty.")
    if not await stores.dead_letters.replace_body(owner, letter, body, _event("fixed")):
        raise StartupError(f"Somebody else changed {letter_id} meanwhile.")
    return f"{letter_id} fixed; `dod letters replay {letter_id}` pushes it"


class Selection(NamedTuple):
    """Letters to deal with: by their ids, or all open ones, or those with this reason."""

    ids: Sequence[str]
    tenant: Tenant | None
    """None: of all tenants."""
    every: bool
    reason: str | None


async def discard(stores: Stores, selection: Selection) -> list[str]:
    """Forget the bodies of letters; a sentence for each."""
    said = []
    for owner, letter in await _chosen(stores, selection):
        done = await stores.dead_letters.close(owner, letter, State.DISCARDED, _event("discarded"))
        said.append(f"{letter.id} {'discarded' if done else 'was changed meanwhile'}")
    return said


async def replay(
    stores: Stores, settings: Settings, selection: Selection, *, say: Callable[[str], None]
) -> int:
    """Push letters again, the oldest first; how many were refused again."""
    chosen = await _chosen(stores, selection)
    if not chosen:
        say("no letters to replay")
        return 0
    left = 0
    async with _speaking(stores, settings, [owner for owner, _ in chosen]) as session:
        for owner, letter in chosen:
            url = f"http://localhost/fhir/R4/{owner}/$dead-letters/{letter.id}/$replay"
            async with session.post(url) as response:
                answer = orjson.loads(await response.read())
            stored = answer.get("state") == State.REPLAYED.value
            left += not stored
            say(f"{letter.id} {'replayed' if stored else f'is still open: {_why(answer)}'}")
    return left


def _why(answer: dict[str, Any]) -> str:
    """The first reason, of a letter or of an OperationOutcome."""
    if "reason" in answer:
        return f"{answer['reason']['code']}: {answer['reason']['text']}"
    return str(answer["issue"][0]["details"]["text"])


@asynccontextmanager
async def _speaking(
    stores: Stores, settings: Settings, tenants: Sequence[Tenant]
) -> AsyncIterator[ClientSession]:
    """A session with the application, which nobody else can reach, and a token for as long as it lasts."""

    @asynccontextmanager
    async def already(_: StoreMetrics) -> AsyncIterator[Stores]:
        yield stores

    # Beside a service it takes no port, does no job on a timer, and holds an operator to no client's limits.
    unlimited = {f"rate_{kind.value}": "" for kind in Class}
    chosen = settings.model_copy(update={"role": "all", "mllp_port": None, **unlimited})
    app = create_app(chosen, routes=routes(), open_stores=already, duties=NO_DUTIES)
    app[FEEDS] = known_sources(settings)
    runner = FhirRunner(app, access_log=None)
    token = new_token()
    grant = new_grant(token=token, client=BY, tenants=tenants, scopes=[ADMIN], now=utc_now(), days=1)
    with tempfile.TemporaryDirectory(prefix="dod-") as folder:
        socket = str(Path(folder) / "replay.sock")
        await runner.setup()
        try:
            await web.UnixSite(runner, socket).start()
            await stores.access.put_grant(grant)
            async with ClientSession(
                connector=UnixConnector(socket),
                headers={"Authorization": f"Bearer {token}"},
                timeout=ClientTimeout(total=REPLAY_SECONDS),
            ) as session:
                yield session
        finally:
            await stores.access.revoke(grant.digest)
            await runner.cleanup()


# --- which letters


async def _letter(stores: Stores, letter_id: str, tenant: Tenant | None) -> tuple[Tenant, Letter]:
    for owner in await tenants_of(stores.access, tenant):
        letter = await stores.dead_letters.get(owner, letter_id)
        if letter is not None:
            return owner, letter
    raise StartupError(f"There is no dead letter {letter_id}; `dod letters list --state all` shows them.")


async def _open_letter(stores: Stores, letter_id: str, tenant: Tenant | None) -> tuple[Tenant, Letter]:
    owner, letter = await _letter(stores, letter_id, tenant)
    if letter.state is not State.OPEN:
        raise StartupError(f"The dead letter {letter_id} was {letter.state.value} already.")
    return owner, letter


async def _chosen(stores: Stores, selection: Selection) -> list[tuple[Tenant, Letter]]:
    """The open letters of a selection, the oldest first."""
    tenant, reason = selection.tenant, selection.reason
    if not selection.every and reason is None:
        return [await _open_letter(stores, letter_id, tenant) for letter_id in selection.ids]
    found: list[tuple[Tenant, Letter]] = []
    for owner in await tenants_of(stores.access, tenant):
        after: str | None = None
        while True:
            page = await stores.dead_letters.listed(owner, reason=reason, after=after, limit=PAGE)
            # Reasons are shown later; of thousands of letters they need not wait in memory.
            found += [(owner, replace(letter, issues=letter.issues[:1])) for letter in page.letters]
            after = page.next
            if after is None:
                break
    return sorted(found, key=lambda pair: (pair[1].at, pair[1].id))


def _event(did: str) -> Event:
    return Event(utc_now(), BY, did)
