"""Content of the stores: pushed through the service, copied to the floor, multiplied into a large store."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bson.raw_bson import RawBSONDocument
from pymongo import IndexModel, MongoClient
from pymongo.write_concern import WriteConcern

from bench import floor, reports
from bench.load import ask_once, post
from bench.requests import BASE, FHIR
from store.mongo.indexes import INDEXES, RESOURCES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bench.servers import Server

BATCH_ENTRIES: Final = 500


class Filled(NamedTuple):
    """Result of multiplying a store."""

    documents: int
    seconds: float
    data_bytes: int
    index_bytes: int


async def push_all(
    service: Server, token: str, resources: Iterable[dict[str, Any]], base: str = BASE
) -> None:
    """Push resources through the service, many in a batch."""
    left = iter(resources)
    while some := list(itertools.islice(left, BATCH_ENTRIES)):
        body = reports.batch(some)
        answer = await ask_once(service.port, post(base, body, media_type=FHIR, token=token))
        assert answer.count(b"201 Created") == len(some), answer[:2000]


def patients_with_reports(number: int, patients: int) -> Iterator[dict[str, Any]]:
    """So many reports in the order of arrival: a patient's do not lie beside each other."""
    yield from (reports.patient(one) for one in range(patients))
    yield from (reports.report(one, one % patients) for one in range(number))


def patients_with_results(site: str, *, patients: int, each: int, results: int) -> Iterator[dict[str, Any]]:
    """Reports that refer to Observations of the same store."""
    for one in range(patients):
        yield reports.patient(one, site)
    for one in range(patients * each):
        yield from reports.panel(one, one % patients, site, results=results)


def patients_of_site(site: str, *, patients: int, each: int) -> Iterator[dict[str, Any]]:
    """Patients as `patients_with_reports`, each under an id that names the site."""
    yield from (reports.patient(one, site) for one in range(patients))
    for one in range(patients * each):
        yield {**reports.report(one, one % patients, site), "id": f"bench{site}-report-{one}"}


def copy_to_floor(uri: str, database: str) -> None:
    """Copy the same bytes into the floor's own collection, within mongod."""
    with MongoClient[dict[str, Any]](uri) as client:
        fields = {"_id": "$id", "patient": {"$first": "$index.patient"}, "when": "$when.lo", "raw": 1}
        client[database][RESOURCES].aggregate(
            [
                {"$match": {"type": "DiagnosticReport"}},
                {"$project": fields},
                {"$out": {"db": floor.DATABASE, "coll": floor.COLLECTION}},
            ]
        )


def site_name(number: int) -> str:
    """Name of a site, of constant length and one word, so that its documents become another's by replacing
    it.
    """
    return f"site{number:05}"


def renamed(document: bytes, site: int) -> bytes:
    """A document of site 0, in BSON, as the same document of another site.

    The name stands in ids, keys, index fields and raw bytes alike, and is of constant length: all of them
    are renamed at once, and no length inside the BSON changes. Only the digest stays that of the original:
    it is looked at when a report is pushed again, which nobody does here.
    """
    return document.replace(site_name(0).encode(), site_name(site).encode())


def multiply(uri: str, *, source: str, target: str, sites: int) -> Filled:
    """The resources of site 0, which the service stored in `source`, for all sites in `target`.

    Indexes are made afterwards, over everything: that takes half as long.
    """
    started = time.monotonic()
    with MongoClient[RawBSONDocument](uri, document_class=RawBSONDocument) as client:
        originals = [bytes(document.raw) for document in client[source][RESOURCES].find({})]
        resources = client[target].get_collection(RESOURCES, write_concern=WriteConcern(w=1))
        resources.drop_indexes()
        for site in range(sites):
            copies = [RawBSONDocument(renamed(original, site)) for original in originals]
            resources.insert_many(copies, ordered=False)
    with MongoClient[dict[str, Any]](uri) as client:
        specs = [spec for spec in INDEXES if spec.collection == RESOURCES]
        client[target][RESOURCES].create_indexes([IndexModel(list(s.keys), name=s.name) for s in specs])
        client.admin.command("fsync")  # What was written must not be on its way while searches are measured.
        size = client[target].command("collStats", RESOURCES)
    assert size["count"] == sites * len(originals), size["count"]
    return Filled(size["count"], time.monotonic() - started, size["size"], size["totalIndexSize"])


class Cache(NamedTuple):
    """WiredTiger's."""

    most: int
    used: int
    """Bytes, both."""
    pages_read: int
    """So far."""


def cache_of(uri: str) -> Cache:
    """MongoDB's account of its cache."""
    with MongoClient[dict[str, Any]](uri) as client:
        cache = client.admin.command("serverStatus")["wiredTiger"]["cache"]
    names = ("maximum bytes configured", "bytes currently in the cache", "pages read into cache")
    return Cache(*(int(cache[name]) for name in names))
