"""A refused token request, as OAuth says it. https://www.rfc-editor.org/rfc/rfc6749#section-5.2"""

from __future__ import annotations

from typing import Final, Literal

import orjson

ErrorCode = Literal[
    "invalid_request", "invalid_client", "invalid_scope", "unsupported_grant_type", "temporarily_unavailable"
]
_STATUS: Final = {"invalid_client": 401, "temporarily_unavailable": 503}
_OF_STATUS: Final = {429: "temporarily_unavailable", 503: "temporarily_unavailable"}
_FAULT: Final = 500


class Refusal(Exception):  # noqa: N818 -- an answer of the endpoint, no failure
    """A refusal with the text that upstream gives, where upstream has one."""

    def __init__(self, error: ErrorCode, description: str, *, status: int | None = None) -> None:
        super().__init__(error)
        self.error = error
        self.description = description
        self.status = status or _STATUS.get(error, 400)


def body_of(error: str, description: str) -> bytes:
    """The body of a refusal."""
    return orjson.dumps({"error": error, "error_description": description})


def error_of_status(status: int) -> str:
    """The error of a refusal that is not the endpoint's own: too many requests, no database, a defect."""
    return _OF_STATUS.get(status, "server_error" if status >= _FAULT else "invalid_request")
