"""The route table: every FHIR interaction served, what it needs, and who answers it.

Rows asked for most come first: aiohttp tries them in order. `/metadata` is built from the same rows.
"""

from __future__ import annotations

from typing import Final

from api import binary, capability, read
from api.fhir_json import FHIR_BODIES, FORM_BODIES
from api.routing import BASE, ID, TYPE, Group, Route
from api.search import handlers as search
from ingest import handlers as ingest

ALL: Final = f"{BASE}/{TYPE}"
"""All resources of a type."""
SEARCH: Final = f"{ALL}/_search"
ONE: Final = f"{ALL}/{ID}"
VERSION: Final = f"{ONE}/_history/{{version:[1-9][0-9]{{0,8}}}}"
BINARIES: Final = f"{BASE}/{{type:Binary}}"
BINARY: Final = f"{BINARIES}/{ID}"
BINARY_VERSION: Final = f"{BINARY}/_history/{{version:[1-9][0-9]{{0,8}}}}"
OF_PATIENT: Final = f"{BASE}/{{compartment:Patient}}/{ID}/{TYPE}"
SMART: Final = f"{BASE}/.well-known/smart-configuration"
OPENAPI: Final = f"{BASE}/openapi.json"
MESSAGES: Final = (
    f"{BASE}/$process-message",
    f"{BASE}/DiagnosticReport/$diagnosticreport-create",
    f"{BASE}/DiagnosticReport/$diagnosticreport-amend",
    f"{BASE}/DiagnosticReport/$write",
    f"{BASE}/Observation/$observation-create",
)
"""Where upstream's senders post message Bundles."""


def routes() -> tuple[Route, ...]:
    """All rows, whatever the role. Without a scope the handler asks `Principal.may` for each entry."""
    return (
        # Before the rows of all types: a Binary is read and written in its own content type, too.
        Route("create-binary", "POST", BINARIES, binary.create, Group.WRITE, "c", negotiates=False),
        Route("read-binary", "GET", BINARY, binary.read, Group.READ, negotiates=False),
        Route("update-binary", "PUT", BINARY, binary.update, Group.WRITE, "u", negotiates=False),
        Route("vread-binary", "GET", BINARY_VERSION, binary.vread, Group.READ, negotiates=False),
        Route("search-post", "POST", SEARCH, search.search_type_post, Group.SEARCH, "s", body=FORM_BODIES),
        Route("search", "GET", ALL, search.search_type, Group.SEARCH, "s"),
        Route("create", "POST", ALL, ingest.create, Group.WRITE, "c", body=FHIR_BODIES),
        Route("read", "GET", ONE, read.read, Group.READ, "r"),
        Route("update", "PUT", ONE, ingest.update, Group.WRITE, "u", body=FHIR_BODIES),
        Route("delete", "DELETE", ONE, ingest.delete, Group.WRITE, "d"),
        Route("batch", "POST", BASE, ingest.batch, Group.WRITE, body=FHIR_BODIES),
        *(
            Route("process-message", "POST", path, ingest.process_message, Group.WRITE, body=FHIR_BODIES)
            for path in MESSAGES
        ),
        Route("search-get", "GET", SEARCH, search.search_type, Group.SEARCH, "s"),
        Route("search-compartment", "GET", OF_PATIENT, search.search_compartment, Group.SEARCH, "s"),
        Route("vread", "GET", VERSION, read.vread, Group.READ, "r"),
        Route("metadata", "GET", f"{BASE}/metadata", capability.metadata, Group.META, open=True),
        Route("openapi", "GET", OPENAPI, capability.openapi, Group.META, open=True, negotiates=False),
        Route("smart", "GET", SMART, capability.smart_configuration, Group.META, open=True, negotiates=False),
    )
