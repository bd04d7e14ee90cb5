"""Random worlds: two or three stories of a few people, told by sources with their habits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.oracle.identity.hospital import Ids, Said, Sent, Source
from tests.oracle.identity.people import Register
from tests.oracle.identity.reports import Companions, observed
from tests.oracle.identity.scenarios import Draft, Teller

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from tests.oracle.identity.hospital import Person

STORIES: Final = (
    *("one", "panels", "tolerance", "cultures", "recoded"),
    *("mixed_up", "reused", "alike", "merged", "alone", "shared", "late", "several", "coincident"),
)
ROOTS: Final = ("https://a.example/fhir", "https://b.example/fhir")
LAST: Final = 100
"""Messages of a world have minutes before this one."""


def world(
    rng: Random, *, story: str | None = None, ids: Ids | None = None, stories: Sequence[str] = STORIES
) -> list[Sent]:
    """The messages of one world in the order of their source time, each with a minute of its own."""
    register, teller = Register(rng), Teller(rng)
    sources = _sources(rng, ids)
    pairs = [register.pair() for _ in range(rng.choice((1, 1, 2)))]
    free = set(range(1, LAST))
    sent: list[Sent] = []
    for _ in range(rng.choice((1, 2, 2, 3))):
        name = story or rng.choice(stories)
        source = rng.choice(sources)
        if name == "recoded" and source.ids not in (Ids.STABLE, Ids.FROZEN):
            source = source._replace(name="stable", endpoint="urn:made-up:stable", ids=Ids.STABLE)
        people = _people(rng, name, register, pairs)
        drafts: list[Draft] = getattr(teller, name)(source, people)
        counted = ids is None and rng.random() < 0.2
        companions = Companions(rng, numbered=rng.random() < 0.5, counted=counted)
        both = _both(rng) if name in ("several", "alike") else (source,)
        for draft, minute in zip(drafts, _minutes(rng, free, drafts, people), strict=True):
            sent.append(Sent(minute, both[draft.by], _said(draft, minute, companions), name, draft.later))
    sent += [
        Sent(minute, rng.choice(sources), (person.at(minute),), "news")
        for person in rng.choice(pairs)
        if rng.random() < 0.2 and (minute := _take(rng, free, 1, LAST))
    ]
    return sorted(sent, key=lambda one: one.minute)


def _people(
    rng: Random, name: str, register: Register, pairs: list[tuple[Person, Person]]
) -> tuple[Person, ...]:
    if name == "merged":
        return register.merged()
    if name == "late":
        return (register.late(),)
    if name == "several":
        return register.several()
    pair = rng.choice(pairs)
    return pair if rng.random() < 0.5 else pair[::-1]


def _sources(rng: Random, ids: Ids | None) -> list[Source]:
    """Senders, one or two; without an endpoint all that is known of them is the token, which they share."""
    endless = rng.random() < 0.3
    found = []
    for name in ("lab", "clinic")[: rng.randint(1, 2)]:
        endpoint = None if endless else f"urn:made-up:{name}"
        roots = ROOTS if rng.random() < 0.3 else ROOTS[:1]
        habit = ids or rng.choice(tuple(Ids))
        found.append(Source(name, habit, endpoint, roots, document=rng.random() < 0.1))
    return found


def _both(rng: Random) -> tuple[Source, ...]:
    """Two senders, whom their endpoints tell apart."""
    names = ("lab", "clinic")
    return tuple(
        Source(name, rng.choice(tuple(Ids)), f"urn:made-up:{name}", ROOTS[:1], document=False)
        for name in names
    )


def _minutes(rng: Random, free: set[int], drafts: list[Draft], people: tuple[Person, ...]) -> list[int]:
    """A minute for each message of a story, in order, on the right side of a merge."""
    merge = next((one.replaces[0] for one in people if one.replaces), LAST)
    before = sum(draft.after_merge is not True for draft in drafts)
    first = sorted(_take(rng, free, 1, merge) for _ in range(before))
    return first + sorted(_take(rng, free, merge, LAST) for _ in range(len(drafts) - before))


def _take(rng: Random, free: set[int], start: int, end: int) -> int:
    minute = rng.choice([one for one in sorted(free) if start <= one < end])
    free.discard(minute)
    return minute


def _said(draft: Draft, minute: int, companions: Companions) -> tuple[Said, ...]:
    """All statements of a message: one of each thing."""
    said: list[Said] = [person.at(minute) for person in draft.people]
    for group, version in enumerate(draft.versions):
        said += companions.told(version, minute, group=group)
    for result in draft.alone:
        said.append(observed(result, draft.people[0].thing, "final", 0))
    found: dict[str, Said] = {}
    for one in said:
        found.setdefault(one.thing, one)
    return tuple(found.values())
