"""`/openapi.json`: the routes of this process as OpenAPI 3.1, for generators of clients and for fuzzers.

No I/O, and built from the two tables that serve: the rows of routes and the search parameters. `/metadata`
says the same in FHIR's words. https://spec.openapis.org/oas/v3.1.1.html
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import orjson

from api.http.fhir_json import FORM_BODIES, PATCH_BODIES
from api.http.routing import BASE, TYPE
from api.interactions.audit import PARAMETERS
from api.interactions.capabilities.openapi_answers import ANSWERS, STATUSES
from api.interactions.capabilities.openapi_forms import (
    ERRORS,
    FILE,
    FORMS,
    TOKEN_ANSWER,
    TOKEN_ERROR,
    TOKEN_REQUEST,
    UPLOADED,
)
from api.version import VERSION
from ingest.feeds.handler import V2_BODIES
from store.search.parameters import COMMON, TYPES, SearchType
from store.subscriptions.records import SEARCHED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from api.http.routing import Route
from store.search.parameters import Parameter, ResourceType

Json = dict[str, Any]

_FHIR: Final = "application/fhir+json"
_JSON: Final = "application/json"
_VARIABLE: Final = re.compile(r"\{(\w+)(?::((?:[^{}]|\{[^{}]*\})+))?\}")
"""A variable of aiohttp's path, with the expression that it must match."""
_FIXED: Final = re.compile(r"\{\w+:(\w+)\}")
"""A variable that can only be this word."""
_OF_TYPE: Final = re.compile(r"\{type:(\w+)\}")
"""Parameters of a row that serves one type alone."""
_DESCRIPTION: Final = (
    "Every search names its patient or `_id`, unless the tenant's search scope is `any`. Parameters repeat"
    " (AND) and take lists with commas (OR). OpenAPI has no words for modifiers (`code:text`), chains"
    " (`patient.identifier`) and `_has`: they are taken as FHIR R4 says. Errors are OperationOutcomes."
)
_MEANING: Final[Mapping[SearchType, str]] = {
    SearchType.TOKEN: "`code`, `system|code`, `system|` or `|code`.",
    SearchType.REFERENCE: "`id`, `Type/id` or an absolute URL.",
    SearchType.DATE: "A date or an instant, with a prefix such as `ge` before it.",
    SearchType.STRING: "The start of a word, without regard to case and accents.",
    SearchType.URI: "The whole URI.",
    SearchType.QUANTITY: "`number`, `number|system|code` or `number||code`; a prefix such as `gt` before it.",
    SearchType.COMPOSITE: "The parts with `$` between them, true of the same repetition.",
    SearchType.WORDS: "Words; each starts a word of the text.",
    SearchType.SPECIAL: "A reference, or an identifier as `system|value`.",
}
_RESULT: Final[Mapping[str, Json]] = {
    "_count": {"type": "integer", "minimum": 0},
    "_sort": {"type": "string"},
    "_total": {"enum": ["none", "estimate", "accurate"]},
    "_summary": {"enum": ["true", "text", "data", "count", "false"]},
    "_elements": {"type": "string"},
    "_include": {"type": "array", "items": {"type": "string"}},
    "_revinclude": {"type": "array", "items": {"type": "string"}},
}
"""Parameters that shape the result of any search."""
_AUDIT: Final = frozenset({"audit-search", "audit-search-get", "audit-search-post"})
_SEARCHES: Final = frozenset({"search", "search-get", "search-post", "search-compartment", *_AUDIT})
_SUBSCRIPTIONS: Final = "subscription-search"
"""Beginning of the names of rows that search Subscriptions."""
_CONDITIONAL: Final = frozenset({"update-conditional", "delete-conditional", "patch-conditional"})
_HISTORIES: Final = frozenset({"history-instance", "history-type"})
_VERSIONS: Final[Mapping[str, Json]] = {
    "_since": {"type": "string", "format": "date-time"},
    "_at": {"type": "string"},
    "_count": {"type": "integer", "minimum": 0},
}
"""Parameters that a history takes."""
_EVERYTHING: Final[Mapping[str, Json]] = {
    "_since": {"type": "string", "format": "date-time"},
    "_type": {"type": "string"},
    "start": {"type": "string", "format": "date"},
    "end": {"type": "string", "format": "date"},
    "_count": {"type": "integer", "minimum": 0},
}
"""Parameters of `$everything`."""
_CHANGES: Final[Mapping[str, Json]] = {
    "since": {"type": "string"},
    "_type": {"type": "string"},
    "_count": {"type": "integer", "minimum": 0},
    "_wait": {"type": "integer", "minimum": 0},
}
"""Parameters of `$changes`."""
_PART: Final[Mapping[str, Json]] = {
    "_summary": {"enum": ["true", "text", "data", "false"]},
    "_elements": {"type": "string"},
}
"""Parameters of a read."""
_COUNT: Final[Json] = {"type": "integer", "minimum": 1}
_OPERATIONS: Final[Mapping[str, Mapping[str, Json]]] = {
    "read": _PART,
    "vread": _PART,
    "everything": _EVERYTHING,
    "changes": _CHANGES,
    "retention": {"count": _COUNT},
    "dead-letters": {
        "state": {"enum": ["open", "replayed", "discarded", "all"]},
        "reason": {"type": "string"},
        "count": _COUNT,
        "after": {"type": "string"},
    },
    "dead-letter": {"body": {"enum": ["true"]}},
}
"""Parameters of operations, by the name of their row."""
_PATCH: Final[Json] = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["op", "path"],
        "properties": {
            "op": {"enum": ["add", "remove", "replace", "move", "copy", "test"]},
            "path": {"type": "string"},
            "from": {"type": "string"},
            "value": {},
        },
    },
}
"""https://www.rfc-editor.org/rfc/rfc6902"""
_MEDIA: Final[Mapping[str, str]] = {
    **dict.fromkeys(("Any", "Changes", "Token", "Uploaded"), "application/json"),
    "Document": "*/*",
    "Text": "text/plain",
}
"""Media type of a body that is not FHIR's, by its schema."""
_DOCUMENTS: Final = frozenset({"create-binary", "update-binary"})
"""Rows that take any document as their body, beside FHIR JSON."""
_SCHEMAS: Final[Mapping[str, Json]] = {
    "Any": {"type": "object"},
    "Changes": {
        "type": "object",
        "required": ["changes", "next"],
        "properties": {"changes": {"type": "array", "items": {"type": "object"}}, "next": {"type": "string"}},
    },
    "Document": {},
    "Token": TOKEN_ANSWER,
    "TokenRequest": TOKEN_REQUEST,
    "TokenError": TOKEN_ERROR,
    "Uploaded": UPLOADED,
    "File": FILE,
    "Errors": ERRORS,
    "Text": {"type": "string"},
    "Patch": _PATCH,
    "MergePatch": {"type": "object"},
    "Resource": {
        "type": "object",
        "required": ["resourceType"],
        "properties": {"resourceType": {"type": "string"}},
    },
    "Bundle": {
        "type": "object",
        "required": ["resourceType", "type"],
        "properties": {
            "resourceType": {"const": "Bundle"},
            "type": {"type": "string"},
            "total": {"type": "integer", "minimum": 0},
            "link": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["relation", "url"],
                    "properties": {"relation": {"type": "string"}, "url": {"type": "string"}},
                },
            },
            "entry": {"type": "array", "minItems": 1, "items": {"type": "object"}},
        },
    },
    "OperationOutcome": {
        "type": "object",
        "required": ["resourceType", "issue"],
        "properties": {
            "resourceType": {"const": "OperationOutcome"},
            "issue": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "required": ["severity", "code", "details"],
                    "properties": {
                        "severity": {"enum": ["fatal", "error", "warning", "information"]},
                        "code": {"type": "string"},
                        "details": {
                            "type": "object",
                            "required": ["text"],
                            "properties": {"text": {"type": "string"}},
                        },
                        "diagnostics": {"type": "string"},
                        "expression": {"type": "array", "minItems": 1, "items": {"type": "string"}},
                    },
                },
            },
        },
    },
}


@lru_cache(maxsize=16)  # The route is open and one of these is 150 kB: who asks must not fill the memory.
def document(base: str, rows: tuple[Route, ...]) -> bytes:
    """The description of one tenant's base, as JSON bytes; `rows` are those that this process serves."""
    return orjson.dumps(
        {
            "openapi": "3.1.0",
            "info": {"title": "data on demand", "version": VERSION, "description": _DESCRIPTION},
            "servers": [{"url": base}],
            "security": [{"bearer": []}],
            "paths": _paths(rows, base.partition(BASE.partition("{")[0])[0]),
            "components": {
                "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
                "schemas": {**_SCHEMAS, "Type": {"type": "string", "enum": sorted(TYPES)}},
                "parameters": dict(_components()),
                "responses": {
                    "Refused": _refusal("An OperationOutcome says why", _FHIR, "OperationOutcome"),
                    "DataModelRefused": _refusal("`Meta.Errors` say why", _JSON, "Errors"),
                    "TokenRefused": _refusal("RFC 6749, 5.2", _JSON, "TokenError"),
                },
            },
        }
    )


def _refusal(text: str, media_type: str, schema: str) -> Json:
    return {"description": text, "content": _content(media_type, schema)}


def _paths(rows: Sequence[Route], origin: str) -> Json:
    """All paths but those that serve pages to people."""
    paths: Json = {}
    rows = [row for row in rows if row.path.startswith(BASE) or row.name in ANSWERS]
    own = sorted({name for row in rows for name in _OF_TYPE.findall(row.path)})
    for row in rows:
        for path, resource_type in _instances(_FIXED.sub(r"\1", row.path.removeprefix(BASE)), own):
            operations = paths.setdefault(_VARIABLE.sub(r"{\1}", path) or "/", {})
            described = _operation(row, path, resource_type)
            if not row.path.startswith(BASE):  # Of all tenants: not below the base of one.
                described["servers"] = [{"url": origin}]
            operations.setdefault(row.method.lower(), described)
    return paths


def _instances(path: str, own: Sequence[str]) -> Iterator[tuple[str, ResourceType | None]]:
    """The path, and itself for each type with parameters, or rows (`own`), of its own."""
    # Of two paths OpenAPI takes the concrete one, whatever the method: so all rows of the path are repeated.
    if path in (f"/{TYPE}", f"/{TYPE}/_search"):
        for row in TYPES.values():
            if row.parameters:
                yield path.replace(TYPE, row.name), row
    if path.startswith(f"/{TYPE}"):
        for name in own:
            yield path.replace(TYPE, name), None
    yield path, None


def _operation(row: Route, path: str, resource_type: ResourceType | None) -> Json:
    words = [row.name, *re.findall(r"/\$?([\w-]+)", _VARIABLE.sub("", path))]
    described: Json = {"operationId": "-".join(words), "tags": [row.group.value]}
    parameters = [_path_parameter(name, pattern) for name, pattern in _VARIABLE.findall(path)]
    parameters += _query_parameters(row, resource_type)
    if parameters:
        described["parameters"] = parameters
    if row.body is not None:
        described["requestBody"] = _body(row, row.body, resource_type)
    if row.name in _DOCUMENTS:
        described["requestBody"] = {"content": {**_content(_FHIR, "Resource"), **_content("*/*", "Document")}}
    if row.name in FORMS:
        described["requestBody"] = FORMS[row.name]
    if row.open:
        described["security"] = []
    answers = {
        status: {"description": STATUSES[status]}
        | ({"content": _content(_MEDIA.get(schema, _FHIR), schema)} if schema else {})
        for status, schema in ANSWERS[row.name].items()
    }
    refusal = "TokenRefused" if row.name == "token" else "DataModelRefused" if row.data_model else "Refused"
    described["responses"] = {**answers, "default": {"$ref": f"#/components/responses/{refusal}"}}
    return described


def _query_parameters(row: Route, resource_type: ResourceType | None) -> list[Json]:
    parameters: list[Json] = []
    if row.name in _SEARCHES:
        names = [_component(resource_type, name) for name in _names(resource_type)]
        parameters += [{"$ref": f"#/components/parameters/{name}"} for name in [*names, *_RESULT]]
    if row.name.startswith(_SUBSCRIPTIONS):
        refs = [f"#/components/parameters/{_subscription_component(name)}" for name in SEARCHED]
        parameters += [{"$ref": one} for one in refs]
    for name, schema in _OPERATIONS.get(row.name, {}).items():
        parameters.append({"name": name, "in": "query", "schema": schema})
    if row.name in _AUDIT:
        names = [name for name in PARAMETERS if name not in _RESULT]
        parameters += [{"name": name, "in": "query", "schema": {"type": "string"}} for name in names]
    if row.name in _CONDITIONAL:
        names = [_component(resource_type, name) for name in _names(resource_type)]
        parameters += [{"$ref": f"#/components/parameters/{name}"} for name in names]
    if row.name in _HISTORIES:
        parameters += [{"name": name, "in": "query", "schema": schema} for name, schema in _VERSIONS.items()]
    return parameters


def _path_parameter(name: str, pattern: str) -> Json:
    schema: Json = {"type": "string", "pattern": f"^(?:{pattern})$"}
    if name == "type":
        schema = {"$ref": "#/components/schemas/Type"}
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _body(row: Route, media_types: frozenset[str], resource_type: ResourceType | None) -> Json:
    if media_types == FORM_BODIES:
        text = {"type": "array", "items": {"type": "string"}}
        names = list(SEARCHED) if row.name.startswith(_SUBSCRIPTIONS) else _names(resource_type)
        schema: Json = {"type": "object", "properties": dict.fromkeys(names, text)}
        return {"content": {media: {"schema": schema} for media in sorted(FORM_BODIES)}}
    if media_types > V2_BODIES:  # A letter's new body: what it may be besides FHIR is as for `$hl7v2`.
        media_types -= V2_BODIES
    bodies = _PATCHES if media_types == PATCH_BODIES else dict.fromkeys(V2_BODIES, "Text")
    content = {media: _content(media, bodies.get(media, "Resource"))[media] for media in sorted(media_types)}
    return {"required": True, "content": content}


_PATCHES: Final = {
    "application/json-patch+json": "Patch",
    "application/merge-patch+json": "MergePatch",
    "application/json": "MergePatch",
}


def _content(media_type: str, schema: str) -> Json:
    return {media_type: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}


def _names(resource_type: ResourceType | None) -> list[str]:
    """Names that a search takes: rows and aliases of the type, or what every type has."""
    rows = COMMON if resource_type is None else resource_type.rows
    return [name for row in rows for name in (row.name, *row.aliases)]


def _component(resource_type: ResourceType | None, name: str) -> str:
    return name if resource_type is None or name in _names(None) else f"{resource_type.name}.{name}"


def _subscription_component(name: str) -> str:
    return name if name in _names(None) else f"Subscription.by-{name}"


def _components() -> Iterator[tuple[str, Json]]:
    schema: Json
    for name in SEARCHED:
        schema = {"type": "array", "items": {"type": "string"}}
        yield _subscription_component(name), {"name": name, "in": "query", "schema": schema}
    for name, schema in _RESULT.items():
        yield name, {"name": name, "in": "query", "schema": schema}
    for row in COMMON:
        yield row.name, _parameter(row, row.name)
    for resource_type in TYPES.values():
        for row in resource_type.parameters:
            for name in (row.name, *row.aliases):
                yield _component(resource_type, name), _parameter(row, name)


def _parameter(row: Parameter, name: str) -> Json:
    text = _MEANING[row.type]
    if name != row.name:
        text = f"Upstream's name for `{row.name}`. {text}"
    schema = {"type": "array", "items": {"type": "string"}}
    return {"name": name, "in": "query", "description": text, "schema": schema}
