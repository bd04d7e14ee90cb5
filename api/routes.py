"""The route table: every FHIR interaction served, what it needs, and who answers it.

Rows asked for most come first: aiohttp tries them in order. `/metadata` is built from the same rows.
"""

from __future__ import annotations

from typing import Final

from api.auth.scopes import ADMIN, PURGE
from api.explorer import pages as explorer
from api.http.fhir_json import FHIR_BODIES, FORM_BODIES, JSON_BODIES, PATCH_BODIES
from api.http.operation_parameters import PARAMETERS
from api.http.routing import BASE, ID, TYPE, Group, Route
from api.interactions import administration, audit, binary, dead_letters, history, read
from api.interactions.capabilities import capability
from api.interactions.changes.changes import changes
from api.interactions.data_model import push as data_model
from api.interactions.data_model import query as data_model_query
from api.interactions.data_model import upload as uploads
from api.interactions.data_model.schema import PATH as SCHEMA
from api.interactions.data_model.schema import schema
from api.interactions.everything import everything
from api.interactions.purge import purge
from api.interactions.token import PATH as TOKEN
from api.interactions.token import token
from api.middleware.authenticate import verify
from api.search import handlers as search
from api.subscriptions.interactions.routes import subscription_routes
from ingest import handlers as ingest
from ingest.feeds.handler import V2_BODIES, receive_messages
from ingest.http.idempotent import remembered
from ingest.http.letter_keeper import keep_refused

ALL: Final = f"{BASE}/{TYPE}"
"""All resources of a type."""
SEARCH: Final = f"{ALL}/_search"
ONE: Final = f"{ALL}/{ID}"
AUDIT: Final = f"{BASE}/{{type:AuditEvent}}"
AUDIT_SEARCH: Final = f"{AUDIT}/_search"
VERSION: Final = f"{ONE}/_history/{{version:[1-9][0-9]{{0,8}}}}"
BINARIES: Final = f"{BASE}/{{type:Binary}}"
BINARY: Final = f"{BINARIES}/{ID}"
BINARY_VERSION: Final = f"{BINARY}/_history/{{version:[1-9][0-9]{{0,8}}}}"
ENDPOINT: Final = "/endpoint"
"""Path at which upstream's senders post Data Model messages of any tenant."""
UPLOAD: Final = "/upload"
"""Path at which upstream's senders upload files that a Data Model message refers to."""
DATA_MODEL: Final = f"{BASE}/$data-model"
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
"""Paths to which upstream's senders post message Bundles."""
ERASE: Final = f"{BASE}/{{type:Patient}}/{ID}/$purge"
EVERYTHING: Final = f"{BASE}/{{type:Patient}}/{ID}/$everything"
LETTERS: Final = f"{BASE}/$dead-letters"
LETTER: Final = f"{LETTERS}/{{id:[0-9a-f-]{{36}}}}"


def routes() -> tuple[Route, ...]:
    """All rows, whatever the role. Without a scope the handler asks `Principal.may` for each entry."""
    return (
        *subscription_routes(),
        # Before the rows of all types: with the scope `dod/audit` they tell of the audit.
        Route("audit-search-post", "POST", AUDIT_SEARCH, audit.search_post, Group.READ, body=FORM_BODIES),
        Route("audit-search-get", "GET", AUDIT_SEARCH, audit.search, Group.READ),
        # No id is `_search`.
        Route("search-post", "POST", SEARCH, search.search_type_post, Group.SEARCH, "s", body=FORM_BODIES),
        # Before the rows of all types: a Binary is read and written in its own content type, too.
        Route(
            "create-binary", "POST", BINARIES, binary.create, Group.WRITE, "c", negotiates=False, creates=True
        ),
        Route("read-binary", "GET", BINARY, binary.read, Group.READ, negotiates=False),
        Route("update-binary", "PUT", BINARY, binary.update, Group.WRITE, "u", negotiates=False),
        Route("vread-binary", "GET", BINARY_VERSION, binary.vread, Group.READ, negotiates=False),
        Route("everything", "GET", EVERYTHING, everything, Group.SEARCH, "r"),
        Route("everything-post", "POST", EVERYTHING, everything, Group.SEARCH, "r", body=PARAMETERS),
        Route("audit-search", "GET", AUDIT, audit.search, Group.READ),
        Route("audit-read", "GET", f"{AUDIT}/{ID}", audit.read, Group.READ),
        Route("search", "GET", ALL, search.search_type, Group.SEARCH, "s"),
        Route(
            "create",
            "POST",
            ALL,
            keep_refused("create", ingest.create),
            Group.WRITE,
            "c",
            body=FHIR_BODIES,
            creates=True,
        ),
        Route("read", "GET", ONE, read.read, Group.READ, "r"),
        Route(
            "update", "PUT", ONE, keep_refused("update", ingest.update), Group.WRITE, "u", body=FHIR_BODIES
        ),
        Route("delete", "DELETE", ONE, ingest.delete, Group.WRITE, "d"),
        Route(
            "patch",
            "PATCH",
            ONE,
            keep_refused("patch", ingest.patch_one),
            Group.WRITE,
            "u",
            body=PATCH_BODIES,
        ),
        Route(
            "update-conditional",
            "PUT",
            ALL,
            keep_refused("update-conditional", ingest.update_where),
            Group.WRITE,
            "u",
            body=FHIR_BODIES,
        ),
        Route("delete-conditional", "DELETE", ALL, ingest.delete_where, Group.WRITE, "d"),
        Route(
            "patch-conditional",
            "PATCH",
            ALL,
            keep_refused("patch-conditional", ingest.patch_where),
            Group.WRITE,
            "u",
            body=PATCH_BODIES,
        ),
        Route(
            "batch",
            "POST",
            BASE,
            keep_refused("batch", ingest.batch),
            Group.WRITE,
            body=FHIR_BODIES,
            destination=True,
        ),
        *(
            Route(
                "process-message",
                "POST",
                path,
                keep_refused("process-message", remembered(ingest.process_message)),
                Group.WRITE,
                "cu",
                body=FHIR_BODIES,
                destination=True,
            )
            for path in MESSAGES
        ),
        Route(
            "hl7v2",
            "POST",
            f"{BASE}/$hl7v2",
            receive_messages,
            Group.WRITE,
            "cu",
            body=V2_BODIES,
            negotiates=False,
            once_by_itself=True,
        ),
        Route(
            "data-model",
            "POST",
            DATA_MODEL,
            data_model.receive,
            Group.WRITE,
            "cu",
            body=JSON_BODIES,
            once_by_itself=True,
            negotiates=False,
            destination=True,
            data_model=True,
        ),
        Route(
            "endpoint",
            "POST",
            ENDPOINT,
            data_model.receive,
            Group.WRITE,
            "cu",
            body=JSON_BODIES,
            once_by_itself=True,
            negotiates=False,
            by_body=True,
            data_model=True,
        ),
        *(
            Route(
                name,
                "POST",
                path,
                uploads.upload,
                Group.WRITE,
                "cu",
                body=uploads.MULTIPART,
                once_by_itself=True,
                negotiates=False,
                by_body=path == UPLOAD,
                data_model=True,
            )
            for name, path in (("upload", UPLOAD), ("upload-tenant", f"{BASE}/$upload"))
        ),
        Route(
            "query",
            "POST",
            "/query",
            data_model_query.query,
            Group.SEARCH,
            body=JSON_BODIES,
            negotiates=False,
            by_body=True,
            data_model=True,
        ),
        *(
            Route("verify", "GET", path, verify, Group.WRITE, open=True, negotiates=False)
            for path in (BASE, *MESSAGES, DATA_MODEL)
        ),
        Route("search-get", "GET", SEARCH, search.search_type, Group.SEARCH, "s"),
        Route("search-compartment", "GET", OF_PATIENT, search.search_compartment, Group.SEARCH, "s"),
        Route("vread", "GET", VERSION, read.vread, Group.READ, "r"),
        Route("changes", "GET", f"{BASE}/$changes", changes, Group.READ, negotiates=False),
        Route(
            "dead-letters", "GET", LETTERS, dead_letters.list_letters, Group.ADMIN, ADMIN, negotiates=False
        ),
        Route("dead-letter", "GET", LETTER, dead_letters.show, Group.ADMIN, ADMIN, negotiates=False),
        Route(
            "dead-letter-fix",
            "PUT",
            LETTER,
            dead_letters.fix,
            Group.ADMIN,
            ADMIN,
            body=FHIR_BODIES | V2_BODIES,
            negotiates=False,
        ),
        Route(
            "dead-letter-discard",
            "DELETE",
            LETTER,
            dead_letters.discard,
            Group.ADMIN,
            ADMIN,
            negotiates=False,
        ),
        Route(
            "dead-letter-replay",
            "POST",
            f"{LETTER}/$replay",
            dead_letters.replay,
            Group.ADMIN,
            ADMIN,
            negotiates=False,
        ),
        *(
            Route(name, "GET", f"{BASE}/${name}", handler, Group.ADMIN, ADMIN, negotiates=False)
            for name, handler in (
                ("retention", administration.retention),
                ("retention-plan", administration.retention_plan),
                ("tenants", administration.tenants),
                ("clients", administration.clients),
            )
        ),
        Route("purge", "POST", ERASE, purge, Group.ADMIN, PURGE, body=FHIR_BODIES),
        Route("history-instance", "GET", f"{ONE}/_history", history.of_instance, Group.READ, "r"),
        Route("history-type", "GET", f"{ALL}/_history", history.of_type, Group.READ, "rs"),
        Route("token", "POST", TOKEN, token, Group.META, open=True, negotiates=False),
        Route("data-model-schema", "GET", SCHEMA, schema, Group.META, open=True, negotiates=False),
        Route("metadata", "GET", f"{BASE}/metadata", capability.metadata, Group.META, open=True),
        Route("openapi", "GET", OPENAPI, capability.openapi, Group.META, open=True, negotiates=False),
        Route("explorer", "GET", explorer.PATH, explorer.page, Group.META, open=True, negotiates=False),
        Route(
            "explorer-file", "GET", explorer.STATIC, explorer.static, Group.META, open=True, negotiates=False
        ),
        Route(
            "explorer-library",
            "GET",
            explorer.LIBRARY,
            explorer.library_file,
            Group.META,
            open=True,
            negotiates=False,
        ),
        Route("smart", "GET", SMART, capability.smart_configuration, Group.META, open=True, negotiates=False),
    )
