"""`/metadata`, `/openapi.json`, `smart-configuration`: what is served, built from the tables that serve it.

https://hl7.org/fhir/R4/capabilitystatement.html, https://hl7.org/fhir/smart-app-launch/conformance.html
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

import orjson
from aiohttp import hdrs, web

from api.auth import assertions
from api.auth.public_keys import ALGORITHMS
from api.auth.scopes import OWN
from api.http.fhir_json import PATCH_FORMATS
from api.http.headers import listed
from api.http.routing import ROWS
from api.interactions.capabilities import us_core
from api.interactions.capabilities.openapi import document
from api.interactions.capabilities.us_core import profiles_of
from api.interactions.token import PATH as TOKEN
from api.version import VERSION
from ingest.http.app_keys import base_of, origin_of
from ingest.http.replies import FHIR_JSON
from ingest.pipeline.preconditions import has_tag
from store.search.parameters import TYPES
from store.search.parsing.includes import NAMES, references_of, reversible_of
from store.search.parsing.result_parameters import RESULT_PARAMETERS
from store.subscriptions.records import SEARCHED
from store.subscriptions.topics import TOPICS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from store.search.parameters import Parameter, ResourceType

RELEASED: Final = "2026-12-01"
"""Date at which what the statement says last changed."""
_INTERACTIONS: Final = (
    "read",
    "vread",
    "history-instance",
    "history-type",
    "create",
    "update",
    "patch",
    "delete",
    "search-type",
)
_SYSTEM: Final = ("batch", "transaction")
_OPERATIONS: Final[Mapping[str, str]] = {
    "process-message": "http://hl7.org/fhir/OperationDefinition/MessageHeader-process-message",
}
SUBSCRIPTION: Final = "Subscription"
_GUIDE: Final = "http://hl7.org/fhir/uv/subscriptions-backport/"
_TOPIC: Final = f"{_GUIDE}StructureDefinition/capabilitystatement-subscriptiontopic-canonical"
_SUBSCRIPTIONS: Final[Mapping[str, Any]] = {
    "extension": [{"url": _TOPIC, "valueCanonical": canonical} for canonical in TOPICS],
    "type": SUBSCRIPTION,
    "supportedProfile": [f"{_GUIDE}StructureDefinition/backport-subscription"],
    "interaction": [{"code": code} for code in ("create", "read", "update", "delete", "search-type")],
    "versioning": "versioned",
    "readHistory": False,
    "updateCreate": True,
    "conditionalCreate": False,
    "conditionalUpdate": False,
    "conditionalDelete": "not-supported",
    "searchParam": [{"name": name, "type": kind} for name, kind in SEARCHED.items()],
    "operation": [
        {"name": "status", "definition": f"{_GUIDE}OperationDefinition/backport-subscription-status"},
        {"name": "events", "definition": f"{_GUIDE}OperationDefinition/backport-subscription-events"},
        {
            "name": "topic-list",
            "definition": f"{_GUIDE}OperationDefinition/backport-subscriptiontopic-list",
        },
    ],
}
"""The entry of Subscriptions, which are not kept as other resources are."""
_OF_PATIENTS: Final = [
    {"name": "everything", "definition": "http://hl7.org/fhir/OperationDefinition/Patient-everything"}
]
_NOTES: Final = (
    "Every search names its patient (`patient`, `subject`, their `.identifier` chains or `:identifier`) or"
    " `_id`, unless the tenant's search scope is `any`. Dates without a zone are UTC. `total` is exact"
    " whenever it is there. Any reference parameter can be chained: `patient.identifier=system|value` also"
    " matches the identifier inside the reference and in contained resources. Conditions of writes are"
    " strict: a criterion that is not understood or has no value is refused. A conditional update whose"
    " condition holds for nothing creates, under the body's id unless that is taken (409). A JSON Patch that"
    " does not fit the resource is 409, `test` too. Histories take `_since`, `_at` and `_count`; that of a"
    " type needs a scope to read, search and update it where searches must name a patient."
    " `GET [base]/$changes?since=…` tells what was created, updated, corrected, cancelled, deleted or erased"
    " since a position, as a long poll or as Server-Sent Events."
)
_DOCUMENTATION: Final[Mapping[str, str]] = {
    "_lastUpdated": "When the current version was stored; identical content sent again is no change.",
    "_id": "Case-sensitive.",
}


@lru_cache(maxsize=256)
def statement(base: str) -> bytes:
    """The CapabilityStatement of one tenant's base, as JSON bytes."""
    return orjson.dumps(
        {
            "resourceType": "CapabilityStatement",
            "status": "active",
            "date": RELEASED,
            "publisher": "Data on demand",
            "kind": "instance",
            "instantiates": [us_core.SERVER],
            "software": {"name": "data on demand", "version": VERSION},
            "implementation": {"description": "Diagnostic results, pushed and queried", "url": base},
            "fhirVersion": "4.0.1",
            "format": ["application/fhir+json", "json"],
            "patchFormat": sorted(PATCH_FORMATS),
            "rest": [_rest()],
        }
    )


def _rest() -> dict[str, Any]:
    # Without SMART's extension `oauth-uris`: it promises the launch of an app by a user, and a client that
    # finds it (fhirclient) no longer works with a token that it was given.
    return {
        "mode": "server",
        "documentation": _NOTES,
        "security": {
            "service": [
                {
                    "coding": [
                        {
                            "system": "http://terminology.hl7.org/CodeSystem/restful-security-service",
                            "code": "SMART-on-FHIR",
                        }
                    ]
                }
            ],
            "description": (
                "Bearer tokens with SMART system scopes, of SMART Backend Services (client credentials with"
                " a signed JWT) or given out by hand; see `.well-known/smart-configuration`."
            ),
        },
        "resource": [_resource(row) for row in TYPES.values()],
        "interaction": [{"code": code} for code in _SYSTEM],
        "searchParam": [
            # R4 has no SearchParameter for these, nor a type: what shapes an answer, and the way back.
            {"name": name, "type": "special"}
            for name in (*RESULT_PARAMETERS, *NAMES, "_has")
        ],
        "operation": [{"name": name, "definition": url} for name, url in _OPERATIONS.items()],
    }


def _resource(row: ResourceType) -> Mapping[str, Any]:
    if row.name == SUBSCRIPTION:
        return _SUBSCRIPTIONS
    profiles = profiles_of(row)
    return {
        "type": row.name,
        **({"supportedProfile": profiles} if profiles else {}),
        "interaction": [{"code": code} for code in _INTERACTIONS],
        **({"operation": _OF_PATIENTS} if row.name == "Patient" else {}),
        "versioning": "versioned-update",
        "readHistory": True,
        "updateCreate": True,
        "conditionalCreate": True,
        "conditionalUpdate": True,
        "conditionalDelete": "single",
        "conditionalRead": "full-support",
        "searchParam": [entry for parameter in row.rows for entry in _search_params(parameter)],
        **_includes(row),
    }


def _includes(row: ResourceType) -> dict[str, list[str]]:
    """Parameters by which a search on the type brings along others, and is brought along."""
    forward = [f"{row.name}:{one.name}" for one in references_of(row)]
    reverse = [
        f"{source.name}:{one.name}"
        for source in TYPES.values()
        for one in reversible_of(source)
        if row.name in one.targets
    ]
    listed = {
        "searchInclude": ["*", f"{row.name}:*", *forward] if forward else [],
        "searchRevInclude": reverse,
    }
    return {name: values for name, values in listed.items() if values}  # FHIR has no empty lists.


def _search_params(parameter: Parameter) -> list[dict[str, str]]:
    """A row, and an entry for each of its aliases."""
    # `order` asks like a token: `system|value` or a value alone, and it takes `Type/id` as well.
    entry = {"name": parameter.name, "type": parameter.type.fhir}
    if parameter.definition:
        entry["definition"] = parameter.definition
    text = parameter.documentation or _DOCUMENTATION.get(parameter.name)
    if text:
        entry["documentation"] = text
    aliases = [
        {**entry, "name": alias, "documentation": f"Upstream's name for `{parameter.name}`."}
        for alias in parameter.aliases
    ]
    return [entry, *aliases]


async def metadata(request: web.Request) -> web.StreamResponse:
    """GET {base}/metadata; needs no token."""
    return _kept(request, statement(base_of(request)), FHIR_JSON)


async def openapi(request: web.Request) -> web.StreamResponse:
    """GET {base}/openapi.json; needs no token. Says what this process serves: some roles serve less."""
    rows = tuple(dict.fromkeys(request.app[ROWS].values()))
    return _kept(request, document(base_of(request), rows), "application/json")


def _kept(request: web.Request, body: bytes, content_type: str) -> web.Response:
    """The body with its ETag, or 304 when the client has it."""
    tag = f'W/"{blake2b(body, digest_size=8).hexdigest()}"'
    if has_tag(listed(request, hdrs.IF_NONE_MATCH), tag):
        return web.Response(status=304, headers={hdrs.ETAG: tag})
    return web.Response(body=body, headers={hdrs.ETAG: tag, hdrs.CONTENT_TYPE: content_type})


async def smart_configuration(request: web.Request) -> web.StreamResponse:
    """GET {base}/.well-known/smart-configuration; needs no token."""
    body = {
        "token_endpoint": f"{origin_of(request)}{TOKEN}",
        "grant_types_supported": [assertions.GRANT_TYPE],
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS.values()),
        "scopes_supported": [
            "system/*.cruds",
            "system/*.rs",
            *(f"system/{name}.{letters}" for name in TYPES for letters in ("cruds", "rs")),
            *OWN,
        ],
        "capabilities": ["client-confidential-asymmetric", "permission-v1", "permission-v2"],
        # SMART asks every server for it, also one that authorises no person.
        "code_challenge_methods_supported": ["S256"],
    }
    return web.Response(body=orjson.dumps(body), content_type="application/json")
