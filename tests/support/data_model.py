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


def whole_message(**demographics: Any) -> Json:
    """`Results.New` that says something in each field that there is, nothing twice."""
    count = iter(range(1, 100_000))

    def words(*names: str) -> Json:
        return {name: f"{name} {next(count)}" for name in names}

    def contacts() -> Json:
        return {
            "Address": words("StreetAddress", "City", "State", "ZIP", "County", "Country"),
            "PhoneNumber": words("Home", "Office", "Mobile"),
        }

    def mails() -> list[str]:
        return [f"{next(count)}@example.org", f"{next(count)}@example.org"]

    def someone() -> Json:
        return {
            **words("NPI", "ID", "IDType", "FirstName", "MiddleName", "LastName"),
            "Credentials": [f"MD {next(count)}", f"PhD {next(count)}"],
            **contacts(),
            "EmailAddresses": mails(),
            "Location": words("Type", "Facility", "Department", "Room"),
        }

    def company() -> Json:
        return {**words("ID", "IDType", "Name"), **contacts()}

    def coded(codeset: str) -> Json:
        return {**words("Code", "Description"), "Codeset": codeset}

    def one_result(value: str, kind: str, units: str | None, **bounds: str) -> Json:
        return {
            **coded("LOINC"),
            **words("RelatedGroupID"),
            "Specimen": words("Source", "BodySite", "ID"),
            "Value": value,
            "ValueType": kind,
            "Units": units,
            "FileType": f"TYPE {next(count)}",
            "CompletionDateTime": f"2026-11-20T09:00:{next(count) % 60:02}.000Z",
            "Notes": [f"note {next(count)}", f"note {next(count)}"],
            "AbnormalFlag": "High",
            "Status": "Final",
            "PrimaryResultsInterpreter": someone(),
            "Producer": company(),
            "Performer": someone(),
            "ReferenceRange": {**words("Text"), **bounds},
            "ObservationMethod": coded("99METHODS"),
        }

    return {
        "Meta": {
            "DataModel": "Results",
            "EventType": "New",
            "EventDateTime": "2026-11-20T10:00:00.000Z",
            "Test": True,
            "Source": {"ID": "made-up-source", "Name": "Made-up Source"},
            "Destinations": [{"ID": "made-up-destination", "Name": "Made-up Destination"}],
        },
        "Patient": {
            "Identifiers": [words("ID", "IDType"), words("ID", "IDType")],
            "Demographics": {
                **words("FirstName", "MiddleName", "LastName", "SSN", "Race", "Language"),
                "DOB": "1980-02-03",
                "Sex": "Female",
                "IsHispanic": False,
                "MaritalStatus": "Widowed",
                "IsDeceased": True,
                "DeathDateTime": "2026-11-19T01:02:03.000Z",
                **contacts(),
                "EmailAddresses": mails(),
                "Citizenship": ["US", "CA"],
                **demographics,
            },
            "Notes": [f"of the patient {next(count)}", f"of the patient {next(count)}"],
            "Contacts": [
                {
                    **words("FirstName", "MiddleName", "LastName", "RelationToPatient"),
                    **contacts(),
                    "EmailAddresses": mails(),
                    "Roles": [f"Role {next(count)}", f"Role {next(count)}"],
                }
                for _ in range(2)
            ],
        },
        "Orders": [
            {
                **words("ID", "ApplicationOrderID", "ResponseFlag"),
                "TransactionDateTime": "2026-11-20T07:00:00.000Z",
                "CollectionDateTime": "2026-11-20T08:00:00.000Z",
                "CompletionDateTime": "2026-11-20T09:00:00.000Z",
                "Notes": [f"of the order {next(count)}", f"of the order {next(count)}"],
                "ResultsStatus": "Final",
                "Procedure": coded("SNOMED-CT"),
                "Provider": someone(),
                "ResultCopyProviders": [someone(), someone()],
                "OrderingFacility": company(),
                "Specimen": words("Source", "BodySite", "ID"),
                "Status": "Resulted",
                "Priority": "Stat",
                "Results": [
                    one_result("5.10", "Numeric", "mmol/L", Low="3.50", High="5.00"),
                    one_result("<0.10", "Structured Numeric", "mg/L", Low="0.2", High="0.3"),
                    one_result("1-20", "Structured Numeric", "mg", Low="0", High="7"),
                    one_result("1:40", "Structured Numeric", None, Low="1.0", High="2.0"),
                    one_result("POS", "Coded Entry", None, Low="1", High="2"),
                    one_result("2026-11", "Date", None, Low="1", High="2"),
                    one_result("2026-11-20T06:30:00Z", "DateTime", None, Low="1", High="2"),
                    one_result("06:30:00", "Time", None, Low="1", High="2"),
                    one_result("Negative", "String", None, Low="1", High="2"),
                ],
            }
        ],
        "Visit": {
            **words("VisitNumber", "AccountNumber"),
            "VisitDateTime": "2026-11-20T06:00:00.000Z",
            "PatientClass": "Emergency",
            "Location": words("Type", "Facility", "Department", "Room", "Bed"),
            "AttendingProvider": someone(),
            "ReferringProvider": someone(),
        },
    }
