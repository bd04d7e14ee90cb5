"""The large store of the benchmark holds what the service would have stored."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import bson
import pytest
from pymongo import MongoClient

from bench.stores import multiply, patients_of_site, renamed, site_name
from ingest.pipeline.prepare import prepare
from store.mongo.documents import to_document
from store.mongo.indexes import INDEXES, RESOURCES
from tests.support.service import START
from tests.support.store import LAB

Document = dict[str, Any]
PATIENTS, EACH = 3, 2
PER_SITE = PATIENTS + PATIENTS * EACH


def stored_at(site: int) -> list[Document]:
    """As a push stores it, but for the digest, which a copy keeps from its original."""
    made = patients_of_site(site_name(site), patients=PATIENTS, each=EACH)
    ready = [prepare(resource, resource["id"], base="http://dod.invalid").prepared for resource in made]
    documents = [to_document(LAB, one, 1, START) for one in ready]
    return [{**one, "digest": b"", "keys": list(one["keys"])} for one in documents]


@pytest.mark.parametrize("site", [0, 1, 99, 12_345, 99_999])
def test_a_renamed_document_is_the_one_a_push_would_have_stored(site: int) -> None:
    copies = [bson.decode(renamed(bson.encode(one), site)) for one in stored_at(0)]
    expected = [bson.decode(bson.encode(one)) for one in stored_at(site)]
    assert copies == expected


def test_a_multiplied_store_holds_every_site_once_and_has_all_indexes(mongodb: str) -> None:
    source, target = f"dod_{uuid4().hex}", f"dod_{uuid4().hex}"
    with MongoClient[Document](mongodb, tz_aware=True) as client:
        try:
            client[source][RESOURCES].insert_many(stored_at(0))
            client[target][RESOURCES].insert_one({"_id": "left from before"})
            client[target][RESOURCES].delete_many({})
            filled = multiply(mongodb, source=source, target=target, sites=3)
            ids = [one["_id"] for one in client[target][RESOURCES].find({}, {"_id": 1})]
            names = set(client[target][RESOURCES].index_information())
        finally:
            client.drop_database(source)
            client.drop_database(target)
    assert filled.documents == len(ids) == 3 * PER_SITE
    assert set(ids) == {one["_id"] for site in range(3) for one in stored_at(site)}
    assert names == {"_id_"} | {spec.name for spec in INDEXES if spec.collection == RESOURCES}
