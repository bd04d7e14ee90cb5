"""Links between the records of one person: updates keep them, and a record that becomes another's parts.

A record names the others in `identity.kin`, and so do they. Whoever links or parts records counts `links` on
each, so that an update that has read the links before is decided again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pymongo import UpdateMany, UpdateOne

from store.search.planning.plan import document_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from store.tenancy import Tenant

KIN_MAX: Final = 1_000
"""Records of one person that are noted; past it something is wrong with the source."""
PATIENT: Final = "Patient"
_COUNTED: Final = {"links": 1}


def kin_of(current: Mapping[str, Any] | None) -> Sequence[str]:
    """Ids of the other records of the same person; a deleted record tells who they were."""
    if current is None:
        return ()
    kin: Sequence[str] = (current.get("identity") or {}).get("kin") or current.get("kin") or ()
    return kin


def parted(identity: Mapping[str, Any] | None, current: Mapping[str, Any] | None, *, deleted: bool) -> bool:
    """Whether a new version, of this evidence, is no longer one person's with the linked records.

    What comes back after a deletion may be anybody's.
    """
    if current is None or not kin_of(current):
        return False
    return deleted or _is_anothers(identity or {}, current.get("identity") or {})


def _is_anothers(now: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    """Whether a record has numbers, and none of those that it had."""
    mine, theirs = numbers_of(now), numbers_of(before)
    return bool(mine and theirs) and mine.isdisjoint(theirs)


def numbers_of(identity: Mapping[str, Any]) -> set[tuple[str, str]]:
    """System and value of each number that a record's evidence holds, former ones too."""
    told = (*identity.get("numbers", ()), *identity.get("former", ()))
    return {(system, value) for _, system, value in told}


def kept_kin(document: Mapping[str, Any], kin: Sequence[str]) -> dict[str, Any]:
    """Fields of a new version with links that it keeps."""
    if not kin:
        return {}
    identity = document.get("identity") or {}
    entries = [_entry(one) for one in kin]
    return {
        "identity": {
            **identity,
            "kin": [*dict.fromkeys((*identity.get("kin", ()), *kin))],
            "keys": [*dict.fromkeys((*identity.get("keys", ()), *entries))],
        },
        "keys": [*dict.fromkeys((*document["keys"], *entries))],
    }


def without_kin(document: Mapping[str, Any], gone: AbstractSet[str]) -> Mapping[str, Any]:
    """A new version without links to these records."""
    identity = document.get("identity") or {}
    if gone.isdisjoint(identity.get("kin", ())):
        return document
    entries = {_entry(one) for one in gone}

    def left(values: Sequence[str], without: AbstractSet[str]) -> list[str]:
        return [one for one in values if one not in without]

    identity = {
        **identity,
        "kin": left(identity["kin"], gone),
        "keys": left(identity.get("keys", ()), entries),
    }
    return {**document, "identity": identity, "keys": left(document["keys"], entries)}


def linking(tenant: Tenant, group: AbstractSet[str]) -> list[UpdateOne]:
    """Updates that note on each of these Patients the ids of the others."""
    members = sorted(group)[:KIN_MAX]
    return [_linked(tenant, one, [other for other in members if other != one]) for one in members]


def _linked(tenant: Tenant, one: str, others: list[str]) -> UpdateOne:
    entries = [_entry(other) for other in others]
    added = {
        "identity.kin": {"$each": others},
        "identity.keys": {"$each": entries},
        "keys": {"$each": entries},
    }
    return UpdateOne(
        {"_id": document_id(str(tenant), PATIENT, one), "type": PATIENT},
        {"$addToSet": added, "$inc": _COUNTED},
    )


def parting(tenant: Tenant, one: str) -> UpdateMany:
    """Update that takes a record out of the kin of all others."""
    entry = _entry(one)
    gone = {"identity.kin": one, "identity.keys": entry, "keys": entry}
    naming = {"tenant": str(tenant), "type": PATIENT, "keys": entry}
    return UpdateMany(naming, {"$pull": gone, "$inc": _COUNTED}, hint="keyed")


def _entry(patient: str) -> str:
    return f"kin={patient}"
