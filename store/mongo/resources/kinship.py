"""Links between the records of one person: updates keep them, and a record that becomes another's parts. What
messages told of a resource stays as well, as far as its content still says so.

A record names the others in `identity.kin`, and so do they. Whoever links or parts records counts `links` on
each, so that an update that has read the links before is decided again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pymongo import UpdateMany, UpdateOne

from store.search.planning.plan import document_id
from store.search.values.escapes import escape

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from store.resources.versions import Prepared
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


_FIRST_NEWS: Final = ("since", "mended_since", "moved_here")
_TOLD: Final = ("own", "stable", "apart", "specimens", "corrected", *_FIRST_NEWS, "within")
"""Evidence of a message beyond the content: of a patient also `source` and `given`."""
_ABOUT: Final = ("patient", "codes", "title")
_BARE: Final = ("source ", "client ", "author ")
"""Beginnings of names that stand for the system of a number that has none."""


def kept_evidence(
    prepared: Prepared, document: Mapping[str, Any], current: Mapping[str, Any] | None, *, deleted: bool
) -> dict[str, Any]:
    """Fields of a new version that came in no message, with what messages told of the one before.

    An update of a report by its id is found by the next message all the same.
    """
    before = (current or {}).get("identity") or {}
    is_another = deleted and prepared.revives is None  # What comes back may be anybody's.
    if is_another or prepared.said is None or not before:
        return {}
    now = prepared.said
    bare = [
        one
        for one in before.get("numbers", ())
        if one[1].startswith(_BARE) and f"identifier={escape(one[2])}" in document["keys"]
    ]
    whole = {**now, "numbers": sorted([*now.get("numbers", ()), *bare])}
    if prepared.key.type == PATIENT:
        stays = numbers_of(whole) == numbers_of(before)
    else:
        stays = all(now.get(name) == before.get(name) for name in _ABOUT)
        bare = bare if stays else []
    if not (stays or bare):
        return {}
    names = (*_TOLD, "source", "given") if stays else ()
    told = {name: before[name] for name in names if name in before and name not in now}
    about = {f"{before.get('patient')}&number={escape(one[1])}|{escape(one[2])}" for one in bare}
    entries = [one for one in before.get("keys", ()) if (stays and one.startswith("own=")) or one in about]
    if not (bare or told):
        return {}
    return {
        "identity": {**whole, **told, "keys": [*prepared.identity_keys, *entries]},
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
