"""Habits of a source that writes a message: ids, `fullUrl`s, references, roots; a message or a document."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid5

from tests.oracle.identity.hospital import Ids, number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from random import Random

    from tests.oracle.identity.hospital import Said, Sent

Json = dict[str, Any]

SPACE: Final = UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
SHORT: Final = {"Observation": "obs", "DiagnosticReport": "dr", "Patient": "", "Practitioner": ""}
EMPTY: Final = {"status": "empty", "div": '<div xmlns="http://www.w3.org/1999/xhtml">None</div>'}
FROZEN: Final = ("Specimen", "Media")


def written(sent: Sent, rng: Random) -> Json:
    """The Bundle that this source makes of it."""
    said = [one for n, one in enumerate(sent.said) if one not in sent.said[:n]]
    urls = _addresses(said, sent)
    entries = []
    for one in said:
        own, url = urls[one.thing]
        named = {} if sent.source.ids is Ids.NONE else {"id": own}
        body = _referring(one.body, lambda thing, at=url: _reference(urls[thing], at, rng))
        entries.append({"fullUrl": url, "resource": {"resourceType": one.type, **named, **body}})
    rng.shuffle(entries)
    return _document(sent, said, urls, entries) if sent.source.document else _message(sent, entries)


def _message(sent: Sent, entries: Sequence[Json]) -> Json:
    source = {
        "name": sent.source.name,
        **({"endpoint": sent.source.endpoint} if sent.source.endpoint else {}),
    }
    header = {
        "resourceType": "MessageHeader",
        "id": str(uuid5(SPACE, f"header {sent.source.name} {sent.minute}")),
        "eventUri": "https://example.org/events/report-created",
        "source": source,
    }
    first = {"fullUrl": f"urn:uuid:{header['id']}", "resource": header}
    return {"resourceType": "Bundle", "type": "message", "timestamp": sent.time, "entry": [first, *entries]}


def _document(
    sent: Sent, said: Sequence[Said], urls: Mapping[str, tuple[str, str]], entries: Sequence[Json]
) -> Json:
    """A document; its author is the source."""
    subject = next(one.thing for one in said if one.type == "Patient")
    reports = [{"reference": urls[one.thing][1]} for one in sent.reports]
    listed = {"entry": reports} if reports else {"text": EMPTY}
    composition = {
        "resourceType": "Composition",
        "id": "Composition.1.0.0.0"
        if sent.source.ids in (Ids.LOCAL, Ids.SLUG)
        else str(uuid5(SPACE, f"{sent}")),
        "status": "final",
        "type": {"text": "Laboratory report"},
        "subject": {"reference": urls[subject][1]},
        "date": sent.time,
        "author": [{"identifier": number("authors", sent.source.name), "display": sent.source.name}],
        "title": f"Letter of minute {sent.minute}",
        "section": [{"title": "Results", **listed}],
    }
    first = {"fullUrl": f"{sent.source.roots[0]}/Composition/{composition['id']}", "resource": composition}
    return {
        "resourceType": "Bundle",
        "type": "document",
        "identifier": {"system": "urn:made-up:documents", "value": f"{sent.source.name}-{sent.minute}"},
        "timestamp": sent.time,
        "entry": [first, *entries],
    }


def _addresses(said: Sequence[Said], sent: Sent) -> dict[str, tuple[str, str]]:
    """The id and the `fullUrl` of each thing."""
    source, counts = sent.source, Counter[tuple[str, str]]()
    found = {}
    for one in said:
        root = source.roots[one.group % len(source.roots)]
        own = _id(one, root, sent, counts)
        urn = source.ids is Ids.FRESH or (source.ids is Ids.NONE and len(source.roots) == 1)
        found[one.thing] = own, f"urn:uuid:{own}" if urn else f"{root}/{one.type}/{own}"
    return found


def _id(one: Said, root: str, sent: Sent, counts: Counter[tuple[str, str]]) -> str:
    ids = sent.source.ids
    if ids in (Ids.FRESH, Ids.NONE):
        return str(uuid5(SPACE, f"{sent.source.name} {sent.minute} {one.thing}"))
    if ids is Ids.SLUG:
        counts[root, one.role] += 1
        times = counts[root, one.role]
        return one.role if times == 1 else f"{one.role}-{times}"
    frozen = ids is Ids.FROZEN and one.type in FROZEN
    counts[root, one.type] += 1
    if ids is Ids.LOCAL:
        return f"{SHORT.get(one.type, one.type.lower())}{counts[root, one.type]}"
    return str(
        uuid5(SPACE, f"{sent.source.name} {f'{one.type} {counts[root, one.type]}' if frozen else one.thing}")
    )


def _reference(target: tuple[str, str], at: str, rng: Random) -> str:
    """Relative where that means the same, or the whole URL, or with a version of the source."""
    url = target[1]
    if url.startswith("urn:"):
        return url
    root, relative = url.rsplit("/", 2)[0], "/".join(url.split("/")[-2:])
    way = rng.random()
    if at.startswith(f"{root}/") and way < 0.7:
        return relative
    return f"{url}/_history/1" if way > 0.9 else url


def _referring(value: Any, address: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: address(inner) if name == "reference" else _referring(inner, address)
            for name, inner in value.items()
        }
    return [_referring(one, address) for one in value] if isinstance(value, list) else value
