"""The shape of Data Model messages, as lenient as their sources are reliable: almost everything may be null.

What is unknown is kept and reported; `lenient` says what is taken for what.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from ingest.data_model.lenient import Emails, Flag, Texts, Word, an_object, phones, several
from store.errors import Category, ServiceError
from store.fhir.issues import Issue

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

VALUES_MAX: Final = 100_000
"""Values of one message; each that is wrong is a fault of a kilobyte until all are told."""
OBJECTS_MAX: Final = 20_000
"""Objects of one message: an empty result takes ten kilobytes once it is read. A result has some five."""
_KEY: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,40}")


class Shape(BaseModel):
    """An object of the Data Model; what it says beyond its fields is kept."""

    model_config = ConfigDict(extra="allow", coerce_numbers_to_str=False)


class Named(Shape):
    """A source or destination."""

    ID: Word = None
    Name: Word = None


class Meta(Shape):
    """Kind of a message, its source and its destinations."""

    DataModel: Word = None
    EventType: Word = None
    EventDateTime: Word = None
    Test: Flag = None
    Source: Annotated[Named, BeforeValidator(an_object)] = Field(default_factory=Named)
    Destinations: Annotated[list[Named], BeforeValidator(several)] = []
    Logs: Any = None
    Message: Any = None
    Transmission: Any = None


AMeta = Meta


class Identifier(Shape):
    """A number and its type."""

    ID: Word = None
    IDType: Word = None


class Address(Shape):
    """An address."""

    StreetAddress: Word = None
    City: Word = None
    State: Word = None
    ZIP: Word = None
    County: Word = None
    Country: Word = None


class Phones(Shape):
    """Numbers to call."""

    Home: Word = None
    Office: Word = None
    Mobile: Word = None


AnAddress = Annotated[Address, BeforeValidator(an_object)]
SomePhones = Annotated[Phones, BeforeValidator(phones)]


class Demographics(Shape):
    """Name, birth, contact and address of a patient."""

    FirstName: Word = None
    MiddleName: Word = None
    LastName: Word = None
    DOB: Word = None
    SSN: Word = None
    Sex: Word = None
    Race: Word = None
    IsHispanic: Flag = None
    MaritalStatus: Word = None
    IsDeceased: Flag = None
    DeathDateTime: Word = None
    PhoneNumber: SomePhones = Field(default_factory=Phones)
    EmailAddresses: Emails = []
    Language: Word = None
    Citizenship: Texts = []
    Address: AnAddress = Field(default_factory=Address)


SomeDemographics = Annotated[Demographics, BeforeValidator(an_object)]


class Contact(Shape):
    """A patient's contact."""

    FirstName: Word = None
    MiddleName: Word = None
    LastName: Word = None
    Address: AnAddress = Field(default_factory=Address)
    PhoneNumber: SomePhones = Field(default_factory=Phones)
    RelationToPatient: Word = None
    EmailAddresses: Emails = []
    Roles: Texts = []


class Patient(Shape):
    """A patient."""

    Identifiers: Annotated[list[Identifier], BeforeValidator(several)] = []
    Demographics: SomeDemographics = Field(default_factory=Demographics)
    Notes: Texts = []
    Contacts: Annotated[list[Contact], BeforeValidator(several)] = []


APatient = Annotated[Patient, BeforeValidator(an_object)]


class Location(Shape):
    """A place in a hospital."""

    Type: Word = None
    Facility: Word = None
    Department: Word = None
    Room: Word = None


ALocation = Annotated[Location, BeforeValidator(an_object)]


class VisitLocation(Location):
    """The same, down to the bed."""

    Bed: Word = None


class Provider(Shape):
    """A person who treats, orders, performs or interprets."""

    NPI: Word = None
    ID: Word = None
    IDType: Word = None
    FirstName: Word = None
    MiddleName: Word = None
    LastName: Word = None
    Credentials: Texts = []
    Address: AnAddress = Field(default_factory=Address)
    EmailAddresses: Emails = []
    PhoneNumber: SomePhones = Field(default_factory=Phones)
    Location: ALocation = Field(default_factory=Location)


AProvider = Annotated[Provider, BeforeValidator(an_object)]
SomeProviders = Annotated[list[Provider], BeforeValidator(several)]


class Organization(Shape):
    """A laboratory or facility."""

    ID: Word = None
    IDType: Word = None
    Name: Word = None
    Address: AnAddress = Field(default_factory=Address)
    PhoneNumber: SomePhones = Field(default_factory=Phones)


AnOrganization = Annotated[Organization, BeforeValidator(an_object)]


class Visit(Shape):
    """A visit."""

    VisitDateTime: Word = None
    VisitNumber: Word = None
    AccountNumber: Word = None
    PatientClass: Word = None
    Location: Annotated[VisitLocation, BeforeValidator(an_object)] = Field(default_factory=VisitLocation)
    AttendingProvider: AProvider = Field(default_factory=Provider)
    ReferringProvider: AProvider = Field(default_factory=Provider)


AVisit = Annotated[Visit, BeforeValidator(an_object)]


class Coded(Shape):
    """A code."""

    Code: Word = None
    Codeset: Word = None
    Description: Word = None


class Specimen(Shape):
    """A specimen."""

    Source: Word = None
    BodySite: Word = None
    ID: Word = None


ASpecimen = Annotated[Specimen, BeforeValidator(an_object)]


class ReferenceRange(Shape):
    """Bounds of what is normal."""

    Low: Word = None
    High: Word = None
    Text: Word = None


ARange = Annotated[ReferenceRange, BeforeValidator(an_object)]


class Result(Coded):
    """Result of an order."""

    RelatedGroupID: Word = None
    Specimen: ASpecimen = Field(default_factory=Specimen)
    Value: Word = None
    ValueType: Word = None
    CompletionDateTime: Word = None
    FileType: Word = None
    Units: Word = None
    Notes: Texts = []
    AbnormalFlag: Word = None
    Status: Word = None
    PrimaryResultsInterpreter: AProvider = Field(default_factory=Provider)
    Producer: AnOrganization = Field(default_factory=Organization)
    Performer: AProvider = Field(default_factory=Provider)
    ReferenceRange: ARange = Field(default_factory=ReferenceRange)
    ObservationMethod: Annotated[Coded, BeforeValidator(an_object)] = Field(default_factory=Coded)


class Order(Shape):
    """An order with its results."""

    ID: Word = None
    ApplicationOrderID: Word = None
    TransactionDateTime: Word = None
    CollectionDateTime: Word = None
    CompletionDateTime: Word = None
    Notes: Texts = []
    ResultsStatus: Word = None
    Procedure: Annotated[Coded, BeforeValidator(an_object)] = Field(default_factory=Coded)
    Provider: AProvider = Field(default_factory=Provider)
    ResultCopyProviders: SomeProviders = []
    OrderingFacility: AnOrganization = Field(default_factory=Organization)
    Specimen: ASpecimen = Field(default_factory=Specimen)
    Status: Word = None
    ResponseFlag: Word = None
    Priority: Word = None
    Results: Annotated[list[Result], BeforeValidator(several)] = []


class ResultsNew(Shape):
    """`Results.New` and `Results.NewUnsolicited`."""

    Meta: AMeta
    Patient: APatient = Field(default_factory=Patient)
    Orders: Annotated[list[Order], BeforeValidator(several)] = []
    Visit: AVisit = Field(default_factory=Visit)


class Envelope(Shape):
    """Any message, as far as its way is decided by it."""

    Meta: AMeta


def read(shape: type[Shape], body: Mapping[str, Any]) -> Any:  # noqa: ANN401 -- the shape
    """A message in its shape. Raises ServiceError with the JSON path and the rule of each fault."""
    _refuse_many(body)
    try:
        return shape.model_validate(body)
    except ValidationError as error:
        issues = [
            fault(_path(one["loc"]), _rule(one["type"], one["msg"]))
            for one in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        raise ServiceError(Category.INCORRECT, *issues) from None


def _refuse_many(body: Mapping[str, Any]) -> None:
    """Raise ServiceError for a message of more values or objects than one may have."""
    values, objects = 0, 0
    left: list[Any] = [body]
    while left:
        one = left.pop()
        values += len(one)
        objects += isinstance(one, dict)
        if values > VALUES_MAX or objects > OBJECTS_MAX:
            rule = (
                f"has at most {VALUES_MAX} values and {OBJECTS_MAX} objects; send orders in several messages"
            )
            raise ServiceError(Category.TOO_LARGE, fault("$", rule, "too-costly"))
        members = one.values() if isinstance(one, dict) else one
        left += [member for member in members if isinstance(member, dict | list)]


def fault(path: str, rule: str, code: str = "structure") -> Issue:
    """A fault at a JSON path."""
    return Issue(code, f"`{path}` {rule}", (path,))


def _path(location: tuple[int | str, ...]) -> str:
    path = "$"
    for one in location:
        path += f"[{one}]" if isinstance(one, int) else f".{one}" if _KEY.fullmatch(one) else ".…"
    return path


def _rule(kind: str, message: str) -> str:
    if kind == "missing":
        return "is missing"
    if kind == "model_type":
        return "must be an object"
    return message.removeprefix("Value error, ") if kind == "value_error" else "has the wrong shape"


def unknown(message: BaseModel, path: str = "$") -> Iterator[str]:
    """Paths of what a message says and no model knows."""
    for key, value in (message.model_extra or {}).items():
        if value not in (None, "", [], {}):
            yield f"{path}.{key}" if _KEY.fullmatch(key) else f"{path}.…"
    fields = type(message).model_fields
    if "IDType" in fields and getattr(message, "ID", None) is None and getattr(message, "IDType", None):
        yield f"{path}.IDType"  # Of a number that is not there nothing is kept.
    for name in fields:
        below = getattr(message, name)
        if isinstance(below, BaseModel):
            yield from unknown(below, f"{path}.{name}")
        elif isinstance(below, list):
            for number, one in enumerate(below):
                if isinstance(one, BaseModel):
                    yield from unknown(one, f"{path}.{name}[{number}]")
