"""Files for `dod load`, its result, and what is stored after it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from store.mongo.indexes import RESOURCES
from tests.support.store import LAB

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from store.mongo.driver.client import Database

    Dod = Callable[..., Awaitable["Result"]]

Json = dict[str, Any]


SECRET = "sentinel-7391"


class Result(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def table(self) -> dict[str, list[str]]:
        """Numbers of resources by the kind of file."""
        return {kind: numbers for kind, _, *numbers in self._rows}

    @property
    def files(self) -> dict[str, str]:
        """Numbers of files by their kind."""
        return {kind: number for kind, number, *_ in self._rows}

    @property
    def _rows(self) -> list[list[str]]:
        return [line.split() for line in self.out.splitlines() if "  " in line]


def lines(*resources: Json) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in resources)


def bundle(type: str, *entries: Json, **elements: Any) -> Json:
    return {"resourceType": "Bundle", "type": type, **elements, "entry": list(entries)}


def put_down(folder: Path, **files: Any) -> Path:
    """Files named `name__suffix`."""
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        (folder / name.replace("__", ".")).write_bytes(data)
    return folder


async def stored(database: Database) -> dict[str, int]:
    """Version of each current resource, by `Type/id`."""
    found = await database[RESOURCES].find({}, {"type": 1, "id": 1, "version": 1}).to_list(None)
    return {f"{one['type']}/{one['id']}": one["version"] for one in found}


async def raw(database: Database, key: str) -> Json:
    found = await database[RESOURCES].find_one({"_id": f"{LAB}/{key}"})
    assert found is not None
    return dict(json.loads(found["raw"]))
