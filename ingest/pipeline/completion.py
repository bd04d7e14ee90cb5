"""Resources that say only a part: what a message does not speak of stays as it is stored.

An interface message names what it knows: an empty field says nothing, and only HL7's null deletes. A report
may come with its changed results alone. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from store.fhir.datatypes import listed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from store.fhir.datatypes import Json, JsonObject


class Partial(NamedTuple):
    """An entry that does not say all that is to be kept of its resource."""

    full_url: str
    deleted: frozenset[str] = frozenset()
    """Elements that the message deletes; `extension(name)` is an extension by the end of its URL, and
    `presentedForm(title)` a document.
    """
    results: bool = False
    """A report with its changed results alone: the others stay."""


_CHOICES: Final = ("deceased", "multipleBirth", "value", "effective", "occurrence")
"""Elements of which a resource has one of several types."""
_DOCUMENTS: Final = "presentedForm"
_OWN: Final = frozenset({"resourceType", "id", "meta"})
_SAYS_NOTHING: Final = "unknown"
_KEPT_STATUS: Final = frozenset({"Encounter"})
"""Types whose status `unknown` says nothing against a stored one."""


def complete(resource: JsonObject, stored: JsonObject, partial: Partial) -> JsonObject:
    """The resource with what it does not speak of, as it is stored."""
    said = {_base(name) for name in resource} | {_base(name) for name in partial.deleted}
    kept: dict[str, Json] = {
        name: value
        for name, value in stored.items()
        if name not in _OWN and (_base(name) not in said or name in _LISTS)
    }
    made: dict[str, Json] = {**kept, **resource}
    for name, unite in _LISTS.items():
        if name in kept:
            old = [one for one in listed(kept[name]) if not _is_deleted(name, one, partial.deleted)]
            made[name] = unite(listed(resource.get(name)), old)
            if not made[name]:
                del made[name]
    if partial.results and "result" in stored:
        made["result"] = united(listed(resource.get("result")), listed(stored["result"]))
    if partial.results and _DOCUMENTS in stored:
        told = _documents(listed(resource.get(_DOCUMENTS)), listed(stored[_DOCUMENTS]), partial.deleted)
        made = {**made, _DOCUMENTS: told} if told else {n: one for n, one in made.items() if n != _DOCUMENTS}
    old_status = stored.get("status")
    if (
        resource.get("status") == _SAYS_NOTHING
        and resource.get("resourceType") in _KEPT_STATUS
        and old_status
    ):
        made["status"] = old_status
    # As it is stored, so that what says nothing new makes no new version.
    order = dict.fromkeys(name for name in (*resource, *stored) if name in _OWN) | dict.fromkeys(
        [*stored, *made]
    )
    return {name: made[name] for name in order if name in made}


def with_former_numbers(stored: JsonObject, resource: JsonObject) -> JsonObject | None:
    """The stored patient with the numbers of merged records that an older message names; None: it has them.

    A merge stays true however late it comes.
    """
    there = listed(stored.get("identifier"))
    known = {(one.get("system"), one.get("value")) for one in there if isinstance(one, dict)}
    missing = [
        one
        for one in listed(resource.get("identifier"))
        if isinstance(one, dict)
        and one.get("use") == "old"
        and (one.get("system"), one.get("value")) not in known
    ]
    return {**stored, "identifier": [*there, *missing]} if missing else None


def _base(name: str) -> str:
    """An element's name without its type and the mark of its extensions."""
    bare = name.removeprefix("_")
    return next((one for one in _CHOICES if bare.startswith(one) and bare[len(one) :][:1].isupper()), bare)


def _is_deleted(name: str, one: Json, deleted: AbstractSet[str]) -> bool:
    if name in deleted:
        return True
    url = one.get("url") if isinstance(one, dict) and name == "extension" else None
    return isinstance(url, str) and any(
        url.endswith(told.removeprefix("extension(").removesuffix(")"))
        for told in deleted
        if told.startswith("extension(")
    )


def identifiers(new: Sequence[Json], old: Sequence[Json]) -> list[Json]:
    """A new list speaks for the systems that it has; numbers of merged records stay."""
    systems = {one.get("system") for one in new if isinstance(one, dict)}
    values = {(one.get("system"), one.get("value")) for one in new if isinstance(one, dict)}

    def stays(one: JsonObject) -> bool:
        is_named = (one.get("system"), one.get("value")) in values
        return not is_named and (one.get("use") == "old" or one.get("system") not in systems)

    return _in_place(new, old, "system", stays)


def _extensions(new: Sequence[Json], old: Sequence[Json]) -> list[Json]:
    urls = {one.get("url") for one in new if isinstance(one, dict)}
    return _in_place(new, old, "url", lambda one: one.get("url") not in urls)


def document_of(title: str) -> str:
    """The name of a document among the elements that a message deletes."""
    return f"{_DOCUMENTS}({title})"


def _documents(new: Sequence[Json], old: Sequence[Json], deleted: AbstractSet[str]) -> list[Json]:
    """The documents of a report whose changed results came alone: told apart by their titles."""
    titles = {one.get("title") for one in new if isinstance(one, dict)}

    def stays(one: JsonObject) -> bool:
        title = one.get("title")
        return title not in titles and document_of(str(title or "")) not in deleted

    return _in_place(new, old, "title", stays)


def _in_place(
    new: Sequence[Json], old: Sequence[Json], key: str, stays: Callable[[JsonObject], bool]
) -> list[Json]:
    """A new list in the order of the stored one, with what stays of that."""
    if len(new) == len(old) and all(one in old for one in new):
        return list(old)
    groups: dict[Any, list[Json]] = {}
    for one in new:
        groups.setdefault(one.get(key) if isinstance(one, dict) else None, []).append(one)
    made: list[Json] = []
    for known in old:
        if isinstance(known, dict):
            made += groups.pop(known.get(key), ())
            made += [known] if stays(known) else []
    return [*made, *(one for group in groups.values() for one in group)]


_LISTS: Final[Mapping[str, Any]] = {"identifier": identifiers, "extension": _extensions}
"""Lists that are united: what they hold is told apart by system and URL."""


def united(new: Sequence[Json], old: Sequence[Json]) -> list[Json]:
    """Results as they are stored, and behind them those that are new."""
    there = {one.get("reference") for one in old if isinstance(one, dict)}
    return [*old, *(one for one in new if isinstance(one, dict) and one.get("reference") not in there)]
