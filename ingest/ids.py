"""Ids derived from names: twins meet at one id, and nobody can guess an identifier from an id."""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from store.tenancy import Tenant


def stable_id(tenant: Tenant, name: str, secret: bytes) -> str:
    """The UUID (version 8) that a natural key always has in this tenant."""
    keyed = bytearray(hmac.digest(secret, f"{tenant} {name}".encode(), sha256)[:16])
    keyed[6] = keyed[6] & 0x0F | 0x80
    keyed[8] = keyed[8] & 0x3F | 0x80
    digits = keyed.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
