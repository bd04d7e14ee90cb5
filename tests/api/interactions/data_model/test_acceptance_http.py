"""Results of one made-up carrier screening, as upstream's own example has them: each case in turn."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha1
from typing import TYPE_CHECKING, Any

from store.tenancy import Tenant, TenantSettings
from tests.support.data_model import order, results_new
from tests.support.service import opened_service

if TYPE_CHECKING:
    from tests.support.service import Answer, Service

Json = dict[str, Any]
TIME = "2026-05-06T06:00:58.872Z"
SCREEN = {"Code": "49086-2", "Codeset": None, "Description": "Made-up screen"}


def screening(**changed: Any) -> Json:
    def one(code: str, value: str, flag: str, *notes: str) -> Json:
        told = {"Code": code, "Value": value, "ValueType": "String", "AbnormalFlag": flag, "Status": "Final"}
        return {**told, "Notes": [*notes], "Codeset": None, "Description": f"Made-up disease {code}"}

    results = [one("T1", "Positive", "Very Abnormal", "A made-up carrier."), one("T4", "Negative", "Normal")]
    times = dict.fromkeys(("TransactionDateTime", "CollectionDateTime", "CompletionDateTime"), TIME)
    told = {"ID": "157", "ApplicationOrderID": None, "Procedure": SCREEN, **times, **changed}
    return results_new(**{"Results": results, **told})


async def post(service: Service, message: Json, path: str = "/endpoint") -> Answer:
    url = str(service.client.make_url(path)) if path[0] == "/" else path
    return await service.request("POST", url, message, content_type="application/json")


async def found(service: Service, number: str) -> Json:
    """The only report with an order's number."""
    query = f"patient.identifier=urn:redox:{service.tenant.organization}:MR|MADEUP-1&order={number}"
    [match] = (await service.search(query)).matches
    resource: Json = match["resource"]
    return resource


async def test_results_are_taken_exposed_and_queried_as_upstream_does(service: Service) -> None:
    service = await service.with_token(scopes=["system/*.cruds", "dod/admin"])
    # Case 16: accepted with a log's id; order number, text, status, results with flags and notes.
    taken = await post(service, screening())
    assert taken.status == 200, taken.text
    assert taken.body["Meta"]["Logs"][0]["ID"]
    report = await found(service, "157")
    system = f"urn:redox:{service.tenant.organization}:OrderID"
    [number] = report["identifier"]
    assert (number["system"], number["value"]) == (system, "157")
    assert (number["extension"][0]["valueString"], report["status"]) == ("RedoxAPI", "final")
    assert (report["code"]["text"], report["effectiveDateTime"], report["issued"]) == (
        SCREEN["Description"],
        TIME,
        TIME,
    )
    assert report["category"][0]["coding"][0]["code"] == "LAB"
    results = [(await service.get(one["reference"])).body for one in report["result"]]
    assert [one["interpretation"][0]["coding"][0]["code"] for one in results] == ["AA", "N"]
    assert results[0]["note"] == [{"text": "A made-up carrier."}]
    # Case 17: twice is once, and what is older changes nothing.
    older = screening(ResultsStatus="Preliminary")
    older["Meta"]["EventDateTime"] = "2026-11-20T09:00:00.000Z"
    for message in (screening(), older):
        assert (await post(service, message)).status == 200
    assert await found(service, "157") == report
    # Case 18: unsolicited results have the application's number, solicited ones the order's.
    for event, ids, status in (
        ("NewUnsolicited", {"ID": None, "ApplicationOrderID": "1234"}, 200),
        ("New", {"ID": None, "ApplicationOrderID": "1234"}, 400),
    ):
        message = screening(**ids)
        message["Meta"]["EventType"] = event
        assert (await post(service, message)).status == status
    # Case 20: several criteria at once, each order with its patient and visit.
    query = {
        "Meta": {"DataModel": "Results", "EventType": "Query", "Test": True},
        "Patients": [{"Identifiers": [{"ID": "MADEUP-1", "IDType": "MRN"}]}],
        "Completion": {
            "StartDateTime": "2026-05-06T06:00:00.000Z",
            "EndDateTime": "2026-05-06T07:00:00.000Z",
        },
        "ResultStatuses": ["Final"],
        "OrderIDs": ["123", "157", "789"],
        "Procedures": [],
    }
    for kind, numbers in (("EHRID", []), ("MR", ["157"]), ("MRN", ["157"])):
        query["Patients"] = [{"Identifiers": [{"ID": "MADEUP-1", "IDType": kind}]}]
        answer = await post(service, query, "/query")
        assert answer.status == 200, answer.text
        assert answer.body["Meta"]["EventType"] == "QueryResponse"
        assert [one["ID"] for one in answer.body["Orders"]] == numbers
    [told] = answer.body["Orders"]
    assert (told["Patient"]["Identifiers"][0]["ID"], told["Visit"]["VisitNumber"]) == ("MADEUP-1", "1234567")
    # Case 19: a test never reaches Production.
    production = Tenant(service.tenant.organization, "Production")
    await service.access.put_tenant(TenantSettings(production))
    service.tenant = production
    service = await service.with_token(scopes=["system/*.cruds"])
    assert (await post(service, screening(), "$data-model")).status == 403
    assert (await service.search("patient.identifier=MADEUP-1")).ids == []


async def test_an_embedded_pdf_is_a_binary_and_one_too_large_is_refused(mongodb: str) -> None:
    # Case 33, with a bound of a tenth.
    async with opened_service(mongodb, upload_bytes_max=3_000_000) as service:
        for size, status in ((1_200_000, 200), (3_000_000, 200), (3_100_000, 413)):
            document = b"%PDF-1.4 ".ljust(size, b"\x00")
            pdf = {"Code": "PDF", "ValueType": "Encapsulated Data", "FileType": "PDF", "Status": "Final"}
            lines = b64encode(document).decode()
            lines = "\r\n".join(lines[at : at + 76] for at in range(0, len(lines), 76))
            message = results_new()
            message["Orders"] = [order({**pdf, "Value": lines}, ID=f"O-{size}", ApplicationOrderID=None)]
            answer = await post(service, message)
            assert answer.status == status, answer.text[:500]
            if status == 413:
                [error] = answer.body["Meta"]["Errors"]
                assert error["Path"] == "$.Orders[0].Results[0].Value"
                assert "3,000,000 bytes (`DOD_UPLOAD_BYTES_MAX`)" in error["Text"]
                continue
            [form] = (await found(service, f"O-{size}"))["presentedForm"]
            assert (form["contentType"], form["size"]) == ("application/pdf", size)
            assert form["hash"] == b64encode(sha1(document, usedforsecurity=False).digest()).decode()
            url = service.client.make_url(f"{service.root}/{form['url']}")
            async with service.client.session.get(url, headers=service.headers) as response:
                assert await response.read() == document
