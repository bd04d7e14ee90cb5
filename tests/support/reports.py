"""Made-up resources, the parts of requests that search tests need, and issues as text."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

from store.errors import ServiceError
from store.fhir.instants import ABSENT, Interval, from_datetime
from store.search.index import index
from store.search.parsing.context import SearchContext, SearchLimits
from store.search.parsing.parse import parse
from store.search.planning.plan import document_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from store.search.criteria import SearchQuery

BASE: Final = "http://dod.test/fhir/R4/lab/Production"
NOW: Final = datetime(2026, 11, 22, 12, tzinfo=UTC)
NOW_MICROSECONDS: Final = from_datetime(NOW).start
NEVER: Final = datetime(9999, 1, 1, tzinfo=UTC)
TENANT: Final = "lab/Production"
T = TypeVar("T")
STATUS_SYSTEM: Final = "http://hl7.org/fhir/diagnostic-report-status"


def report(**more: Any) -> dict[str, Any]:
    """A DiagnosticReport that is valid, and what is said beyond that."""
    return {
        "resourceType": "DiagnosticReport",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.test", "code": "58410-2"}]},
        **more,
    }


def context(*, strict: bool = False, limits: SearchLimits | None = None) -> SearchContext:
    """Context that parsing needs beside the text."""
    return SearchContext(limits or SearchLimits(), BASE, NOW_MICROSECONDS, strict)


def query_of(*pairs: tuple[str, str], type: str = "DiagnosticReport", strict: bool = True) -> SearchQuery:
    """A search as it is understood."""
    return parse(type, pairs, context(strict=strict)).query


def document_of(
    resource: dict[str, Any], id: str = "1", *, tenant: str = TENANT, updated: datetime = NOW
) -> dict[str, Any]:
    """The search side of a stored document, as `store.mongo.documents` describes it."""
    resource_type = str(resource["resourceType"])
    indexed = index(resource, resource_type, base=BASE)
    assert not indexed.issues
    return {
        "_id": document_id(tenant, resource_type, id),
        "tenant": tenant,
        "type": resource_type,
        "id": id,
        "updated": stored_interval(from_datetime(updated)),
        "when": stored_interval(indexed.when),
        "expires_at": NEVER,
        "index": {
            name: stored_interval(value) if isinstance(value, Interval) else value
            for name, value in indexed.fields.items()
        },
        "keys": list(indexed.keys),
    }


def stored_interval(interval: Interval = ABSENT) -> dict[str, int]:
    """An interval as it is stored."""
    return {"lo": interval.start, "hi": interval.end}


def refusal(call: Callable[[], object]) -> ServiceError:
    """The ServiceError that a call ends with; any other end fails the test."""
    try:
        call()
    except ServiceError as error:
        return error
    message = "nothing was refused"
    raise AssertionError(message)


def attempt(call: Callable[[], T]) -> T | ServiceError:
    """Result of a call, or its refusal; any other exception fails the test."""
    try:
        return call()
    except ServiceError as error:
        return error


def said(error: ServiceError) -> str:
    """All that a client would read of a refusal."""
    return " ".join((issue.text + " " + " ".join(issue.expression)) for issue in error.issues)
