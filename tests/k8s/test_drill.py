"""The drill of a restore: what it compares and how it ends, by MongoDB's tools and by stand-ins for them."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from base64 import b64encode
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from tests.support.fhir import patient, report
from tests.support.mongods import replica_set, uri_of
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
        client.drop_database(name + "_restored")
        for collection, documents in bson.decode(open(said["archive"], "rb").read()).items():
            for document in documents:
                {harm}
                client[name + "_restored"][collection].insert_one(document)
"""
BROKEN = 'document.update(raw=document["raw"].replace(b"final", b"FINAL")) if "raw" in document else None'
DOD = """#!{python}
# `dod`, with the stand-ins on the restored database at the second call: there both sets are one.
import os, sys
flag = os.environ["FOLDER"] + "/called"
if {is_one} and os.path.exists(flag):
    os.environ["DOD_MONGODB_DATABASE"] += "_restored"
open(flag, "w").close()
from api.cli.main import main
main()
"""


def tools(folder: Path, harm: str | None = None) -> None:
    """Put `dod` there, and stand-ins for MongoDB's tools that do a harm; None: the real ones are taken."""
    folder.mkdir()
    made = {"dod": DOD.format(python=sys.executable, is_one=harm is not None)}
    if harm is not None:
        made |= dict.fromkeys(("mongodump", "mongorestore"), TOOL.format(python=sys.executable, harm=harm))
    for name, text in made.items():
        tool = folder / name
        tool.write_text(text)
        tool.chmod(0o755)


async def drilled(live: str, into: str, database: str, folder: Path) -> tuple[int, str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DOD_")}
    environment |= {
        "FOLDER": str(folder),
        "FROM_URI": live,
        "INTO_URI": into,
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    process = await asyncio.create_subprocess_exec(
        *(str(ROOT / "k8s" / "mongodb" / "drill.sh"), database),
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
        for harm, ends, told in (
            ("pass", 0, "the same in both"),
            (BROKEN, 1, "not what its digest says"),
        ):
            folder = tmp_path / str(ends)
            tools(folder, harm)
            code, said = await drilled(mongodb, mongodb, name, folder)
            assert code == ends, said
            assert told in said
    finally:
        await mongo_client.drop_database(name)
        await mongo_client.drop_database(name + "_restored")


@pytest.mark.skipif(shutil.which("mongodump") is None, reason="MongoDB's database tools are not installed")
async def test_the_real_tools_bring_all_of_it_back(
    mongodb: str, mongo_client: Client, tmp_path: Path
) -> None:
    name = f"drill_{uuid4().hex[:8]}"
    async with opened_service(mongodb, mongodb_database=name) as tenant:
        await tenant.load(
            patient("p1"), report("r1", patient="p1"), report("r1", patient="p1", conclusion="x")
        )
        document = {"contentType": "text/plain", "data": b64encode(b"made up " * 100_000).decode()}
        await tenant.load(report("r2", patient="p1", presentedForm=[document]))
    try:
        async with replica_set(tmp_path / "set") as members:
            tools(tmp_path / "bin")
            code, said = await drilled(mongodb, uri_of(members), name, tmp_path / "bin")
            assert code == 0, said
            assert "the same in both" in said
            async with opened_service(uri_of(members), mongodb_database=name) as restored:
                again = replace(restored, tenant=tenant.tenant, headers=tenant.headers)
                assert (await again.get("DiagnosticReport/r2")).status == 200
    finally:
        await mongo_client.drop_database(name)
