"""Random results go to FHIR and come back equal in every field that the mapping has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args, get_origin

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from ingest.data_model import codecs
from ingest.data_model.from_fhir import Reader
from ingest.data_model.models import Order, Patient, Result, ResultsNew, Visit, read
from ingest.data_model.table import is_empty
from ingest.data_model.to_fhir import DELETED, translate
from ingest.data_model.values import DOCUMENTS, VALUES, kind_of
from ingest.hl7v2.profile import DEFAULT_PROFILE

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

Json = dict[str, Any]

words = st.text('abcXYZ ,.^|-é09\n"&', min_size=1, max_size=8).map(str.strip).filter(bool)
maybe = st.none() | words
many = st.lists(words, max_size=2, unique=True)
moments = st.none() | st.sampled_from(
    [
        "2026-11-20T10:00:00.000Z",
        "2026-11-20",
        "2026",
        "no time",
        "2026-02-30",
        "20261120",
        "2026-11-20T10:00",
    ]
)
numbers = st.sampled_from(
    [
        "5",
        "5.10",
        "-0.50",
        "1e3",
        "1,5",
        "0007",
        "<5",
        ">= 3.0",
        "1-2",
        "1:20",
        "3/4",
        "x",
        "+5",
        ".5",
        "5.",
        "1E400",
    ]
)
values = (
    numbers | words | st.sampled_from(["2026-11-20", "2026-11-20T10:00:00Z", "10:00:00", "Positive Result"])
)
TYPES = (*VALUES, "String", "Formatted Text", "ID", "Address", "Phone Number", "Name", "ID And Name", "Odd")


def words_of(codec: codecs.Codec) -> SearchStrategy[str | None]:
    return st.none() | st.sampled_from(sorted(codec.table)) | words


SPECIAL: dict[tuple[str, str], SearchStrategy[Any]] = {
    ("Demographics", "DOB"): st.none() | st.sampled_from(["1980-02-03", "1980", "1980-02-03T00:00:00Z", "x"]),
    ("Demographics", "Sex"): words_of(codecs.SEX),
    ("Demographics", "MaritalStatus"): words_of(codecs.MARITAL),
    ("Demographics", "DeathDateTime"): moments,
    ("Identifier", "ID"): words,
    ("Identifier", "IDType"): st.none() | st.sampled_from(["MR", "MRN", "EHRID", "PI", "SSN", "SS", "NPI"]),
    ("Order", "ID"): words,
    ("Order", "TransactionDateTime"): moments,
    ("Order", "CollectionDateTime"): moments,
    ("Order", "CompletionDateTime"): moments,
    ("Order", "ResultsStatus"): words_of(codecs.REPORT_STATUS),
    ("Order", "Status"): words_of(codecs.ORDER_STATUS),
    ("Order", "Priority"): words_of(codecs.PRIORITY),
    ("Provider", "IDType"): st.none() | st.sampled_from(["NPI", "EHRID", "odd type"]),
    ("Result", "Code"): words,
    ("Result", "CompletionDateTime"): moments,
    ("Result", "AbnormalFlag"): words_of(codecs.FLAG),
    ("Result", "Status"): words_of(codecs.RESULT_STATUS),
    ("Visit", "VisitDateTime"): moments,
    ("Visit", "PatientClass"): words_of(codecs.CLASS),
    **{
        (shape, "Codeset"): st.none()
        | st.sampled_from(["LN", "LOINC", "L", "99LAB", "SNOMED", "HL70123", "a b"])
        for shape in ("Coded", "Result")
    },
    **{("ReferenceRange", bound): st.none() | numbers for bound in ("Low", "High")},
    **{("Demographics", flag): st.none() | st.booleans() for flag in ("IsHispanic", "IsDeceased")},
}
"""Fields that are more than words."""
VALUED: SearchStrategy[Json] = st.one_of(
    st.fixed_dictionaries(
        {"Value": values, "ValueType": st.sampled_from(TYPES), "Units": maybe, "FileType": maybe}
    ),
    st.fixed_dictionaries({"Units": maybe, "FileType": maybe}),
    st.fixed_dictionaries(
        {
            "Value": st.sampled_from(["JVBERi0xLjQ=", "https://files.example.org/a?b=c", "urn:uuid:1"]),
            "ValueType": st.just("Encapsulated Data"),
            "FileType": st.sampled_from([None, "PDF", "pdf", "image/png", "odd"]),
        }
    ),
    st.fixed_dictionaries(
        {
            "Value": st.sampled_from(["https://files.example.org/a", "no address"]),
            "ValueType": st.just("Reference Pointer"),
            "FileType": st.sampled_from([None, "PDF"]),
        }
    ),
)
"""Value, ValueType, Units and FileType, which belong together."""
TOGETHER = {"Value", "ValueType", "Units", "FileType"}


def drawn(shape: type[BaseModel]) -> SearchStrategy[Json]:
    """Any object of a shape: each field that it has, whatever is added to it."""
    fields = {
        name: SPECIAL[key] if (key := (shape.__name__, name)) in SPECIAL else _values_of(field.annotation)
        for name, field in shape.model_fields.items()
        if not (shape is Result and name in TOGETHER)
    }
    made = st.fixed_dictionaries({}, optional=fields)
    if shape is Result:
        coded = st.fixed_dictionaries({"Code": words})
        return st.tuples(made, VALUED, coded).map(lambda some: {**some[0], **some[1], **some[2]})
    return made


def _values_of(annotation: Any) -> SearchStrategy[Any]:
    """Values of a field by its type."""
    inner = get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return drawn(annotation)
    if get_origin(annotation) is list:
        [each] = inner
        if isinstance(each, type) and issubclass(each, BaseModel):
            return st.lists(drawn(each), max_size=2)
        return many
    return maybe


messages = st.fixed_dictionaries(
    {
        "Meta": st.just({"DataModel": "Results", "EventType": "New", "Source": {"ID": "made-up"}}),
        "Patient": st.builds(
            lambda patient, numbers: {**patient, "Identifiers": numbers},
            drawn(Patient),
            st.lists(
                st.fixed_dictionaries({"ID": words}, optional={"IDType": SPECIAL["Identifier", "IDType"]}),
                min_size=1,
                max_size=2,
            ),
        ),
        "Orders": st.lists(
            st.builds(lambda order, number: {**order, "ID": number}, drawn(Order), words),
            min_size=1,
            max_size=2,
        ),
    },
    optional={"Visit": drawn(Visit)},
)


def kept(told: Any) -> Any:
    """A message without what the mapping says that it does not keep."""
    if isinstance(told, list):
        return [kept(one) for one in told]
    if not isinstance(told, dict):
        return told
    made = {name: kept(value) for name, value in told.items()}
    if made.get("Status") == "Cancel" and "ResultsStatus" in made and made["ResultsStatus"] is None:
        made["ResultsStatus"] = "Canceled"
    is_document = kind_of(made.get("ValueType")) in DOCUMENTS
    if is_document and codecs.RESULT_STATUS.to_fhir(made["Status"] or "") == DELETED:
        made["Value"] = None  # The document is shown no more.
    if "IDType" in made and made["ID"] is None:
        made["IDType"] = None
    for name in ("Contacts", "ResultCopyProviders"):
        if name in made:
            made[name] = [one for one in made[name] if not is_empty(one)]
    if made.get("DeathDateTime") and (
        made["IsDeceased"] is None or codecs.DATETIME.to_fhir(made["DeathDateTime"])
    ):
        made["IsDeceased"] = "true"
    return made


@settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow])
@given(messages)
def test_what_goes_to_fhir_comes_back_equal(message: Json) -> None:
    sent = read(ResultsNew, message)
    bundle: Any = translate(sent, DEFAULT_PROFILE, "acme").bundle
    entries = {one["fullUrl"]: one["resource"] for one in bundle["entry"]}
    reader = Reader(entries.get)
    reports = [one for one in entries.values() if one["resourceType"] == "DiagnosticReport"]
    wanted = kept(sent.model_dump())
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
