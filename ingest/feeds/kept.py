"""The message itself, kept: a Binary with its bytes, and a Provenance that leads there from what it made.

Both are named by the message's bytes, so that a message sent again is the same message; the Provenance is
written last of all, so that where it is, everything that the message says is stored. Both stay as long as the
reports that the message made (`Prepared.derived_from`), and are erased with their patient.
"""

from __future__ import annotations

import gzip
from base64 import b64decode, b64encode
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from ingest.ids import stable_id
from ingest.pipeline.decode import decode
from ingest.pipeline.documents import file_of_binary
from ingest.pipeline.prepare import prepare
from ingest.writes import filing
from store.fhir.datatypes import listed
from store.fhir.references import RELATIVE
from store.resources.resource_keys import ResourceKey
from store.resources.versions import Stored, instant

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ingest.hl7v2.reader import Header
    from ingest.writes.push_context import PushContext
    from store.fhir.datatypes import JsonObject
    from store.tenancy import Tenant

ER7: Final = "x-application/hl7-v2+er7"
"""The media type of a message, as FHIR's v2-to-FHIR guide spells it."""
COMPRESSED: Final = "application/gzip"
TAG_SYSTEM: Final = "urn:data-on-demand:hl7v2-source"
"""System of the tag that names the source: `Provenance?_tag=…|lab` finds the messages of one."""
EVENTS: Final = "http://terminology.hl7.org/CodeSystem/v2-0003"
_TYPES: Final = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
TARGETS: Final = frozenset(
    {"DiagnosticReport", "Patient", "ServiceRequest", "DocumentReference", "Encounter"}
)
"""Types of what a message made that its Provenance names; observations are reached by their report."""


def name_of(message: bytes) -> str:
    """The natural key of a message: its bytes, MSH-10 among them."""
    return f"hl7v2 message {sha256(message.strip()).hexdigest()}"


def id_of(tenant: Tenant, message: bytes, secret: bytes) -> str:
    """The id that the Provenance and the Binary of a message share."""
    return stable_id(tenant, name_of(message), secret)


def records_of(message_id: str) -> tuple[str, str]:
    """`Type/id` of the Provenance and of the Binary of a message."""
    return f"Provenance/{message_id}", f"Binary/{message_id}"


async def stands(ctx: PushContext, message_id: str) -> bool:
    """Whether the message was stored before, and nothing that its Provenance names was deleted since."""
    found = await ctx.store.get(ctx.tenant, ResourceKey("Provenance", message_id))
    if not isinstance(found, Stored):
        return False
    keys = set(_targets(decode(found.raw)))
    return len(await ctx.store.versions(ctx.tenant, list(keys))) == len(keys)


def _targets(provenance: JsonObject) -> Iterator[ResourceKey]:
    """Resources of ours that a Provenance names; a client may have put other things there."""
    for one in listed(provenance.get("target")):
        named = one.get("reference") if isinstance(one, dict) else None
        if isinstance(named, str) and RELATIVE.fullmatch(named):
            yield ResourceKey(*named.split("/"))


async def keep(  # noqa: PLR0913 -- all that is told of a message
    ctx: PushContext,
    message_id: str,
    message: bytes,
    *,
    header: Header,
    source: str,
    made: Sequence[ResourceKey],
) -> None:
    """Keep a message that made these resources."""
    patients = [str(key) for key in made if key.type == "Patient"]
    binary = await ctx.work(_binary, message_id, message, patients[0] if patients else None)
    taken = await filing.taken_out_of(ctx, binary)
    provenance = _provenance(ctx, message_id, header=header, source=source, made=made)
    ready = [
        prepare(one, message_id, base=ctx.base, companion=True).prepared
        for one in (taken.resource, provenance)
    ]
    await filing.put(ctx, ready, taken.files)


def _binary(message_id: str, message: bytes, patient: str | None) -> JsonObject:
    # Without the moment of compression, so that equal messages are equal bytes.
    data = b64encode(gzip.compress(message, 6, mtime=0)).decode()
    whose: JsonObject = {} if patient is None else {"securityContext": {"reference": patient}}
    return {"resourceType": "Binary", "id": message_id, "contentType": COMPRESSED, **whose, "data": data}


def _provenance(
    ctx: PushContext, message_id: str, *, header: Header, source: str, made: Sequence[ResourceKey]
) -> JsonObject:
    type_, event = header.type
    code = f"{type_}^{event}"
    what: dict[str, Any] = {"reference": f"Binary/{message_id}", "display": f"HL7 v2 {code}"}
    if header.control_id:
        what["identifier"] = {"value": header.control_id}
    sent_by = " ".join(one for one in (header.sending_application, header.sending_facility) if one.strip())
    targets = [{"reference": str(key)} for key in dict.fromkeys(made) if key.type in TARGETS]
    activity = {"activity": {"coding": [{"system": EVENTS, "code": event}]}} if event.strip() else {}
    return {
        "resourceType": "Provenance",
        "id": message_id,
        "meta": {"tag": [{"system": TAG_SYSTEM, "code": source}]},
        "target": targets,
        "recorded": instant(ctx.clock()).decode(),
        **activity,
        "agent": [
            {
                "type": {"coding": [{"system": _TYPES, "code": "transmitter"}]},
                "who": {"display": sent_by or source},
            }
        ],
        "entity": [{"role": "source", "what": what}],
    }


async def content_of(ctx: PushContext, binary: JsonObject) -> bytes | None:
    """The message in a stored Binary; None: its file is gone."""
    file_id = file_of_binary(binary)
    if file_id is None:
        return gzip.decompress(b64decode(str(binary.get("data", ""))))
    file = await ctx.attachments.find(ctx.tenant, file_id)
    if file is None:
        return None
    pieces = [piece async for piece in ctx.attachments.read(ctx.tenant, file, start=0, end=file.size)]
    return gzip.decompress(b"".join(pieces))
