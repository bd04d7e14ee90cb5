"""Source profiles: what a sender's messages mean beyond what they say. TOML, validated as a whole."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Annotated, Final, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from ingest.hl7v2.charsets import codec_of
from ingest.pipeline.validation.statuses import ReportStatus, ResultStatus

if TYPE_CHECKING:
    from pathlib import Path

_URI: Final = re.compile(r"\S+:\S*")


def _is_charset(name: str) -> str:
    if codec_of(name) is None:
        message = "is no charset of HL7 table 0211, such as `8859/1` or `UNICODE UTF-8`"
        raise ValueError(message)
    return name


def _is_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:  # Python's own for an unknown zone is a KeyError.
        message = "is no IANA time zone, such as `Europe/Brussels`"
        raise ValueError(message) from error
    return name


def _is_uri(text: str) -> str:
    if _URI.fullmatch(text) is None:
        message = "is no absolute URI, such as `urn:oid:1.2.3` or `https://…`"
        raise ValueError(message)
    return text


Uri = Annotated[str, AfterValidator(_is_uri)]
Charset = Annotated[str, AfterValidator(_is_charset)]
Zone = Annotated[str, AfterValidator(_is_zone)]


class Code(BaseModel):
    """A code that a local one is translated to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    system: Uri
    code: str
    display: str | None = None


class SourceProfile(BaseModel):
    """Knowledge of a source."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field("default", description="The source's name in metrics and logs.")
    endpoint: Uri | None = Field(
        None,
        description="URI of the source, `MessageHeader.source.endpoint`: its own numbers and ids are compared"
        " within it. Unset: made of MSH-3 and MSH-4.",
    )
    charset: Charset | None = Field(
        None,
        description="Charset of messages whose MSH-18 names none or ASCII. Unset: UTF-8 where the bytes are"
        " that, else Windows-1252, with a warning.",
    )
    zone: Zone | None = Field(
        None,
        description="IANA zone of times without an offset. Unset: MSH-7's offset, else UTC.",
    )
    results: Literal["snapshot", "delta"] = Field(
        "snapshot",
        description="`snapshot`: a report carries all its results. `delta`: the changed ones; the"
        " others stay. OBR-55 and OBX-31 (v2.8) say it for one report: `U` and `A` a delta, `S` a"
        " snapshot.",
    )
    authorities: dict[str, Uri] = Field(
        default_factory=dict,
        description="Assigning authorities (CX-4, EI-2 and EI-3: namespace or universal id) and the"
        " identifier systems that they stand for.",
    )
    default_authority: Uri | None = Field(
        None, description="Identifier system of a patient's numbers without an assigning authority."
    )
    default_order_authority: Uri | None = Field(
        None, description="The same for numbers of orders and reports (OBR-2, OBR-3)."
    )
    default_identifier_type: str | None = Field(
        None, description="Type (HL7 table 0203) of numbers in PID-3 that name none, such as `MR`."
    )
    identifier_types: dict[str, str] = Field(
        default_factory=dict,
        description="The source's own types of numbers, and those of HL7 table 0203.",
    )
    systems: dict[str, Uri] = Field(
        default_factory=dict,
        description="Names of coding systems (CWE-3, CWE-6) and their URIs, before the known ones.",
    )
    codes: dict[str, dict[str, Code]] = Field(
        default_factory=dict,
        description="Local codes by the name of their coding system (empty: none), and the codes that are"
        " added before them.",
    )
    units: Literal["ucum", "as-sent"] = Field(
        "as-sent",
        description="`ucum`: OBX-6 without a coding system is a UCUM code. `as-sent`: it is a text.",
    )
    accession: Literal["OBR-18", "OBR-19", "OBR-20", "OBR-21"] | None = Field(
        None, description="The field with the accession number; SPM-30 is always one."
    )
    category: str | None = Field(
        None, description="Category (HL7 table 0074) of reports without OBR-24, such as `LAB`."
    )
    unreadable_documents: Literal["keep", "refuse"] = Field(
        "keep",
        description="A document (ED) that is not what ED.4 says, beside results or other documents. `keep`:"
        " the rest is stored, with a warning. `refuse`: an error.",
    )
    missing_report_status: ReportStatus | Literal["from-results", "refuse"] = Field(
        "unknown",
        description="Status of a report without OBR-25. `from-results`: `final` where all its results are"
        " settled, `partial` where some are, else `preliminary`. `refuse`: an error.",
    )
    missing_result_status: ResultStatus | Literal["from-report", "refuse"] = Field(
        "unknown", description="Status of a result without OBX-11. `from-report`: that of OBR-25."
    )
    report_statuses: dict[str, ReportStatus] = Field(
        default_factory=dict, description="The source's own codes in OBR-25; others are refused."
    )
    result_statuses: dict[str, ResultStatus] = Field(
        default_factory=dict, description="The source's own codes in OBX-11."
    )
    processing: tuple[Literal["P", "T", "D", "N", "V"], ...] = Field(
        ("P", "T", "D", "N", "V"),
        description="Processing ids (MSH-11, HL7 table 0103) that are taken: production, training, debugging,"
        " non-production testing, validation.",
    )


DEFAULT_PROFILE: Final = SourceProfile.model_validate({})


def load_profile(path: Path) -> SourceProfile:
    """Read a profile from TOML. Raises ValueError that names each setting which is wrong."""
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeError, tomllib.TOMLDecodeError) as error:
        message = f"{path}: {error}"
        raise ValueError(message) from error
    return profile_of(told, f"{path}: ")


def profile_of(told: object, where: str = "") -> SourceProfile:
    """A profile from a table of TOML. Raises ValueError that names each setting which is wrong."""
    try:
        return SourceProfile.model_validate(told)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, one['loc'])) or 'profile'}: {one['msg']}"
            for one in error.errors(include_input=False)
        )
        message = f"{where}{faults}"
        raise ValueError(message) from None
