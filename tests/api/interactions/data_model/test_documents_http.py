"""Documents in upstream's Data Model: embedded ones are presented by the report, long ones as a Binary."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING

import pytest

from tests.support.data_model import result, results_new, results_query

if TYPE_CHECKING:
    from tests.support.service import Service


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
