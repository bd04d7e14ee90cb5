"""Messages of upstream's Data Model, made up."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

Json = dict[str, Any]


def person(first: str, last: str, **changed: Any) -> Json:
    return {"NPI": None, "ID": None, "IDType": None, "FirstName": first, "LastName": last, **changed}


def result(code: str = "2823-3", value: str | None = "5.10", **changed: Any) -> Json:
    return {
        "Code": code,
        "Codeset": "LOINC",
        "Description": f"Test {code}",
        "Value": value,
        "ValueType": "Numeric",
        "Units": "mmol/L",
        "Notes": ["Made-up note."],
        "AbnormalFlag": "Very High",
        "Status": "Final",
        "Producer": {"ID": "LAB-1", "Name": "Made-up Laboratory", "Address": {"City": "Nowhere"}},
        "Performer": person("Perry", "Former", Credentials=["MD"]),
        "ReferenceRange": {"Low": "3.5", "High": "5.00", "Text": "3.5 to 5.00"},
        **changed,
    }


def results_new(*results: Json, meta: Json | None = None, **changed: Any) -> Json:
    """`Results.New` with one order; `changed` are fields of the order."""
    return {
        "Meta": {
            "DataModel": "Results",
            "EventType": "New",
            "EventDateTime": "2026-11-20T10:00:00.000Z",
            "Test": True,
            "Source": {"ID": "made-up-source", "Name": "Made-up Source"},
            "Destinations": [{"ID": "made-up-destination", "Name": "Made-up Destination"}],
            **(meta or {}),
        },
        "Patient": {
            "Identifiers": [{"ID": "MADEUP-1", "IDType": "MR"}, {"ID": "e-1", "IDType": "EHRID"}],
            "Demographics": {
                "FirstName": "Ada",
                "LastName": "Madeup",
                "DOB": "1980-02-03",
                "SSN": "101-01-0001",
                "Sex": "Female",
                "PhoneNumber": {"Home": "+15550100000"},
            },
        },
        "Orders": [order(*results, **changed)],
        "Visit": {"VisitNumber": 1234567, "PatientClass": "Outpatient", "Location": {"Department": "3W"}},
    }


def order(*results: Json, **changed: Any) -> Json:
    return {
        "ID": "ORD-1",
        "ApplicationOrderID": "FIL-1",
        "TransactionDateTime": "2026-11-20T07:00:00.000Z",
        "CollectionDateTime": "2026-11-20T08:00:00.000Z",
        "CompletionDateTime": "2026-11-20T09:00:00.000Z",
        "Notes": [],
        "ResultsStatus": "Final",
        "Procedure": {"Code": "24323-8", "Codeset": "LOINC", "Description": "Panel"},
        "Provider": person("Pat", "Orderer", NPI="4356789876"),
        "Status": "Resulted",
        "Priority": "Stat",
        "Results": list(results) or [result(), result("6298-4", "Negative", ValueType="String", Units=None)],
        **changed,
    }


def results_query(*patients: str, **changed: Any) -> Json:
    """`Results.Query` for patients by `MR`."""
    return {
        "Meta": {"DataModel": "Results", "EventType": "Query", "Test": True},
        "Patients": [{"Identifiers": [{"ID": one, "IDType": "MR"}]} for one in patients],
        **changed,
    }


def without(message: Json, path: str) -> Json:
    """A copy without what stands at a path such as `Orders.0.ID`."""
    copy = deepcopy(message)
    here: Any = copy
    *leading, last = path.split(".")
    for name in leading:
        here = here[int(name)] if name.isdecimal() else here[name]
    here[last] = None
    return copy
