"""`POST /upload`: a file that a later message of the same client refers to, for a while."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import FormData

from api.auth.tokens import new_grant, new_token
from api.background.file_collection import collect_tenant
from api.http.app_keys import STORES
from ingest.http.app_keys import ATTACHMENTS
from store.files import NewFile
from tests.support.data_model import result, results_new
from tests.support.fhir import MRN, batch, identified, message, patient, report

if TYPE_CHECKING:
    from store.tenancy import Tenant
    from tests.support.service import Answer, Service

PDF = b"%PDF-1.4 made up\r\n\r\n--no boundary"
DAY = 86_400
MR = {"type": {"coding": [{"code": "MR"}]}, **identified(MRN, "1")}


async def upload(service: Service, content: bytes = PDF, *, path: str = "/upload", status: int = 201) -> Any:
    url = str(service.client.make_url(path))
    data = FormData()
    data.add_field("file", BytesIO(content), filename="letter.pdf", content_type="application/pdf")
    async with service.client.session.post(url, data=data, headers=service.headers) as response:
        answer = await response.json()
        assert response.status == status, answer
        return answer


async def send(service: Service, uri: str, **changed: Any) -> Answer:
    told = result(
        "PDF", uri, **({"ValueType": "Encapsulated Data", "FileType": "PDF", "Units": None} | changed)
    )
    return await service.request("POST", "$data-model", results_new(told), content_type="application/json")


async def document(service: Service) -> tuple[Any, bytes]:
    """The presented form of the only report, and the bytes that it leads to."""
    [match] = (await service.search("patient.identifier=MADEUP-1")).matches
    [form] = match["resource"]["presentedForm"]
    name = form["url"].rpartition("/")[2]
    url = service.client.make_url(f"{service.root}/Binary/{name}")
    async with service.client.session.get(url, headers=service.headers) as response:
        assert response.status == 200
        return form, await response.read()


@pytest.mark.parametrize("path", ["/upload", "base"])
async def test_a_message_refers_to_what_its_client_uploaded(service: Service, path: str) -> None:
    where = f"{service.root}/$upload" if path == "base" else path
    uri = (await upload(service, path=where))["URI"]
    file_id = uri.rpartition("/")[2].partition(".")[0]
    # Nobody reads it before a message refers to it, by the URI or as a Binary.
    for there in (uri, str(service.client.make_url(f"{service.root}/Binary/{file_id}"))):
        async with service.client.session.get(there, headers=service.headers) as response:
            assert response.status == 404
    assert (await send(service, uri)).status == 200
    form, content = await document(service)
    assert (content, form["contentType"], form["size"]) == (PDF, "application/pdf", len(PDF))
    service.clock.move(seconds=DAY + 1)
    late = await send(service, uri, Status="Corrected")
    assert late.status == 422
    [error] = late.body["Meta"]["Errors"]
    assert error["Path"] == "$.Orders[0].Results[0].Value"
    assert "too long ago" in error["Text"]


async def test_twelve_megabytes_are_taken_and_thirty_one_are_not(service: Service) -> None:
    content = bytes(range(256)) * 46_875
    uri = (await upload(service, content))["URI"]
    assert (await send(service, uri, FileType=None)).status == 200
    form, found = await document(service)
    assert sha256(found).digest() == sha256(content).digest()
    assert form["contentType"] == "application/pdf"
    told = await upload(service, bytes(31_000_000), status=413)
    [error] = told["Meta"]["Errors"]
    assert "30,000,000 bytes (`DOD_UPLOAD_BYTES_MAX`)" in error["Text"]
    assert (await upload(service, b"", status=400))["Meta"]["Errors"]
    url = str(service.client.make_url("/upload"))
    async with service.client.session.post(url, data=b"{}", headers=service.headers) as response:
        assert response.status == 415
    untyped = ["Content-Type"]  # Without a body nothing says that there has to be one.
    async with service.client.session.post(
        url, headers=service.headers, skip_auto_headers=untyped
    ) as response:
        assert response.status == 400


async def test_an_upload_is_nobody_else_s(service: Service) -> None:
    uri = (await upload(service))["URI"]
    other_client = await service.with_token(scopes=["system/*.cruds"], client="another")
    other_tenant = await service.new_tenant()
    seal = uri.rpartition(".")[2]
    later = uri.replace(f".{uri.split('.')[-2]}.", ".99999999999.")
    for sender, named in (
        (other_client, uri),
        (other_tenant, uri),
        (service, uri.replace(seal, "0" * 32)),
        (service, later),
    ):
        answer = await send(sender, named)
        assert answer.status == 422, answer.text
        assert "POST /upload" in answer.body["Meta"]["Errors"][0]["Text"]
        assert seal not in answer.text
    reader = await service.with_token(scopes=["system/*.rs"])
    await upload(reader, status=403)
    assert (await send(service, uri)).status == 200


async def test_nobody_else_gets_at_an_upload_by_a_resource_that_names_it(service: Service) -> None:
    uri = (await upload(service))["URI"]
    file = f"Binary/{uri.rpartition('/')[2].partition('.')[0]}"
    other = await service.with_token(scopes=["system/*.cruds"], client="another")

    def form(url: str) -> Any:
        return report("r", "p", presentedForm=[{"contentType": "application/pdf", "url": url}])

    extension = {"extension": [{"url": "urn:data-on-demand:file", "valueUrl": file}]}
    binary = {"resourceType": "Binary", "id": "b", "contentType": "application/pdf", "_data": extension}
    assert (await other.put(report("r", "p"))).status == 201
    added = [{"op": "add", "path": "/presentedForm", "value": form(file)["presentedForm"]}]
    named = (file, f"{other.base}/{file}", f"https://elsewhere.example/{file}/_history/1")
    tries = [
        *[await other.put(one) for one in (binary, *map(form, named))],
        await other.request("POST", "DiagnosticReport", form(file)),
        await other.request("POST", "", {**batch(("PUT", "Binary/b", binary)), "type": "transaction"}),
        await other.request("POST", "$process-message", message(form(file), patient("p", MR))),
        await other.request("PATCH", "DiagnosticReport/r", added, content_type="application/json-patch+json"),
    ]
    assert [one.status for one in tries] == [422] * len(tries)
    assert all("neither sent nor may read" in one.text for one in tries)
    [entry] = (await other.request("POST", "", batch(("PUT", "Binary/b", binary)))).body["entry"]
    assert entry["response"]["status"].startswith("422")
    assert (await other.request("GET", file)).status == 404
    assert (await send(service, uri)).status == 200
    # Now it is in a report, and whoever may read that may name it; whoever may not, may not.
    assert (await other.put(form(file))).status == 200
    source = await service.with_token(scopes=["system/*.cu"], client="source")
    assert (await source.put({**form(file), "id": "mine"})).status == 422
    again = {**form(file), "conclusion": "news"}  # It was there already.
    assert (await source.put(again)).status == 200


async def test_a_file_that_is_left_of_a_refused_push_may_come_again(service: Service) -> None:
    """The replay of a dead letter names the file that was taken out of it."""
    app = service.client.app
    assert app is not None
    file = NewFile(f"file-{'7' * 40}", 3, b"sha", "text/plain", lambda: iter([b"abc"]))
    await app[ATTACHMENTS].put(service.tenant, [file])
    form = {"contentType": "text/plain", "url": f"Binary/{file.id}"}
    assert (await service.put(report("r", "p", presentedForm=[form]))).status == 201


async def test_a_file_that_no_message_refers_to_is_deleted_in_time(service: Service) -> None:
    app = service.client.app
    assert app is not None
    named, left, reread = [(await upload(service, PDF + mark))["URI"] for mark in (b"1", b"2", b"3")]
    assert (await send(service, named)).status == 200

    async def deleted() -> int:
        return (await collect_tenant(app[STORES], service.tenant, now=service.clock()))[1]

    service.clock.move(seconds=DAY - 60)
    assert await deleted() == 0
    assert (await send(service, reread)).status == 200  # The report has another document from now on.
    service.clock.move(seconds=2 * 3_600)
    # The first one is in the history of the report; the second one is nobody's.
    assert await deleted() == 1
    assert (await send(service, left)).status == 422


async def test_a_token_for_several_tenants_says_which(service: Service) -> None:
    other = await service.new_tenant()
    token = new_token()
    tenants = [service.tenant, other.tenant]
    grant = new_grant(
        token=token, client="both", tenants=tenants, scopes=["system/*.cruds"], now=service.clock(), days=1
    )
    await service.access.put_grant(grant)
    both = replace(service, headers={"Authorization": f"Bearer {token}"})
    await upload(both, status=403)
    uri = (await upload(both, path=f"/upload?destination={other.tenant}"))["URI"]
    assert (await send(both, uri)).status == 422
    assert (await send(replace(both, tenant=other.tenant), uri)).status == 200


async def test_an_erasure_lets_uploads_that_nothing_names_go_within_an_hour(service: Service) -> None:
    app = service.client.app
    assert app is not None
    reader = await service.with_token(scopes=["system/*.cruds", "dod/purge"])
    other = await service.new_tenant()
    named, left, late = [(await upload(service, PDF + mark))["URI"] for mark in (b"1", b"2", b"3")]
    elsewhere = (await upload(other))["URI"]
    assert (await send(service, named)).status == 200
    [match] = (await service.search("patient.identifier=MADEUP-1")).matches
    patient = match["resource"]["subject"]["reference"]
    purged = await reader.request("POST", f"{patient}/$purge", {"reason": "asked for by letter"})
    assert purged.status == 200, purged.text

    async def deleted(tenant: Tenant) -> int:
        return (await collect_tenant(app[STORES], tenant, now=service.clock()))[1]

    service.clock.move(seconds=3_000)
    assert await deleted(service.tenant) == 0
    message = results_new(result("PDF", late, ValueType="Encapsulated Data", FileType="PDF", Units=None))
    message["Patient"] = {"Identifiers": [{"ID": "MADEUP-2", "IDType": "MR"}]}
    told = await service.request("POST", "$data-model", message, content_type="application/json")
    assert told.status == 200, told.text
    service.clock.move(seconds=DAY - 6_000)
    assert await deleted(service.tenant) == 1
    assert await deleted(other.tenant) == 0
    assert (await send(other, elsewhere)).status == 200
    message["Orders"][0]["Results"][0]["Value"] = left
    told = await service.request("POST", "$data-model", message, content_type="application/json")
    assert told.status == 422
    assert "upload it again" in told.body["Meta"]["Errors"][0]["Text"]
