"""Bundles taken apart: entries, and the interactions that those of a batch ask for.

Pure. https://hl7.org/fhir/R4/http.html#transaction
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from store.errors import Category, ServiceError
from store.fhir.datatypes import JsonObject, Malformed, object_of, text_of
from store.fhir.issues import Issue
from store.search.parameters import TYPES

if TYPE_CHECKING:
    from collections.abc import Mapping


_URL: Final = re.compile(
    r"(?P<type>[A-Z][A-Za-z]+)"
    r"(?:/(?P<id>[A-Za-z0-9\-.]{1,64})(?:/_history/(?P<version>[1-9][0-9]{0,8}))?)?(?P<query>\?.*)?",
    re.DOTALL,
)
_SEARCH: Final = re.compile(
    r"(?:(?P<type>[A-Z][A-Za-z]+)/_search|Patient/(?P<patient>[A-Za-z0-9\-.]{1,64})/(?P<of>[A-Z][A-Za-z]+))"
    r"(?:\?(?P<query>.*))?",
    re.DOTALL,
)
"""Other spellings of a search that are served: `Type/_search?…`, and the compartment `Patient/id/Type?…`."""
_APART: Final = frozenset({"Subscription"})
"""Types that are kept in a store of their own, which a Bundle does not look into."""
_WITH_RESOURCE: Final = frozenset({"POST", "PUT"})
"""Methods that bring a resource, which says by itself where it belongs."""
_ABSOLUTE: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:|//")
"""Beginning of a URL that names its server, or is none."""
READING: Final = frozenset({"GET", "HEAD"})
"""Methods that change nothing."""
WITHOUT_URL: Final = "entry-without-url"
"""Tolerance: an entry has a method and no URL; type and id are those of its resource."""
_CONDITIONS: Final = ("ifNoneExist", "ifMatch", "ifNoneMatch", "ifModifiedSince")
CARRIED_OUT: Final[Mapping[str, str]] = {
    **dict.fromkeys(("batch", "transaction"), "the base itself"),
    "message": "`$process-message`",
}
"""Types of Bundles that ask for something, and where they belong."""


class BundleEntry(NamedTuple):
    """Entry of a Bundle as it came."""

    resource: JsonObject | None
    full_url: str | None
    request: JsonObject | None
    response: JsonObject | None = None
    """Response in an entry of a history: the answer when the version was made."""
    fault: Issue | None = None
    """Fault in the shape of the entry, so that nothing else is known of it."""


class Interaction(NamedTuple):
    """Request that an entry of a batch makes."""

    method: str
    type: str
    id: str | None
    resource: JsonObject | None
    if_none_exist: str | None
    if_match: str | None = None
    if_none_match: str | None = None
    query: str | None = None
    """Query of a search, or the condition of a conditional update or deletion; without `?`."""
    version: int | None = None
    """Version that a read asks for; None: the current one."""
    if_modified_since: str | None = None
    tolerances: tuple[str, ...] = ()
    """Deviations of the entry from R4."""


def entries_of(bundle: JsonObject, *, entries_max: int, apart: bool = False) -> list[BundleEntry]:
    """The entries of a Bundle. Raises ServiceError when there are too many or one has a wrong shape.

    When they are answered each on its own, `apart`, the wrong one says so itself.
    """
    entries = bundle.get("entry", [])
    if not isinstance(entries, list):
        raise _refusal(Issue("structure", "`Bundle.entry` must be a list", ("Bundle.entry",)))
    if len(entries) > entries_max:
        text = f"a Bundle may have at most {entries_max} entries"
        raise ServiceError(Category.TOO_LARGE, Issue("too-long", text, ("Bundle.entry",)))
    found, issues = [], []
    for number, entry in enumerate(entries):
        try:
            found.append(_entry(object_of(entry, f"Bundle.entry[{number}]"), f"Bundle.entry[{number}]"))
        except Malformed as error:
            issues.append(Issue("structure", f"`{error.path}` {error.rule}", (error.path,)))
            found.append(BundleEntry(None, None, None, fault=issues[-1]))
    if issues and not apart:
        raise _refusal(*issues)
    return found


def _entry(entry: JsonObject, path: str) -> BundleEntry:
    resource, request, response = (entry.get(name) for name in ("resource", "request", "response"))
    return BundleEntry(
        None if resource is None else object_of(resource, f"{path}.resource"),
        text_of(entry, "fullUrl", path),
        None if request is None else object_of(request, f"{path}.request"),
        None if response is None else object_of(response, f"{path}.response"),
    )


def interaction(entry: BundleEntry, *, base: str, strict: bool = False) -> Interaction:
    """Interaction that the entry asks for. Raises ServiceError with the rule that is broken."""
    if entry.fault is not None:
        raise _refusal(entry.fault)
    if entry.request is None:
        raise _refusal(Issue("required", "`request` is missing", ("Bundle.entry.request",)))
    try:
        method = text_of(entry.request, "method", "Bundle.entry.request")
        url = text_of(entry.request, "url", "Bundle.entry.request")
        if_none_exist, if_match, if_none_match, if_modified_since = (
            text_of(entry.request, name, "Bundle.entry.request") for name in _CONDITIONS
        )
    except Malformed as error:
        raise _refusal(Issue("structure", f"`{error.path}` {error.rule}", (error.path,))) from None
    implied = None if url or strict else url_of(entry)
    below = relative(url or implied or "", base)
    if below is None:
        text = "`request.url` is another server's: entries are about this one, such as `Patient/123`"
        raise _refusal(Issue("value", text, ("Bundle.entry.request.url",)))
    match = _URL.fullmatch(_as_r4_searches(below) if method in READING else below)
    if method is None or match is None:
        raise _refusal(Issue("value", _rule_of(method, below), ("Bundle.entry.request",)))
    if match["version"] is not None and method not in READING:
        text = "`request.url` with a version goes with GET; what is changed is the current one (`ifMatch`)"
        raise _refusal(Issue("value", text, ("Bundle.entry.request.url",)))
    if match["type"] in _APART and method not in _WITH_RESOURCE:
        does = "read and searched" if method in READING else "changed and ended"
        text = f"a {match['type']} is {does} by itself, not in a Bundle: this would find none"
        raise _refusal(Issue("not-supported", text, ("Bundle.entry.request.url",)))
    query = (match["query"] or "")[1:] or None
    if method == "POST" and match["id"] is None and if_none_exist is None:
        if_none_exist, query = query, None  # As some clients write it.
    return Interaction(
        method,
        match["type"],
        match["id"],
        entry.resource,
        if_none_exist,
        if_match,
        if_none_match,
        query,
        None if match["version"] is None else int(match["version"]),
        if_modified_since,
        () if implied is None else (WITHOUT_URL,),
    )


def _as_r4_searches(below: str) -> str:
    """A search by its type alone; any other URL as it is."""
    found = _SEARCH.fullmatch(below)
    if found is None:
        return below
    query = [found["query"]] if found["query"] else []
    if found["patient"] is None:
        return "?".join((found["type"], *query))
    row = TYPES.get(found["of"])
    if row is None or "patient" not in row.by_name:
        text = "`request.url` names a type that is not in the compartment of a Patient here"
        raise _refusal(Issue("not-found", text, ("Bundle.entry.request.url",)))
    return f"{row.name}?" + "&".join((f"patient=Patient/{found['patient']}", *query))


def _rule_of(method: str | None, below: str) -> str:
    """Rule for a `request.url` that is not understood."""
    if method in READING and below:
        return (
            "`request.url` of a GET is a read or a search: `Type/id`, `Type/id/_history/version`,"
            " `Type?name=value`, `Patient/id/Type?name=value`; histories and operations are asked for by"
            " themselves, not in a Bundle"
        )
    if method == "POST" and _SEARCH.fullmatch(below):
        return "a search in a Bundle is a GET: its parameters stand in `request.url`, `Type?name=value`"
    return "`request.method` and a `request.url` such as `Patient/123` are needed"


def url_of(entry: BundleEntry) -> str | None:
    """The `request.url` of an entry, or the URL that its method and resource imply.

    None: it has none, and nothing implies one.
    """
    request, resource = entry.request or {}, entry.resource or {}
    url, (kind, own) = request.get("url"), (resource.get("resourceType"), resource.get("id"))
    if url:
        return url if isinstance(url, str) else None
    if request.get("method") == "POST" and isinstance(kind, str):
        return kind
    named = isinstance(kind, str) and isinstance(own, str)
    return f"{kind}/{own}" if named and request.get("method") == "PUT" else None


def relative(url: str, base: str) -> str | None:
    """Part of an entry's URL below our own base, `Patient/123`; None: it is another server's."""
    for root in (base, urlsplit(base).path):
        if root and url.startswith(f"{root}/"):
            return url[len(root) + 1 :]
    return None if _ABSOLUTE.match(url) else url.removeprefix("/")


def is_kept_whole(resource: JsonObject) -> bool:
    """Whether a resource stays as it came, also among others: a Bundle may be signed, and links within."""
    return resource.get("resourceType") == "Bundle"


def misplaced(bundle: JsonObject, wanted: str) -> str:
    """Refusal of a body of another kind than is wanted here, with the place where it would belong."""
    text = f"the body must be a Bundle with `type` {wanted}"
    kind = bundle.get("type") if bundle.get("resourceType") == "Bundle" else None
    place = _PLACES.get(kind) if isinstance(kind, str) else None
    if bundle.get("resourceType") != "Bundle":
        place = "a single resource is pushed to `{Type}` or `{Type}/{id}`"
    return text if place is None else f"{text}; {place}"


_PLACES: Final[Mapping[str, str]] = {
    "message": f"a message belongs to {CARRIED_OUT['message']}",
    **dict.fromkeys(("batch", "transaction"), f"a batch or transaction belongs to {CARRIED_OUT['batch']}"),
    **dict.fromkeys(
        ("document", "collection", "searchset", "history"),
        "to keep this one whole push it to `Bundle`, to store what is in it `dod load` it",
    ),
}


def at_entry(issue: Issue, number: int) -> Issue:
    """An issue of a resource as one of its Bundle."""
    where = f"Bundle.entry[{number}].resource"
    inner = tuple(f"{where}{path[path.find('.') :] if '.' in path else ''}" for path in issue.expression)
    return replace(issue, text=f"`{where}`: {issue.text}", expression=inner or (where,))


def _refusal(*issues: Issue) -> ServiceError:
    return ServiceError(Category.UNPROCESSABLE, *issues)
