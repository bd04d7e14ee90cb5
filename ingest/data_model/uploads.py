"""URI of an uploaded file: what it names, for whom, and until when, sealed. Pure.

Nothing is stored but the file: whoever gets the URI back can tell whether it made it, and for whom.
"""

from __future__ import annotations

import hmac
import re
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from store.fhir.datatypes import JsonObject
    from store.tenancy import Tenant

PATH: Final = "/blob/"
_URI: Final = re.compile(r"https?://[^/\s]+/blob/(file-[0-9a-f]{40})\.([0-9]{1,12})\.([0-9a-f]{32})")
FOREIGN: Final = "is the URI of no file that this client uploaded for this tenant: `POST /upload`"
EXPIRED: Final = "is the URI of a file that was uploaded too long ago: upload it again"


def refer(bundle: JsonObject, attachments: Mapping[str, JsonObject]) -> None:
    """Have the documents of a message that name uploads be the files themselves."""
    entries: Any = bundle["entry"]
    for entry in entries:
        for form in entry["resource"].get("presentedForm", ()):
            if (file := attachments.get(form.get("url", ""))) is not None:
                form.update(
                    {**file, **({"contentType": form["contentType"]} if "contentType" in form else {})}
                )


class Owner(NamedTuple):
    """Tenant and client that may refer to what they uploaded, and the secret that seals it."""

    tenant: Tenant
    client: str
    secret: bytes

    def uri(self, origin: str, file_id: str, until: datetime) -> str:
        """The URI of a file that was just stored."""
        ends = int(until.timestamp())
        return f"{origin}{PATH}{file_id}.{ends}.{self._seal(file_id, ends)}"

    def file_of(self, uri: str, now: datetime) -> str | None:
        """The id of the file that a URI names; None: it is no URI of an upload.

        Raises ValueError with the rule: it is that of somebody else, or was of an upload.
        """
        match = _URI.fullmatch(uri)
        if match is None:
            return None
        file_id, ends = match[1], int(match[2])
        if not hmac.compare_digest(self._seal(file_id, ends), match[3]):
            raise ValueError(FOREIGN)
        if datetime.fromtimestamp(ends, UTC) <= now:
            raise ValueError(EXPIRED)
        return file_id

    def _seal(self, file_id: str, ends: int) -> str:
        told = f"upload\n{self.tenant}\n{self.client}\n{file_id}\n{ends}"
        return hmac.digest(self.secret, told.encode(), sha256)[:16].hex()
