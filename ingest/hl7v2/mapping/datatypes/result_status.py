"""OBX-11: the status of a result, and whether it was withdrawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ingest.hl7v2.mapping.context import codes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.hl7v2.mapping.context import Context

STATUSES: Final = codes(
    "F=final U=final P=preliminary R=preliminary S=preliminary C=corrected A=amended B=amended "
    "V=amended D=entered-in-error W=entered-in-error X=cancelled I=registered O=registered "
    "N=cancelled"
)
"""HL7 table 0085."""
_WITHDRAWN: Final = "entered-in-error"


def told(context: Context, fields: Sequence[str]) -> tuple[str, str | None]:
    """The code of OBX-11 and its status, the profile's own codes first; None: neither knows the code."""
    code = context.first(fields[11]) if len(fields) > 11 else ""  # noqa: PLR2004 -- OBX-11
    return code, context.profile.result_statuses.get(code) or STATUSES.get(code.upper())


def is_withdrawn(context: Context, fields: Sequence[str]) -> bool:
    """Whether a result was deleted, or sent of the wrong patient: no document shows it any more.

    See DECISIONS.md#withdrawn-documents.
    """
    return told(context, fields)[1] == _WITHDRAWN
