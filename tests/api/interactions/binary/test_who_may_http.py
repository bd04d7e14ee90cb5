"""Documents and scopes, tenants, and whatever breaks between a file and its resource."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import ClientError

from api.commands.files.collect_files import collect_files
from ingest.http.app_keys import ATTACHMENTS, RESOURCES
from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from tests.api.interactions.binary.binaries import (
    PDF,
    SMALL,
    TYPE,
    binary,
    get,
    orphans,
    stores_of,
    url_of,
    with_form,
)
from tests.support.fhir import message, patient, report
from tests.support.service import Answer, Service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from store.files import File
    from store.tenancy import Tenant

# --- who may


SCOPES: list[tuple[list[str], bool, bool]] = [
    # scopes, may read the file of a report, may read a Binary of its own
    (["system/*.r"], True, True),
    (["system/Binary.r"], True, True),
    (["system/DiagnosticReport.rs"], True, False),
    (["system/DiagnosticReport.s"], False, False),
    (["system/Observation.rs"], False, False),
    (["system/Binary.cud"], False, False),
]


@pytest.mark.parametrize(("scopes", "file", "own"), SCOPES, ids=[" ".join(row[0]) for row in SCOPES])
async def test_scopes(service: Service, scopes: list[str], file: bool, own: bool) -> None:
    url = await url_of(service)
    await service.put(binary())
    reader = await service.with_token(scopes=scopes)
    for path, may in ((url, file), ("Binary/b1", own), (f"Binary/file-{'0' * 40}", False)):
        read = await get(reader, path)
        there = path != f"Binary/file-{'0' * 40}"
        knows = own and not there  # May read Binary: 404. Others are not told whether it is there.
        assert read.status == (200 if may else 404 if knows else 403), path


async def test_writing_needs_the_scope(service: Service) -> None:
    reader = await service.with_token(scopes=["system/DiagnosticReport.cruds", "system/Binary.r"])
    for method, path in (("POST", "Binary"), ("PUT", "Binary/x")):
        assert (await reader.request(method, path, data=SMALL, content_type=TYPE)).status == 403


async def test_tenants_see_nothing_of_one_another(service: Service) -> None:
    url = await url_of(service)
    await service.put(binary())
    other = await service.new_tenant()
    for path in (url, f"{url}/_history/1", "Binary/b1"):
        assert (await get(other, path)).status == 404
        foreign = Service(service.client, service.clock, service.tenant, other.headers)
        assert (await get(foreign, path)).status == 403


# --- what breaks


class Failing:
    """A port whose verb fails once it is reached, as a process that is killed there."""

    def __init__(self, inner: Any, verb: str) -> None:
        self.inner, self.verb = inner, verb

    def __getattr__(self, name: str) -> Any:
        return self.fail if name == self.verb else getattr(self.inner, name)

    async def fail(self, *_: object, **__: object) -> None:
        raise ServiceError(Category.UNAVAILABLE, Issue("transient", "killed here"))


async def test_killed_between_file_and_resource(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    app = service.client.app
    assert app is not None
    with monkeypatch.context() as patched:
        patched.setitem(app._state, RESOURCES, Failing(app[RESOURCES], "put_many"))
        assert (await service.put(with_form())).status == 503
    assert (await service.get("DiagnosticReport/r1")).status == 404
    assert await orphans(service) == 1
    assert await orphans(service) == 0
    url = await url_of(service)
    assert await orphans(service) == 0
    assert (await get(service, url)).body == PDF


async def test_without_its_file_no_resource_is_stored(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = service.client.app
    assert app is not None
    with monkeypatch.context() as patched:
        patched.setitem(app._state, ATTACHMENTS, Failing(app[ATTACHMENTS], "put"))
        answers: list[Answer] = [
            await service.put(with_form()),
            await service.request("POST", "$process-message", message(patient("p1"), with_form())),
        ]
    assert [answer.status for answer in answers] == [503, 503]
    assert (await service.get("DiagnosticReport/r1")).status == 404


async def test_a_refused_push_leaves_no_file(service: Service) -> None:
    assert (await service.put(with_form(status="nonsense"))).status == 422
    assert (await service.put(with_form("other", status=7))).status == 422
    assert await orphans(service) == 0


async def test_files_go_after_the_last_version_only(service: Service) -> None:
    url = await url_of(service)
    await service.put(report())
    await service.delete("DiagnosticReport/r1")
    assert await orphans(service) == 0
    assert (await get(service, url)).body == PDF


async def test_a_document_that_breaks_off_is_no_whole_one(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = service.client.app
    assert app is not None
    url, inner = await url_of(service), app[ATTACHMENTS]

    async def broken(tenant: Tenant, file: File, *, start: int, end: int) -> AsyncIterator[bytes]:
        async for piece in inner.read(tenant, file, start=start, end=end):
            yield piece
            raise ServiceError(Category.UNAVAILABLE)

    wrapped = Failing(inner, "nothing")
    wrapped.read = broken  # type: ignore[attr-defined]
    monkeypatch.setitem(app._state, ATTACHMENTS, wrapped)
    with pytest.raises(ClientError):
        await get(service, url)


async def test_what_the_command_says(service: Service) -> None:
    lines: list[str] = []
    await url_of(service)
    later = service.clock() + timedelta(hours=2)
    await collect_files(stores_of(service), tenant=service.tenant, now=later, say=lines.append)
    assert lines == [f"{service.tenant}: 1 examined, 0 deleted, 0 bytes freed"]
