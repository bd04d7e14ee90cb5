"""A report that moves to another patient: the audit says so, without a value of either."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.http.app_keys import PRIVACY
from store.audit.records import AuditQuery, Deed
from store.tenancy import SearchScope
from tests.support.fhir import identified, message, patient, refers, report

if TYPE_CHECKING:
    from store.audit.records import AuditRecord
    from tests.support.fhir import Json
    from tests.support.service import Service


def told(number: str, status: str, minute: int) -> Json:
    """The laboratory's report F-1 under a record number."""
    typed = {**identified("urn:mr", number), "type": {"coding": [{"code": "MR"}]}}
    filler = {**identified("urn:fill", "F-1"), "type": {"coding": [{"code": "FILL"}]}}
    sent = report("r", None, identifier=[filler], status=status, subject=refers("Patient/p"))
    return {**message(sent, patient("p", typed)), "timestamp": f"2026-11-20T10:{minute:02}:00Z"}


async def moves(lab: Service) -> tuple[AuditRecord, ...]:
    """The records of reports that moved."""
    wanted = AuditQuery(lab.tenant, dids=frozenset({Deed.REPORT_MOVED}))
    return (await lab._app[PRIVACY].audit.find(wanted)).records


async def test_the_audit_tells_of_a_move_once(service: Service) -> None:
    lab = await service.new_tenant(search_scope=SearchScope.ANY)
    for number, status, minute in (("SECRET-A", "final", 1), ("SECRET-B", "corrected", 2)):
        answer = await lab.request("POST", "$process-message", told(number, status, minute))
        assert answer.status == 200, answer.text
    assert "moved here from another patient" in answer.text
    assert (await lab.search("patient.identifier=urn:mr|SECRET-A")).ids == []
    [found] = (await lab.search("patient.identifier=urn:mr|SECRET-B")).ids
    again = {**told("SECRET-B", "corrected", 2), "id": "again"}
    await lab.request("POST", "$process-message", again)
    [act] = await moves(lab)
    assert (act.did, act.of, act.by) == (Deed.REPORT_MOVED, f"DiagnosticReport/{found}", "tests")
    assert act.reason.count("Patient/") == 2
    assert "SECRET" not in str(act)


async def test_the_audit_holds_no_number_of_a_patient_who_is_named_by_it(service: Service) -> None:
    filler = {**identified("urn:fill", "F-2"), "type": {"coding": [{"code": "FILL"}]}}
    lab = await service.new_tenant(search_scope=SearchScope.ANY)
    for number, status, minute in (("SECRET-A", "final", 1), ("SECRET-B", "corrected", 2)):
        subject = {"identifier": identified("urn:mr", number)}
        sent = message(report("r", None, identifier=[filler], status=status, subject=subject))
        sent |= {"timestamp": f"2026-11-20T10:{minute:02}:00Z"}
        assert (await lab.request("POST", "$process-message", sent)).status == 200
    [act] = await moves(lab)
    assert act.did == Deed.REPORT_MOVED
    assert "SECRET" not in str(act)
