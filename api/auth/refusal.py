"""A refused token request, as OAuth says it. https://www.rfc-editor.org/rfc/rfc6749#section-5.2"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Literal

import orjson

ErrorCode = Literal[
    "invalid_request", "invalid_client", "invalid_scope", "unsupported_grant_type", "temporarily_unavailable"
]
_STATUS: Final = {"invalid_client": 401, "temporarily_unavailable": 503}
_OF_STATUS: Final = {429: "temporarily_unavailable", 503: "temporarily_unavailable"}
_FAULT: Final = 500


class Reason(StrEnum):
    """Reason of a refusal, for the log and the metrics. Who has proven nothing hears none of the others."""

    SAID = "said"
    """The answer says it."""
    NO_CLIENT = "no-client"
    NO_KEY = "no-key"
    """The client has no such key, or none at a `jku`."""
    KEY_SET = "key-set"
    """The client's JWKS URL cannot be read."""
    ALGORITHM = "algorithm"
    """The key is for another algorithm."""
    SIGNATURE = "signature"


class Refusal(Exception):  # noqa: N818 -- an answer of the endpoint, no failure
    """A refusal with the text that upstream gives, where upstream has one."""

    def __init__(
        self,
        error: ErrorCode,
        description: str,
        *,
        status: int | None = None,
        reason: Reason = Reason.SAID,
    ) -> None:
        super().__init__(error)
        self.error = error
        self.description = description
        self.status = status or _STATUS.get(error, 400)
        self.reason = reason


def body_of(error: str, description: str) -> bytes:
    """The body of a refusal."""
    return orjson.dumps({"error": error, "error_description": description})


def error_of_status(status: int) -> str:
    """The error of a refusal that is not the endpoint's own: too many requests, no database, a defect."""
    return _OF_STATUS.get(status, "server_error" if status >= _FAULT else "invalid_request")
