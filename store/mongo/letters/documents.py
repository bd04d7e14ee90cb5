"""Dead letters as they are stored, and the positions of their pages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import orjson

from store.dead_letters import Event, Letter, State
from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.retention.policy import after

if TYPE_CHECKING:
    from collections.abc import Mapping

    from store.dead_letters import Refused
    from store.retention.policy import Policy
    from store.settings import StoreSettings


EVENTS_MAX: Final = 20


ISSUES_MAX: Final = 100
"""Reasons kept of one letter: a Bundle with 5,000 faulty entries need not repeat each."""


def letter_until(at: datetime, policy: Policy, settings: StoreSettings) -> datetime:
    """End of a letter that last came at this moment."""
    days = settings.dead_letter_days if policy.dead_letter_days is None else policy.dead_letter_days
    return after(at, days)


def digest_of(refused: Refused) -> str:
    """Digest of what makes two pushes the same letter: sender, content, method, path and headers."""
    head = [refused.client, refused.method, refused.path, sorted(refused.headers.items()), refused.origin]
    return sha256(orjson.dumps(head) + refused.body).hexdigest()


def document_of(refused: Refused) -> dict[str, Any]:
    """Refusal as a letter holds it, without its body."""
    return {
        "at": refused.at,
        "operation": refused.operation,
        "method": refused.method,
        "path": refused.path,
        "headers": dict(refused.headers),
        "origin": refused.origin,
        "client": refused.client,
        "token_id": refused.token_id,
        "scopes": [[name, "".join(sorted(letters))] for name, letters in refused.scopes.items()],
        "status": refused.status,
        "issues": issues_of(refused.issues),
        "attempts": 0,
        "revision": 0,
        "events": [],
    }


def issues_of(issues: tuple[Issue, ...]) -> list[dict[str, Any]]:
    """Issues as a letter holds them, up to `ISSUES_MAX`."""
    return [
        {"code": one.code, "text": one.text, "expression": list(one.expression), "severity": one.severity}
        for one in issues[:ISSUES_MAX]
    ]


def noted(event: Event) -> dict[str, Any]:
    """Update that notes an event, the last `EVENTS_MAX` of them."""
    one = {"at": event.at, "by": event.by, "did": event.did}
    return {"$push": {"events": {"$each": [one], "$slice": -EVENTS_MAX}}}


def letter_of(document: Mapping[str, Any]) -> Letter:
    """Letter that a document holds."""
    return Letter(
        id=document["_id"],
        at=document["at"],
        last_at=document["last_at"],
        times=document["times"],
        operation=document["operation"],
        method=document["method"],
        path=document["path"],
        headers=document["headers"],
        origin=document["origin"],
        client=document["client"],
        token_id=document["token_id"],
        scopes={name: frozenset(letters) for name, letters in document["scopes"]},
        status=document["status"],
        issues=tuple(
            Issue(one["code"], one["text"], tuple(one["expression"]), one["severity"])
            for one in document["issues"]
        ),
        size=document["size"],
        has_body=document["kept"] > 0,
        attempts=document["attempts"],
        revision=document["revision"],
        state=State(document["state"]),
        events=tuple(Event(one["at"], one["by"], one["did"]) for one in document["events"]),
    )


def position_after(letter: Letter) -> str:
    """Position of a page's last letter: milliseconds, as MongoDB keeps them, and the id. Nothing of it is
    secret.
    """
    return f"{round(letter.at.timestamp() * 1000)}~{letter.id}"


def position_of(after: str) -> tuple[datetime, str]:
    """Time and id that a position names. Raises ServiceError `incorrect`."""
    moment, tilde, letter_id = after.partition("~")
    try:
        at = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=int(moment))
    except (ValueError, OverflowError):
        at, tilde = datetime.fromtimestamp(0, UTC), ""
    if not tilde:
        raise ServiceError(Category.INCORRECT, Issue("value", "`after` is not from a page", ("after",)))
    return at, letter_id
