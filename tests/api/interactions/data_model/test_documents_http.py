"""Documents in upstream's Data Model: embedded ones are presented by the report, long ones as a Binary."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING

import pytest

from tests.support.data_model import result, results_new, results_query

if TYPE_CHECKING:
    from tests.support.service import Service


async def test_a_document_that_is_neither_base64_nor_a_uri_is_refused_at_its_place(service: Service) -> None:
    for value in ("n@t Base64", "AAAAA", "AAA=A", "Ä"):
        bad = result("PDF", value, ValueType="Encapsulated Data", FileType="PDF", Units=None)
        body = results_new(result(), bad)
        answer = await service.request("POST", "$data-model", body, content_type="application/json")
        assert answer.status == 400, value
        [error] = answer.body["Meta"]["Errors"]
        assert error["Path"] == "$.Orders[0].Results[1].Value"
        assert "Base64" in error["Text"]
        assert value not in answer.text
        assert answer.headers["Dead-Letter"]


async def test_words_that_no_table_has_come_back_as_they_were_sent(service: Service) -> None:
    odd = result("X", "5", Status="Made up")
    body = results_new(odd, Status="Invented", ResultsStatus="Imagined", Priority="Whenever")
    assert (await service.request("POST", "$data-model", body, content_type="application/json")).status == 200
    query = str(service.client.make_url("/query"))
    answer = await service.request("POST", query, results_query("MADEUP-1"), content_type="application/json")
    [order] = answer.body["Orders"]
    told = order["Status"], order["ResultsStatus"], order["Priority"], order["Results"][0]["Status"]
    assert told == ("Invented", "Imagined", "Whenever", "Made up")


@pytest.mark.parametrize("size", [300, 3_000_000])
async def test_an_embedded_document_is_presented_by_the_report(service: Service, size: int) -> None:
    document = b"%PDF-1.4 made up".ljust(size, b" ")
    data = b64encode(document).decode()
    pdf = result("PDF", data, ValueType="Encapsulated Data", FileType="PDF", Units=None)
    endpoint, query = (str(service.client.make_url(path)) for path in ("/endpoint", "/query"))
    answer = await service.request("POST", endpoint, results_new(pdf), content_type="application/json")
    assert answer.status == 200, answer.text
    [match] = (await service.search("patient.identifier=MADEUP-1")).matches
    [form] = match["resource"]["presentedForm"]
    assert form["contentType"] == "application/pdf"
    answer = await service.request("POST", query, results_query("MADEUP-1"), content_type="application/json")
    [order] = answer.body["Orders"]
    [found] = order["Results"]
    assert (found["ValueType"], found["FileType"]) == ("Encapsulated Data", "PDF")
    if size < 1_000:
        assert found["Value"] == form["data"] == data
    else:
        assert form["size"] == size
        assert found["Value"] == form["url"]
        name = form["url"].rpartition("/")[2]
        url = service.client.make_url(f"{service.root}/Binary/{name}")
        async with service.client.session.get(url, headers=service.headers) as response:
            assert await response.read() == document
