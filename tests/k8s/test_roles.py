"""MongoDB users with the rights of a role: the service does its work with them, and nothing forbidden."""

from __future__ import annotations

import importlib.util
import json
import re
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp.test_utils import TestClient
from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure

from api.app import create_app
from api.background.jobs import Jobs
from api.http.app_keys import PRIVACY, READINESS, REGISTRY, RETENTION_METRICS, STORES
from api.routes import routes
from store.changes.changes import START
from store.errors import StartupError
from store.mongo.indexes import (
    AUDIT,
    CLIENTS,
    COLLECTIONS,
    HISTORY,
    HOLDS,
    RECEIPTS,
    RESOURCES,
    TENANTS,
    TOKENS,
)
from store.mongo.rights import WRITES, Role
from store.mongo.stores import opened
from store.retention.erasure import ERASED
from store.retention.holds import Hold, HoldKind
from store.retention.policy import Policy
from tests.support.changes import following
from tests.support.commands import command, database_of_commands
from tests.support.fhir import batch, message, patient, report
from tests.support.mongods import as_user, guarded_set
from tests.support.server import Server
from tests.support.service import DATABASE, Service, opened_service, settings
from tests.support.store import metrics as _metrics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import web

    from tests.support.mongods import Mongod

pytestmark = pytest.mark.mongo
KUBERNETES = Path(__file__).parents[2] / "k8s"
SCRIPT = KUBERNETES / "mongodb" / "roles.js"
CRONJOB = KUBERNETES / "components" / "retention-cronjob" / "cronjob.yaml"
Json = dict[str, Any]


def roles() -> dict[str, list[Json]]:
    """The roles that the script makes, with the database of the tests."""
    found = re.search(r"^const ROLES = (\{.*?^\})$", SCRIPT.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    made: dict[str, list[Json]] = json.loads(found[1])
    for privileges in made.values():
        for one in privileges:
            assert one["resource"].pop("db") == "DATABASE"
            one["resource"]["db"] = DATABASE
    return made


def test_the_script_is_what_make_docs_would_write() -> None:
    spec = importlib.util.spec_from_file_location("make_roles", SCRIPT.with_name("make.py"))
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    assert SCRIPT.read_text() == made.script()


@pytest.fixture(scope="module")
async def locked(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mongod]:
    """A MongoDB with a user for each role of the service, as the script makes them."""
    async with guarded_set(tmp_path_factory.mktemp("roles")) as member:
        async with AsyncMongoClient[Json](as_user(member)) as client:
            for name, privileges in roles().items():
                await client.admin.command({"createRole": name, "privileges": privileges, "roles": []})
                await client.admin.command({"createUser": name, "pwd": name, "roles": [name]})
        yield member


@pytest.fixture(scope="module")
async def root(locked: Mongod) -> AsyncIterator[Service]:
    """A service that may do everything: it makes indexes, a tenant and a token."""
    async with opened_service(as_user(locked)) as service:
        yield await service.with_token(scopes=["system/*.cruds", "dod/purge", "dod/admin"])


def uri_of(member: Mongod, role: Role) -> str:
    return as_user(member, f"dod-{role}", f"dod-{role}")


@asynccontextmanager
async def serving(member: Mongod, root: Service, role: Role) -> AsyncIterator[Service]:
    """The service in a role, with that role's user, for the same tenant."""
    chosen = settings(role=role)
    app = create_app(
        chosen,
        routes=routes(),
        open_stores=lambda metrics: opened(
            chosen,
            uri=uri_of(member, role),
            clock=root.clock,
            metrics=metrics,
            told=app[READINESS].told,
            role=role,
        ),
        clock=root.clock,
    )
    async with TestClient(Server(app)) as client:
        yield Service(client, root.clock, root.tenant, root.headers)


async def test_query_does_its_work_with_its_rights(locked: Mongod, root: Service) -> None:
    await root.load(patient("p1"), report("r1"))
    async with serving(locked, root, "query") as service:
        assert (await service.search("patient=Patient/p1&_include=DiagnosticReport:subject")).status == 200
        assert (await service.search("patient.identifier=a|b")).status == 200
        for path in (
            "DiagnosticReport/r1",
            "DiagnosticReport/r1/_history",
            "metadata",
            "$changes",
            "DiagnosticReport/r1/_history/1",
        ):
            assert (await service.get(path)).status == 200, path


async def test_ingest_does_its_work_with_its_rights(locked: Mongod, root: Service) -> None:
    document = {"contentType": "application/pdf", "data": "QUJD" * 30_000}
    async with serving(locked, root, "ingest") as service:
        answers = [
            await service.put(patient("i1")),
            await service.put(patient("i1", active=True)),
            await service.create(report(patient="i1"), idempotency_key="once"),
            await service.create(report(patient="i1"), if_none_exist="identifier=a|new"),
            await service.put(report("i2", patient="i1", presentedForm=[document])),
            await service.request("POST", "", batch(("PUT", "Patient/i3", patient("i3")))),
            await service.request(
                "POST", "", {**batch(("PUT", "Patient/i4", patient("i4"))), "type": "transaction"}
            ),
            await service.request("POST", "$process-message", message(report("m1"), patient("p1"))),
            await service.delete("DiagnosticReport/i2"),
            await service.get("Patient/i1"),
        ]
        assert [answer.status for answer in answers if answer.status >= 300] == []
        refused = await service.put({"resourceType": "DiagnosticReport", "id": "bad"})
        assert refused.status == 422
        assert "Dead-Letter" in refused.headers
        assert (await service.get("$dead-letters")).status == 200
        holds, now = root._app[PRIVACY].holds, root.clock()
        await holds.add(Hold("ended", root.tenant, HoldKind.PATIENT, "Patient/i1", "a suit", now, "tests"))
        await holds.release("ended", now=now, by="tests", reason="settled")
        purged = await service.request(
            "POST",
            "Patient/i1/$purge",
            {
                "resourceType": "Parameters",
                "parameter": [{"name": "reason", "valueString": "asked for by letter"}],
            },
        )
        assert purged.status < 300, purged.text
        assert [one.subject for one in await holds.listed(root.tenant)] == [ERASED]


async def test_jobs_do_their_work_with_their_rights(locked: Mongod, root: Service) -> None:
    await root.load(patient("j1"), report("j1", patient="j1"))
    assert (await root.put({"resourceType": "DiagnosticReport", "id": "bad"})).status == 422
    await root.keeps(Policy(keep_days=1))
    root.clock.move(days=40)
    async with serving(locked, root, "jobs") as service:
        app = service._app
        jobs = Jobs(app[STORES], settings(role="jobs"), clock=root.clock, metrics=app[RETENTION_METRICS])
        await jobs.sweep()
        await jobs.measure()
        await jobs.collect_files()
        stores = app[STORES]
        async with following(stores.follower):
            assert await stores.changes.wait({root.tenant: START}, seconds=30)
    assert (await root.search("patient=Patient/j1", type="DiagnosticReport")).ids == []
    assert deleted(app) > 0
    root.clock.move(days=-40)


def deleted(app: web.Application) -> float:
    """Number of documents that the sweep has deleted."""
    return sum(
        sample.value
        for metric in app[REGISTRY].collect()
        for sample in metric.samples
        if sample.name == "dod_retention_deleted_total"
    )


FORBIDDEN: tuple[tuple[Role, str], ...] = (
    *(("query", name) for name in COLLECTIONS if "remove" not in WRITES["query"].get(name, ())),
    *(("ingest", name) for name in (AUDIT, RECEIPTS, HOLDS, TENANTS, TOKENS, CLIENTS)),
    *(("jobs", name) for name in (RECEIPTS, HOLDS, TENANTS, TOKENS, CLIENTS)),
)


async def test_what_is_forbidden_is_refused(locked: Mongod, root: Service) -> None:
    for role in ("query", "ingest", "jobs"):
        async with AsyncMongoClient[Json](uri_of(locked, role)) as client:
            mine = client[DATABASE]
            deletes = [
                {"delete": name, "deletes": [{"q": {}, "limit": 0}]} for of, name in FORBIDDEN if of == role
            ]
            writes = [
                {"insert": name, "documents": [{"_id": "forged"}]}
                for name in (
                    TENANTS,
                    TOKENS,
                    CLIENTS,
                    HOLDS,
                    *((RESOURCES, HISTORY) if role == "query" else ()),
                )
            ]
            others = [
                {"drop": RESOURCES},
                {"dropDatabase": 1},
                {"collMod": RESOURCES, "index": {"name": "keyed", "hidden": True}},
                {"createUser": "more", "pwd": "more", "roles": []},
                {"create": "of-its-own"},
                {"update": RECEIPTS, "updates": [{"q": {}, "u": {"$set": {"deleted": 0}}, "multi": True}]},
                {"profile": 2},
                *(
                    [
                        {
                            "createIndexes": AUDIT,
                            "indexes": [{"key": {"at": 1}, "name": "ttl", "expireAfterSeconds": 1}],
                        }
                    ]
                    if role == "query"
                    else ()
                ),
            ]
            for command in [*deletes, *writes, *others]:
                with pytest.raises(OperationFailure) as refused:
                    await mine.command(command)
                assert refused.value.code == 13, (role, command)
            for elsewhere in ({"find": "system.users"}, {"getParameter": "*"}, {"shutdown": 1}):
                with pytest.raises(OperationFailure) as refused:
                    await client.admin.command(elsewhere)
                assert refused.value.code == 13, (role, elsewhere)


async def test_query_waits_for_indexes_that_it_may_not_make(locked: Mongod, root: Service) -> None:
    async with AsyncMongoClient[Json](as_user(locked)) as client:
        await client[DATABASE][AUDIT].drop_index("moments")
        with pytest.raises(StartupError, match="The index moments of the collection audit is not there yet"):
            async with opened(
                settings(store_timeout_seconds=2),
                uri=uri_of(locked, "query"),
                clock=root.clock,
                metrics=_metrics(),
                wait_seconds=0,
                role="query",
            ):
                pass


async def test_the_cronjob_sweeps_with_the_rights_of_its_user(
    locked: Mongod, root: Service, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    yaml = pytest.importorskip("yaml")
    pod = yaml.safe_load(CRONJOB.read_text())["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    [container], [secret] = pod["containers"], [one["secret"] for one in pod["volumes"] if "secret" in one]
    assert secret["secretName"] == "data-on-demand-jobs"
    for one in container.get("env", ()):
        monkeypatch.setenv(one["name"], one["value"])
    database_of_commands(monkeypatch, uri_of(locked, "jobs"), DATABASE)
    done = await command(monkeypatch, capsys)(*container["args"])
    assert done.code == 0, done.err


@pytest.mark.parametrize("role", ["query", "ingest", "jobs"])
async def test_commands_within_a_pod_have_the_rights_of_its_role(
    locked: Mongod,
    root: Service,
    role: Role,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DOD_ROLE", role)
    database_of_commands(monkeypatch, uri_of(locked, role), DATABASE)
    dod = command(monkeypatch, capsys)
    assert '"check":"database","ok":true' in (await dod("doctor", "--json")).out
    for line in (["verify-data"], *([["reindex"], ["collect-files"]] if role == "jobs" else [])):
        assert (await dod(*line)).code == 0, line
    refused = await dod("tenant", "create", "more/Production")
    assert refused.code == 1
    assert "`readWrite`" in refused.err, refused.err
