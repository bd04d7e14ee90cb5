"""The drill of a restore, with stand-ins for MongoDB's database tools: what it compares, and how it ends."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from tests.support.fhir import patient, report
from tests.support.service import opened_service

if TYPE_CHECKING:
    from store.mongo.driver.client import Client

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.mongo, pytest.mark.slow]

TOOL = """#!{python}
# A stand-in for mongodump and mongorestore: documents of one database, to a file and back under another name.
import os, re, sys
import bson
from pymongo import MongoClient
said = dict(word.lstrip("-").split("=", 1) for word in sys.argv[1:] if "=" in word)
uri = re.search('uri: "(.*)"', open(said["config"]).read())[1]
with MongoClient(uri) as client:
    if sys.argv[0].endswith("dump"):
        database = client[said["db"]]
        dump = {{name: list(database[name].find()) for name in database.list_collection_names()}}
        open(said["archive"], "wb").write(bson.encode(dump))
    else:
        name = said["nsInclude"].partition(".")[0]
        client.drop_database(name + os.environ["SUFFIX"])
        for collection, documents in bson.decode(open(said["archive"], "rb").read()).items():
            for document in documents:
                {harm}
                client[name + os.environ["SUFFIX"]][collection].insert_one(document)
"""
DOD = """#!{python}
# `dod`, on the restored database at the second call: here both sets are one.
import os, sys
flag = os.environ["FOLDER"] + "/called"
if os.path.exists(flag):
    os.environ["DOD_MONGODB_DATABASE"] += os.environ["SUFFIX"]
open(flag, "w").close()
from api.cli.main import main
main()
"""


def tools(folder: Path, harm: str) -> None:
    """Put the stand-ins there."""
    folder.mkdir()
    for name, text in (("mongodump", TOOL), ("mongorestore", TOOL), ("dod", DOD)):
        tool = folder / name
        tool.write_text(text.format(python=sys.executable, harm=harm))
        tool.chmod(0o755)


async def drilled(mongodb: str, database: str, folder: Path, *, harm: str) -> tuple[int, str]:
    tools(folder, harm)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DOD_")}
    environment |= {
        "FOLDER": str(folder),
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "SUFFIX": "_restored",
    }
    process = await asyncio.create_subprocess_exec(
        *(str(ROOT / "k8s" / "mongodb" / "drill.sh"), mongodb, mongodb, database),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode()


async def test_a_whole_restore_is_the_same_and_a_broken_one_is_told(
    mongodb: str, mongo_client: Client, tmp_path: Path
) -> None:
    name = f"drill_{uuid4().hex[:8]}"  # All of a database is dumped.
    async with opened_service(mongodb, mongodb_database=name) as tenant:
        await tenant.load(
            patient("p1"), report("r1", patient="p1"), report("r1", patient="p1", conclusion="x")
        )
    try:
        code, said = await drilled(mongodb, name, tmp_path / "whole", harm="pass")
        assert code == 0, said
        assert "the same in both" in said
        harm = (
            'document.update(raw=document["raw"].replace(b"final", b"FINAL")) if "raw" in document else None'
        )
        code, said = await drilled(mongodb, name, tmp_path / "broken", harm=harm)
        assert code == 1, said
        assert "not what its digest says" in said
    finally:
        await mongo_client.drop_database(name)
        await mongo_client.drop_database(name + "_restored")
