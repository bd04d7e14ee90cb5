"""Upstream's notifications: a message Bundle with the patient's identifiers, the time, and references. Pure.

References are the ids under which the resources are stored: what they name can be read. The detailed variant
has the resources as well. The destination is verified by upstream's handshake, with us as the sender.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import NAMESPACE_URL, uuid5

import orjson

from api.subscriptions.requested import utc
from store.subscriptions.events import GOING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from store.subscriptions.events import Event
    from store.subscriptions.records import Subscription

TOKEN_HEADER: Final = "verification-token"  # noqa: S105 -- the name of a header
EVENT: Final = "urn:data-on-demand:event:"
SOURCE: Final = "data on demand"


class Told(NamedTuple):
    """Resources that a message tells of, as they are now."""

    focus: bytes | None = None
    """None: the resource went."""
    patient: bytes | None = None
    others: Sequence[tuple[str, bytes]] = ()
    """`Type/id` and content of the rest; the detailed variant has them."""

    def named(self, key: str) -> Iterator[tuple[str, bytes]]:
        """All resources with their names; `key` is that of the one that changed."""
        if self.focus is not None:
            yield key, self.focus
        if self.patient is not None:
            yield f"Patient/{orjson.loads(self.patient)['id']}", self.patient
        yield from self.others


def new_challenge() -> str:
    """A challenge that nobody can guess."""
    return secrets.token_urlsafe(24)


def handshake(token: str, challenge: str) -> bytes:
    """The body of the handshake: the receiver answers with the challenge."""
    return orjson.dumps({TOKEN_HEADER: token, "challenge": challenge})


def message(subscription: Subscription, event: Event, told: Told, *, detailed: bool) -> bytes:
    """The message Bundle of one event. An event whose resource went has its reference alone."""
    # The same in each attempt, and none of another event that has its number behind a restore.
    name = f"{subscription.base}/Subscription/{subscription.id}/{event.number}/{utc(event.at)}"
    focus = [] if told.focus is None and event.change not in GOING else [event.key]
    patient: dict[str, Any] = {} if told.patient is None else orjson.loads(told.patient)
    entries: list[dict[str, Any]] = []
    patient_key = f"Patient/{patient['id']}" if patient else ""
    header = {
        "resourceType": "MessageHeader",
        "id": str(uuid5(NAMESPACE_URL, f"{name} header")),
        "eventUri": f"{EVENT}{event.key.partition('/')[0] or 'Resource'}-{event.change}",
        "source": {"name": SOURCE, "endpoint": subscription.base},
        "destination": [{"endpoint": subscription.channel.endpoint}],
        "focus": [{"reference": f"{subscription.base}/{key}"} for key in (*focus, patient_key) if key],
    }
    if not header["focus"]:
        del header["focus"]
    entries.append({"fullUrl": f"urn:uuid:{header['id']}", "resource": header})
    if patient:
        shown = orjson.Fragment(told.patient or b"") if detailed else _identified(patient)
        entries.append({"fullUrl": f"{subscription.base}/{patient_key}", "resource": shown})
    if detailed and told.focus is not None:
        entries.append(
            {"fullUrl": f"{subscription.base}/{event.key}", "resource": orjson.Fragment(told.focus)}
        )
        entries += [
            {"fullUrl": f"{subscription.base}/{key}", "resource": orjson.Fragment(raw)}
            for key, raw in told.others
        ]
    return orjson.dumps(
        {
            "resourceType": "Bundle",
            "id": str(uuid5(NAMESPACE_URL, name)),
            "type": "message",
            "timestamp": utc(event.at),
            "entry": entries,
        }
    )


def _identified(patient: Mapping[str, Any]) -> dict[str, Any]:
    """A Patient with its identifiers alone."""
    return {name: patient[name] for name in ("resourceType", "id", "identifier") if name in patient}
