"""Settings of ingest; `api.settings.service` joins them with the others and reads them from `DOD_*`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from ingest.pipeline.budget import ENTRIES_MAX


class IngestSettings(BaseModel):
    """Bounds of a pushed body."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    bundle_entries_max: int = Field(default=5_000, ge=1)
    """Most entries of one Bundle; each is a resource to validate, index and store. Likewise the most messages
    of an HL7 v2 batch, and the most patients of one message."""
    hl7v2_segments_max: int = Field(default=20_000, ge=100)
    """Most segments of one HL7 v2 message; each is a line to map, and many are a resource. A batch may have
    ten times as many."""
    transaction_entries_max: int = Field(default=5_000, ge=1, le=50_000)
    """Most entries of one transaction; all are written in one MongoDB transaction, which may last 60 s."""
    transaction_bytes_max: int = Field(default=40_000_000, ge=1_000)
    """Bytes that the resources of one transaction may take together; MongoDB keeps them in its cache."""
    idempotency_days: int = Field(default=7, ge=1, le=365)
    """Time for which the answer to an `Idempotency-Key`, or to a whole Bundle, is remembered for its sender.
    """
    attachment_inline_bytes_max: int = Field(default=65_536, ge=1_024, le=4_000_000)
    """Longest document, in base64, that stays inside its resource; a longer one is kept as a file."""
    upload_bytes_max: int = Field(default=30_000_000, ge=1_000, le=1_000_000_000)
    """Largest file of `POST /upload`; a larger one is 413. `body_bytes_max` bounds it too."""
    upload_seconds: int = Field(default=86_400, ge=60, le=2_592_000)
    """Time for which a message may refer to an uploaded file; then the file is deleted, unless one did."""
    load_expanded_bytes_max: int = Field(default=20_000_000_000, ge=1_000_000)
    """Bytes that `dod load` lets one .gz or .zip expand to; past it the rest of it is refused."""
    push_bytes_max: int = Field(default=128_000_000, ge=1_000_000)
    """Bytes of all bodies being read and stored at once, as they come; past it a push is refused with 503.

    One body is always let in, however large. Bodies up to 64 KiB have room of their own beside it, an eighth.
    Where room is missing, a sender that is markedly slower than another loses its room to it.
    """
    push_tenant_share: float = Field(default=0.75, gt=0, le=1)
    """Part of `push_bytes_max` that the bodies of one tenant may take together."""
    push_client_share: float = Field(default=0.5, gt=0, le=1)
    """Part of `push_bytes_max` that the bodies of one client of a tenant may take together."""
    push_client_rate: int = Field(default=64_000_000, ge=0)
    """Bytes a second that are read of the bodies above 64 KiB of one client of a tenant, on all connections
    together; a client that sends more waits. 0: as many as come."""
    body_elements_max: int = Field(default=1_000_000, ge=1_000)
    """Most JSON values of one body, such as a Bundle. Parsed, each takes some 150 bytes of memory."""
    resource_elements_max: int = Field(default=100_000, ge=1_000)
    """Most JSON values of one resource, alone or in a Bundle."""
    index_entries_max: int = Field(default=ENTRIES_MAX, ge=100)
    """Most index entries of one resource: identifiers, codes, references and what else is searched for."""
    prepare_seconds: float = Field(default=30.0, gt=0, le=3_600)
    """Processor time that one body may take until it can be stored; then 413."""
    body_seconds: float = Field(default=120.0, gt=0, le=3_600)
    """Time that a body may take to arrive; then 408."""
    validation: Literal["lenient", "strict"] = "lenient"
    """Handling of deviations from R4: mended or kept, and named in the reply; or refused, every one listed.
    A tenant may say otherwise (`dod tenant create --handling`), and `Prefer: handling=` for one push."""
    source_ahead_seconds: int = Field(default=86_400, ge=0, le=31_536_000)
    """Time by which a source's clock may be ahead of this service's, wrong zones included. A later time says
    nothing of which news is newer, and the reply says so: all later news would be late for ever."""
    identity_placeholders: tuple[str, ...] = (
        "0",
        "NA",
        "N/A",
        "NIL",
        "NONE",
        "NULL",
        "UNK",
        "UNKNOWN",
        "PENDING",
        "TEST",
        "TEMP",
        "TEMPORARY",
        "TBD",
        "MISSING",
        "UNASSIGNED",
        "NOT ASSIGNED",
        "NOT AVAILABLE",
        "NOT KNOWN",
        "NOT APPLICABLE",
        "NOT GIVEN",
        "NONE GIVEN",
        "NO ID",
        "NO MRN",
        "NO SSN",
        "NO NUMBER",
        "DECLINED",
        "REFUSED",
        "DEFAULT",
        "DUMMY",
        "ANONYMOUS",
        "XXX",
        *(
            "INCONNU",
            "INCONNUE",
            "UNBEKANNT",
            "KEINE",
            "DESCONOCIDO",
            "DESCONOCIDA",
            "NINGUNO",
            "SCONOSCIUTO",
        ),
        *(
            "NESSUNO",
            "DESCONHECIDO",
            "ONBEKEND",
            "GEEN",
            "OKÄND",
            "UKJENT",
            "UKENDT",
            "TUNTEMATON",
            "NIEZNANY",
        ),
        *("BRAK", "NEZNÁMÝ", "ISMERETLEN", "NECUNOSCUT", "BILINMIYOR", "ΑΓΝΩΣΤΟ", "НЕИЗВЕСТНО", "НЕИЗВЕСТЕН"),
        *("НЕВІДОМО", "不明", "未知", "未詳", "不详", "無", "无", "なし", "없음", "미상", "ไม่ทราบ"),
        *("غير معروف", "לא ידוע"),
    )
    """Values of identifiers that stand for "there is none", whatever their case, accents, width and
    punctuation: searched by, never a key. A number of zeros, nines or X alone counts as one too, so does one
    of seven or more times the same digit, and one that is hidden in part (`XXX-XX-1234`).
    """
