"""Random results go to FHIR and come back equal in every field that the mapping has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.data_model import codecs
from ingest.data_model.from_fhir import Reader
from ingest.data_model.models import ResultsNew, read
from ingest.data_model.to_fhir import translate
from ingest.data_model.values import VALUES
from ingest.hl7v2.profile import DEFAULT_PROFILE

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

Json = dict[str, Any]

words = st.text("abcXYZ ,.^|-é09", min_size=1, max_size=8).map(str.strip).filter(bool)
maybe = st.none() | words
many = st.lists(words, max_size=2, unique=True)
moments = st.none() | st.sampled_from(
    ["2026-11-20T10:00:00.000Z", "2026-11-20", "2026", "no time", "2026-02-30"]
)
instants = st.none() | st.sampled_from(
    ["2026-11-20T10:00:00.120Z", "2026-11-20T10:00:00+01:00", "2026-11-20"]
)
numbers = st.sampled_from(
    ["5", "5.10", "-0.50", "1e3", "1,5", "0007", "<5", ">= 3.0", "1-2", "1:20", "3/4", "x"]
)
values = (
    numbers | words | st.sampled_from(["2026-11-20", "2026-11-20T10:00:00Z", "10:00:00", "Positive Result"])
)
TYPES = (*VALUES, "String", "Formatted Text", "ID", "Address", "Phone Number", "Name", "ID And Name")


def told(**fields: SearchStrategy[Any]) -> SearchStrategy[Json]:
    return st.fixed_dictionaries(fields)


def words_of(codec: codecs.Codec) -> SearchStrategy[str | None]:
    return st.none() | st.sampled_from(sorted(codec.table))


addresses: SearchStrategy[Json] = told(
    StreetAddress=maybe, City=maybe, State=maybe, ZIP=maybe, County=maybe, Country=maybe
) | st.just({})
phones = told(Home=maybe, Office=maybe, Mobile=maybe)
coded = told(
    Code=maybe,
    Codeset=st.none() | st.sampled_from(["LN", "LOINC", "L", "99LAB", "SNOMED", "HL70123", "a b"]),
    Description=maybe,
)
providers: SearchStrategy[Json] = st.just({}) | told(
    NPI=maybe,
    ID=words,
    IDType=maybe,
    FirstName=maybe,
    MiddleName=maybe,
    LastName=maybe,
    Credentials=many,
    Address=addresses,
    EmailAddresses=many,
    PhoneNumber=phones,
    Location=told(Type=maybe, Facility=maybe, Department=maybe, Room=maybe),
)
organizations: SearchStrategy[Json] = st.just({}) | told(
    ID=words, IDType=maybe, Name=maybe, Address=addresses, PhoneNumber=phones
)
specimens: SearchStrategy[Json] = st.just({}) | told(Source=words, BodySite=maybe, ID=maybe)
results = told(
    Code=words,
    Codeset=coded.map(lambda one: one["Codeset"]),
    Description=maybe,
    RelatedGroupID=maybe,
    Specimen=specimens,
    Value=st.none() | values,
    ValueType=st.sampled_from(TYPES),
    CompletionDateTime=instants,
    FileType=st.none(),
    Units=maybe,
    Notes=many,
    AbnormalFlag=words_of(codecs.FLAG) | words,
    Status=words_of(codecs.RESULT_STATUS),
    PrimaryResultsInterpreter=providers,
    Producer=organizations,
    Performer=providers,
    ReferenceRange=told(Low=st.none() | numbers, High=st.none() | numbers, Text=maybe),
    ObservationMethod=coded,
) | told(
    Code=words,
    Description=maybe,
    Value=st.just("JVBERi0xLjQ="),
    ValueType=st.just("Encapsulated Data"),
    FileType=st.sampled_from([None, "PDF", "pdf", "image/png", "odd"]),
    Status=words_of(codecs.RESULT_STATUS),
)
orders = told(
    ID=words,
    ApplicationOrderID=maybe,
    TransactionDateTime=moments,
    CollectionDateTime=moments,
    CompletionDateTime=instants,
    Notes=many,
    ResultsStatus=words_of(codecs.REPORT_STATUS),
    Procedure=coded,
    Provider=providers,
    ResultCopyProviders=st.lists(providers.filter(bool), max_size=2),
    OrderingFacility=organizations,
    Status=words_of(codecs.ORDER_STATUS).filter(lambda one: one != "Cancel"),
    ResponseFlag=maybe,
    Priority=words_of(codecs.PRIORITY),
    Results=st.lists(results, max_size=2),
)
patients = told(
    Identifiers=st.lists(
        told(ID=words, IDType=st.none() | st.sampled_from(["MR", "MRN", "EHRID", "PI", "SSN"])),
        min_size=1,
        max_size=3,
    ),
    Demographics=told(
        FirstName=maybe,
        MiddleName=maybe,
        LastName=maybe,
        DOB=st.none() | st.sampled_from(["1980-02-03", "1980", "1980-02-03T00:00:00Z", "unknown"]),
        SSN=maybe,
        Sex=words_of(codecs.SEX) | words,
        Race=maybe,
        IsHispanic=st.none() | st.booleans(),
        MaritalStatus=words_of(codecs.MARITAL) | words,
        IsDeceased=st.none() | st.booleans(),
        PhoneNumber=phones,
        EmailAddresses=many,
        Language=maybe,
        Citizenship=many,
        Address=addresses,
    ),
    Notes=many,
    Contacts=st.lists(
        told(
            FirstName=maybe,
            MiddleName=maybe,
            LastName=words,
            Address=addresses,
            PhoneNumber=phones,
            RelationToPatient=maybe,
            EmailAddresses=many,
            Roles=many,
        ),
        max_size=2,
    ),
)
visits: SearchStrategy[Json] = st.just({}) | told(
    VisitDateTime=moments,
    VisitNumber=maybe,
    AccountNumber=maybe,
    PatientClass=words_of(codecs.CLASS) | words,
    Location=told(Type=maybe, Facility=maybe, Department=maybe, Room=maybe, Bed=maybe),
    AttendingProvider=providers,
    ReferringProvider=providers,
)
META = {"DataModel": "Results", "EventType": "New", "Source": {"ID": "made-up"}}
messages = told(
    Meta=st.just(META), Patient=patients, Orders=st.lists(orders, min_size=1, max_size=2), Visit=visits
)


@settings(max_examples=60)
@given(messages)
def test_what_goes_to_fhir_comes_back_equal(message: Json) -> None:
    sent = read(ResultsNew, message)
    bundle: Any = translate(sent, DEFAULT_PROFILE, "acme").bundle
    entries = {one["fullUrl"]: one["resource"] for one in bundle["entry"]}
    reader = Reader(entries.get)
    reports = [one for one in entries.values() if one["resourceType"] == "DiagnosticReport"]
    wanted = sent.model_dump()
    assert len(reports) == len(wanted["Orders"])
    for report, order in zip(reports, wanted["Orders"], strict=True):
        found = reader.order(report)
        differ = [
            *differences({**order, "Patient": wanted["Patient"], "Visit": wanted["Visit"]}, found, "Order")
        ]
        assert differ == []


def differences(one: Any, other: Any, path: str) -> list[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        return [
            found
            for name in one.keys() | other.keys()
            for found in differences(one.get(name), other.get(name), f"{path}.{name}")
        ]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [
            found
            for number, (left, right) in enumerate(zip(one, other, strict=True))
            for found in differences(left, right, f"{path}[{number}]")
        ]
    return [] if one == other else [f"{path}: {one!r} {other!r}"]
