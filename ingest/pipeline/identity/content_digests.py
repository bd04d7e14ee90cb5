"""Digests of what entries say, by which those are named that nothing else tells apart.

An organization without a number, a Provenance: one for each content, and its content is also that of what it
refers to.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final

from ingest.pipeline.bundle_references import redirected
from ingest.pipeline.stamp import dump
from store.errors import Category, ServiceError
from store.fhir.issues import Issue

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ingest.pipeline.identity.decisions import Choice
    from ingest.pipeline.identity.reader import Reader

WALKS_MAX: Final = 50_000
"""Looks at entries: two seconds. An entry of a circle is looked at for each way to it."""
DEPTH_MAX: Final = 200
"""Entries in a row of which each refers to the next."""
_CIRCLES: Final = (
    "too many entries of one message refer to one another in circles, or each to the next: send the message"
    " without the references that close the circles, or in parts"
)


class ContentDigests:
    """The digests of a message's entries, while it is decided who they are."""

    def __init__(self, read: Reader, choices: Mapping[int, Choice]) -> None:
        """`choices` grow: an entry that is decided upon is referred to by its id."""
        self._read = read
        self._choices = choices
        self._known: dict[int, str] = {}
        self._walks = 0

    def of(self, number: int) -> str:
        """The digest of an entry, hexadecimal. Raises ServiceError `too-large` for a maze of references."""
        return self._walked(number, ())[0]

    def _walked(self, number: int, above: tuple[int, ...]) -> tuple[str, frozenset[int]]:
        """The digest of an entry below others, and those of them that it leads back to.

        Where it leads back to none the digest is the same below any, and is remembered: entries that many
        refer to, which refer to many, would else be walked once for each way to them.
        """
        if number in self._known:
            return self._known[number], frozenset()
        self._walks += 1
        if self._walks > WALKS_MAX or len(above) > DEPTH_MAX:
            where = (self._read.types[number],)
            raise ServiceError(Category.TOO_LARGE, Issue("too-costly", _CIRCLES, where))
        here = (*above, number)
        entry = self._read.entries[number]
        resource = {name: value for name, value in entry.resource.items() if name not in ("id", "meta")}
        told: dict[str, str] = {}
        back: frozenset[int] = frozenset()
        for text, there in self._read.targets[number].items():
            if there is None:
                continue
            if there in self._choices and there not in self._known:
                told[text] = f"{self._read.types[there]}/{self._choices[there].id}"
            elif there in here:
                told[text] = self._read.types[there]
                back |= {there}
            else:
                told[text], further = self._walked(there, here)
                back |= further
        digest = sha256(dump(redirected(resource, told))).hexdigest()
        back -= {number}
        if not back:
            self._known[number] = digest
        return digest, back
