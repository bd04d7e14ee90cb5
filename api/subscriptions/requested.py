"""A Subscription as a client sends it → what is carried out, or every reason why it cannot be. Pure.

https://hl7.org/fhir/uv/subscriptions-backport/STU1.1/StructureDefinition-backport-subscription.html
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson
from yarl import URL

from api.subscriptions.filters import query_of
from api.subscriptions.secrets import NO_SECRETS, OAuthClient, Sealed
from ingest.pipeline.validation.conformance import look
from store.errors import Category, ServiceError
from store.fhir.instants import parse as parse_instant
from store.fhir.instants import to_datetime
from store.fhir.issues import Issue
from store.near import near
from store.subscriptions.records import Channel, Content, Status
from store.subscriptions.topics import TOPICS, topic_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from store.fhir.datatypes import JsonObject
    from store.search.criteria import SearchQuery
    from store.search.parsing.context import SearchContext
    from store.subscriptions.topics import Topic

GUIDE: Final = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/"
FILTER: Final = f"{GUIDE}backport-filter-criteria"
CONTENT: Final = f"{GUIDE}backport-payload-content"
HEARTBEAT: Final = f"{GUIDE}backport-heartbeat-period"
TIMEOUT: Final = f"{GUIDE}backport-timeout"
MAX_COUNT: Final = f"{GUIDE}backport-max-count"
CHANNEL_TYPE: Final = f"{GUIDE}backport-channel-type"
OAUTH: Final = "urn:data-on-demand:oauth-client"
"""Extension of a channel: the client credentials with which a receiver's access tokens are had."""
HIDDEN: Final = "***"
"""Text that stands for a secret in what is read back; sent again it keeps the secret."""
HEADERS_MAX: Final = 20
HEADER_MAX: Final = 4_000
HEARTBEAT_MIN: Final = 10
_HEADER: Final = re.compile(
    r"([A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}):\s*([\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)"
)
_OURS: Final = frozenset(
    "host content-length content-type content-encoding transfer-encoding connection upgrade expect te trailer"
    " keep-alive accept-encoding proxy-authorization webhook-id webhook-timestamp webhook-signature".split()
)
"""Headers that the service sets itself, or that belong to the connection."""
_MEDIA_TYPE: Final = re.compile(
    r"application/(?:fhir\+)?json(?:\s*;\s*(?:charset=\"?utf-8\"?|fhirversion=\"?4\.0(?:\.1)?\"?))*",
    re.IGNORECASE,
)
"""Media type of a notification, with the parameters that are true of it."""


class Terms(NamedTuple):
    """Conditions on which a subscription is carried out."""

    context: SearchContext
    now: datetime
    refuse_url: Callable[[str], None]
    """Raises ValueError with the rule that a URL breaks."""


class Requested(NamedTuple):
    """A Subscription that can be carried out."""

    topic: Topic
    filters: tuple[str, ...]
    query: SearchQuery
    channel: Channel
    sealed: Sealed
    wanted: Status
    """`off`, or `requested`."""
    ends: datetime | None
    resource: bytes
    """JSON to be read back: without id, meta's version, status and secrets."""


class _Reading:
    """The issues of one resource."""

    def __init__(self, issues: Sequence[Issue]) -> None:
        self.issues = list(issues)

    def refuse(self, path: str, text: str, code: str = "value") -> None:
        self.issues.append(Issue(code, f"`{path}`: {text}", (path,)))


def requested(
    resource: JsonObject, terms: Terms, *, before: Sealed = NO_SECRETS, receiver: str = ""
) -> Requested:
    """All that a Subscription asks for. Raises ServiceError `unprocessable` with every reason against it.

    `before` are the secrets that it had for its `receiver`: they stay where it says `***`, and go to no other
    host.
    """
    on = _Reading(look(resource).issues)
    if on.issues:
        raise ServiceError(Category.UNPROCESSABLE, *on.issues)
    told: Any = resource
    _refuse_modifiers(told, on)
    wanted = Status.OFF if told.get("status") == "off" else Status.REQUESTED
    topic = _topic(told, on)
    filters = tuple(str(one.get("valueString", "")) for one in _extensions(told, "_criteria", FILTER))
    query = None if topic is None else query_of(topic, filters, terms.context, on.refuse)
    ends = _ends(told, terms.now, on)
    channel = _channel(told["channel"], terms, on)
    known = before if _same_origin(told["channel"].get("endpoint"), receiver) else NO_SECRETS
    sealed = _sealed(told["channel"], known, terms, on)
    if on.issues or topic is None or query is None or channel is None:
        raise ServiceError(Category.UNPROCESSABLE, *on.issues)
    return Requested(topic, filters, query, channel, sealed, wanted, ends, _shown(told))


def _refuse_modifiers(told: Mapping[str, Any], on: _Reading) -> None:
    for path, element in (("Subscription", told), ("Subscription.channel", told["channel"])):
        if "modifierExtension" in element:
            on.refuse(f"{path}.modifierExtension", "is not understood here", "extension")


def _topic(told: Mapping[str, Any], on: _Reading) -> Topic | None:
    criteria = told.get("criteria", "")
    topic = topic_of(criteria)
    if topic is not None:
        return topic
    text = (
        "is no topic of this server; it is the canonical URL of one, such as"
        f" `urn:data-on-demand:topic:DiagnosticReport`{near(criteria, TOPICS)};"
        " `{base}/Subscription/$topic-list` lists all"
    )
    if "?" in criteria:
        text += f". The search that narrows it stands in the extension `{FILTER}` of `criteria`"
    on.refuse("Subscription.criteria", text, "not-supported")
    return None


def _ends(told: Mapping[str, Any], now: datetime, on: _Reading) -> datetime | None:
    if "end" not in told:
        return None
    try:
        ends = to_datetime(parse_instant(told["end"]).start)
    except ValueError:
        on.refuse("Subscription.end", "is no instant")
        return None
    if ends <= now:
        on.refuse("Subscription.end", "is over already")
    return ends


def _channel(told: Mapping[str, Any], terms: Terms, on: _Reading) -> Channel | None:
    path = "Subscription.channel"
    if told.get("type") != "rest-hook":
        on.refuse(f"{path}.type", "notifications are sent by `rest-hook` alone", "not-supported")
    if any(_extensions(told, "_type", CHANNEL_TYPE)):
        on.refuse(f"{path}.type", f"the extension `{CHANNEL_TYPE}` is not supported", "not-supported")
    endpoint = told.get("endpoint")
    if not isinstance(endpoint, str):
        on.refuse(
            f"{path}.endpoint", "is missing: the `https` URL that notifications are posted to", "required"
        )
        endpoint = ""
    else:
        _check_url(f"{path}.endpoint", endpoint, terms, on)
    content = _content(told, on)
    numbers: dict[str, int | None] = {}
    for name, url, least, most in (
        ("heartbeat", HEARTBEAT, HEARTBEAT_MIN, 10_000_000),
        ("timeout", TIMEOUT, 1, 10_000_000),  # The settings have a bound, which may be shorter.
        ("count", MAX_COUNT, 1, 1_000_000),
    ):
        numbers[name] = number = _number(told, url)
        if number is not None and not least <= number <= most:
            on.refuse(f"{path}.extension('{url}')", f"is {least} to {most} here")
    if content is None:
        return None
    return Channel(
        endpoint,
        content,
        max_count=numbers["count"],
        timeout_seconds=numbers["timeout"],
        heartbeat_seconds=numbers["heartbeat"],
    )


def _content(told: Mapping[str, Any], on: _Reading) -> Content | None:
    path = "Subscription.channel.payload"
    if _MEDIA_TYPE.fullmatch(told.get("payload", "")) is None:
        on.refuse(path, "notifications are `application/fhir+json`", "not-supported")
    codes = [one.get("valueCode") for one in _extensions(told, "_payload", CONTENT)]
    known = [one.value for one in Content]
    if len(codes) != 1 or codes[0] not in known:
        listed = ", ".join(f"`{one}`" for one in known)
        on.refuse(path, f"the extension `{CONTENT}` says one of {listed}", "required")
        return None
    return Content(codes[0])


def _number(told: Mapping[str, Any], url: str) -> int | None:
    for one in _listed(told.get("extension")):
        if one.get("url") == url:
            value = one.get("valueUnsignedInt", one.get("valuePositiveInt"))
            return value if isinstance(value, int) else 0
    return None


def _same_origin(endpoint: object, receiver: str) -> bool:
    """Whether both URLs lead to the same scheme, host and port."""
    try:
        return isinstance(endpoint, str) and URL(endpoint).origin() == URL(receiver).origin()
    except ValueError:
        return False


def _sealed(told: Mapping[str, Any], before: Sealed, terms: Terms, on: _Reading) -> Sealed:
    path = "Subscription.channel.header"
    headers: list[tuple[str, str]] = []
    known = {name.lower(): value for name, value in before.headers}
    for number, text in enumerate(told.get("header", ())):
        found = _HEADER.fullmatch(text)
        if found is None or len(text) > HEADER_MAX or number >= HEADERS_MAX:
            on.refuse(
                f"{path}[{number}]", f"is `Name: value`, at most {HEADERS_MAX} of {HEADER_MAX} characters"
            )
            continue
        name, value = found[1], found[2]
        if name.lower() in _OURS:
            on.refuse(f"{path}[{number}]", "is a header that the service sets itself")
        if name.lower() in (one.lower() for one, _ in headers):
            on.refuse(f"{path}[{number}]", "is a header that is named before: give each once")
        if value == HIDDEN and name.lower() not in known:
            on.refuse(
                f"{path}[{number}]", f"`{HIDDEN}` stands for a value not known for this `endpoint`: send it"
            )
        headers.append((name, known.get(name.lower(), value) if value == HIDDEN else value))
    oauth = _oauth(told, before, terms, on)
    if oauth is not None and any(name.lower() == "authorization" for name, _ in headers):
        on.refuse(path, f"has no `Authorization` beside the extension `{OAUTH}`, whose token is shown there")
    return Sealed(tuple(headers), oauth)


def _oauth(told: Mapping[str, Any], before: Sealed, terms: Terms, on: _Reading) -> OAuthClient | None:
    path = f"Subscription.channel.extension('{OAUTH}')"
    for one in _listed(told.get("extension")):
        if one.get("url") != OAUTH:
            continue
        parts = {
            part.get("url"): part.get("valueUrl", part.get("valueString", ""))
            for part in _listed(one.get("extension"))
        }
        if not all(parts.get(name) for name in ("token_url", "client_id", "client_secret")):
            on.refuse(path, "has the parts `token_url`, `client_id` and `client_secret`", "required")
            return None
        _check_url(path, parts["token_url"], terms, on)
        secret = parts["client_secret"]
        if secret == HIDDEN:
            kept = before.oauth
            if kept is None or kept.token_url != parts["token_url"]:
                text = (
                    f"`{HIDDEN}` stands for a secret not known for this `endpoint` and `token_url`: send it"
                )
                on.refuse(path, text)
                return None
            secret = kept.client_secret
        return OAuthClient(parts["token_url"], parts["client_id"], secret, parts.get("scope", ""))
    return None


def _check_url(path: str, url: str, terms: Terms, on: _Reading) -> None:
    try:
        terms.refuse_url(url)
    except ValueError as error:
        on.refuse(path, str(error))


def _extensions(told: Mapping[str, Any], beside: str, url: str) -> Iterator[Mapping[str, Any]]:
    """The extensions of this URL on a primitive."""
    element = told.get(beside)
    if isinstance(element, dict):
        yield from (one for one in _listed(element.get("extension")) if one.get("url") == url)


def _listed(value: object) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _shown(told: Mapping[str, Any]) -> bytes:
    """The resource as it is read back, its secrets hidden."""
    channel = dict(told["channel"])
    if "header" in channel:
        channel["header"] = [f"{text.partition(':')[0]}: {HIDDEN}" for text in channel["header"]]
    if "extension" in channel:
        channel["extension"] = [
            {**one, "extension": [_hidden(part) for part in _listed(one.get("extension"))]}
            if one.get("url") == OAUTH
            else one
            for one in _listed(channel["extension"])
        ]
    kept = {name: value for name, value in told.items() if name not in ("id", "status", "error")}
    return orjson.dumps({**kept, "channel": channel})


def _hidden(part: Mapping[str, Any]) -> Mapping[str, Any]:
    # Whatever else is in it, as another spelling of the value, may hold the secret.
    return {"url": part["url"], "valueString": HIDDEN} if part.get("url") == "client_secret" else part


def utc(moment: datetime) -> str:
    """A moment as a FHIR instant."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
