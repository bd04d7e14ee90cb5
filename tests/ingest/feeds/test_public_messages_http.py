"""Public messages through the service: each field is found in the FHIR that comes back. Needs TEST_DATA."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from ingest.hl7v2.batches import split
from ingest.hl7v2.reader import Unreadable, read
from store.tenancy import SearchScope
from tests.oracle.mapping.hl7v2 import missing
from tests.support.extra import DATA
from tests.support.service import opened_service

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.service import Service

REFUSED: Final = ("missing-obr.hl7", "obr25-z.hl7", "obr25-invalid.hl7", "without-pid.hl7")
"""Ends of the names of messages that are wrong on purpose: no OBR, no PID, a status that cannot be told."""
SHARE: Final = 0.98


def messages() -> Iterator[tuple[str, bytes]]:
    for path in sorted((DATA / "oru").glob("*")) if DATA else []:
        if path.suffix in (".hl7", ".txt"):
            for each in split(path.read_bytes()):
                yield path.name, each


async def everything(service: Service) -> list[Any]:
    """All current resources, each with the URL that others refer to it by."""
    found = []
    for kind in ("Patient", "DiagnosticReport", "Observation"):
        page = (await service.search("_count=1000", type=kind)).body
        found += [entry["resource"] for entry in page.get("entry", ())]
    return found


@pytest.mark.skipif(DATA is None, reason="TEST_DATA names no folder")
async def test_each_field_of_a_public_message_comes_back(mongodb: str) -> None:
    faults: list[str] = []
    sent = 0
    for name, message in messages():
        # A tenant each: what is found is of this message.
        async with opened_service(mongodb, search_scope=SearchScope.ANY) as service:
            answer = await service.request(
                "POST", "$hl7v2", data=message, content_type="x-application/hl7-v2+er7"
            )
            sent += 1
            # Some want no answer, or the one that says that the message is safe.
            if answer.status >= 300:
                faults += [] if name.endswith(REFUSED) else [f"{name}: {answer.status} {answer.text}"]
                continue
            try:
                header = read(message).header
            except Unreadable:
                header = None
            if header is not None and header.type[0] == "ORU":
                text = message.removeprefix(b"\xef\xbb\xbf").decode(header.encoding)
                told = list(missing(text, await everything(service)))
                faults += [f"{name}: {told}"] if told else []
    assert sent > 50
    assert len(faults) <= sent * (1 - SHARE), "\n".join(faults)
