"""Schemas of what is not FHIR in `/openapi.json`: the token endpoint's form, uploads, upstream's errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from api.auth.assertions import ASSERTION_TYPE, FORM, GRANT_TYPE

if TYPE_CHECKING:
    from collections.abc import Mapping

Json = dict[str, Any]
_TEXT: Final[Json] = {"type": "string"}

TOKEN_REQUEST: Final[Json] = {
    "type": "object",
    "required": ["grant_type", "client_assertion_type", "client_assertion"],
    "properties": {
        "grant_type": {"const": GRANT_TYPE},
        "client_assertion_type": {"const": ASSERTION_TYPE},
        "client_assertion": {**_TEXT, "description": "A JWT signed by the client, RS384 or ES384."},
        "scope": {**_TEXT, "description": "Scopes with spaces between them; without it all of the client's."},
    },
}
"""https://www.rfc-editor.org/rfc/rfc7523#section-2.2"""
TOKEN_ANSWER: Final[Json] = {
    "type": "object",
    "required": ["access_token", "token_type", "expires_in", "scope"],
    "properties": {
        "access_token": _TEXT,
        "token_type": {"const": "Bearer"},
        "expires_in": {"type": "integer", "minimum": 1},
        "scope": _TEXT,
    },
}
TOKEN_ERROR: Final[Json] = {
    "type": "object",
    "required": ["error", "error_description"],
    "properties": {"error": _TEXT, "error_description": _TEXT},
}
"""https://www.rfc-editor.org/rfc/rfc6749#section-5.2"""
UPLOADED: Final[Json] = {
    "type": "object",
    "required": ["URI"],
    "properties": {"URI": {"type": "string", "format": "uri"}, "Meta": {"type": "object"}},
}
FILE: Final[Json] = {
    "type": "object",
    "required": ["file"],
    "properties": {"file": {"type": "string", "contentMediaType": "application/octet-stream"}},
}
ERRORS: Final[Json] = {
    "type": "object",
    "required": ["Meta"],
    "properties": {
        "Meta": {
            "type": "object",
            "required": ["Errors"],
            "properties": {
                "Errors": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "required": ["Text", "Code"],
                        "properties": {"Text": _TEXT, "Code": _TEXT, "Path": _TEXT},
                    },
                }
            },
        }
    },
}


def _form(media_type: str, schema: str) -> Json:
    return {
        "required": True,
        "content": {media_type: {"schema": {"$ref": f"#/components/schemas/{schema}"}}},
    }


FORMS: Final[Mapping[str, Json]] = {
    "token": _form(FORM, "TokenRequest"),
    **dict.fromkeys(("upload", "upload-tenant"), _form("multipart/form-data", "File")),
}
"""Bodies of rows that take a form, by the row's name."""
