"""Stories of reports: each is some messages in the order of their source time.

The sentences quoted are those of the rules of identity. A story avoids what the rules leave to the order
of arrival; where they leave two outcomes, `closure.py` accepts both and says by which sentence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tests.oracle.identity.hospital import Hold, Ids, number
from tests.oracle.identity.people import PLACEHOLDERS
from tests.oracle.identity.reports import PANELS, Result, Version

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from random import Random

    from tests.oracle.identity.hospital import Person, Source

Json = dict[str, Any]

PLAIN: Final = ("registered", "preliminary", "final")
SETTLED: Final = ("final", "corrected", "amended", "cancelled", "entered-in-error")
MENDED: Final = ("corrected", "amended", "cancelled", "entered-in-error")
STABLE: Final = (Ids.STABLE, Ids.FROZEN)
POSITIONAL: Final = (Ids.LOCAL, Ids.SLUG)
"""Habits by which one local id names several reports of one number and code. Such a source corrects none
of these here: "the same number and code: the same report, corrected" and "as many reports as the source
tells apart by its own id, specimen or clinical time" would both hold.
"""


class Draft(NamedTuple):
    """A message before it has a time."""

    versions: tuple[Version, ...] = ()
    alone: tuple[Result, ...] = ()
    people: tuple[Person, ...] = ()
    after_merge: bool | None = None
    """Whether the message must be later, or earlier, than the merge of its people."""
    by: int = 0
    """Number of the source that sends it, where several tell one story."""
    later: bool = False
    """Whether the message is sent once the others are acknowledged."""


class Teller:
    """Makes up the stories of one world."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self._reports = self._values = self._numbers = 0

    def one(self, source: Source, people: tuple[Person, ...]) -> list[Draft]:
        """Report sent several times: results change, come and go; the number may be no key at all."""
        rng = self.rng
        stable = source.ids in STABLE
        keyless = rng.random() < 0.25
        numbers = self._keyless() if keyless else self._numbered()
        once = keyless and source.ids not in (*STABLE, Ids.SLUG)
        timed = keyless or not stable or rng.random() < 0.8
        base = self._version(people[0], numbers, timed=timed)
        steps = self._statuses(1 if once else rng.randint(1, 4))
        return [Draft((one,)) for one in self._editions(base, steps)]

    def panels(self, source: Source, people: tuple[Person, ...]) -> list[Draft]:
        """Panels under one number: "as many reports as codes; each corrected by itself"."""
        rng = self.rng
        numbers = self._numbered(("ACSN", "PLAC", "FILL", None))
        when = self._moment()
        bases = [
            self._version(people[0], numbers, code=code, effective=when)
            for code in rng.sample(tuple(PANELS), rng.randint(2, 3))
        ]
        return self._dealt(bases, corrected=source.ids is not Ids.LOCAL)

    def tolerance(self, source: Source, people: tuple[Person, ...]) -> list[Draft]:
        """Reports of one number and code at 0, 60 and 120 minutes: "each later message finds its own"."""
        numbers, start = self._numbered(), self._moment()
        code = self.rng.choice(tuple(PANELS))
        bases = [
            self._version(people[0], numbers, code=code, effective=start + after)
            for after in (0, 60, 120)[: self.rng.randint(2, 3)]
        ]
        return self._dealt(bases, corrected=source.ids not in POSITIONAL)

    def cultures(self, source: Source, people: tuple[Person, ...]) -> list[Draft]:
        """Two sets of a blood culture of one time, told apart by their specimens (and ids)."""
        numbers, when = self._numbered(), self._moment()
        bases = [
            self._version(people[0], numbers, code="600-7", effective=when)._replace(
                specimen={
                    "identifier": [number("specimen", f"{numbers[0]['value']}-{letter}")],
                    "type": {"text": f"Blood, set {letter}"},
                }
            )
            for letter in "AB"
        ]
        return self._dealt(bases, corrected=source.ids not in POSITIONAL)

    def recoded(self, source: Source, people: tuple[Person, ...]) -> list[Draft]:
        """Another code: "the same number and the source's own id, status corrected …: the same report"."""
        base = self._version(people[0], self._numbered(), code="58410-2")
        first, second = self._editions(base, ("final", self.rng.choice(MENDED)))
        return [Draft((first,)), Draft((second._replace(code="57021-8"),))]

    def mixed_up(self, source: Source, people: tuple[Person, ...]) -> list[Draft]:
        """The wrong patient: "the same *filler* number … status corrected …: the report moves"."""
        wrong, right = people[:2]
        base = self._version(wrong, self._numbered(("FILL", None)))
        before = self._statuses(self.rng.randint(1, 2), PLAIN)
        editions = self._editions(base, (*before, *self._statuses(self.rng.randint(1, 2), MENDED)))
        return [Draft((one if n < len(before) else self._of(one, right),)) for n, one in enumerate(editions)]

    def reused(self, source: Source, people: tuple[Person, ...]) -> list[Draft]:
        """A number used again for another patient: "the same, any other status: two reports"."""
        numbers, code = self._numbered(), self.rng.choice(tuple(PANELS))
        drafts: list[Draft] = []
        for person in people[:2]:
            base = self._version(person, numbers, code=code)
            drafts += [Draft((one,)) for one in self._editions(base, self._statuses(2, PLAIN))]
        self.rng.shuffle(drafts)
        return sorted(drafts, key=lambda draft: draft.versions[0].edition)

    def alike(self, source: Source, people: tuple[Person, ...]) -> list[Draft]:
        """Two senders that count alike: "the same correction from another sender: two", without a time."""
        numbers, code = self._numbered(), self.rng.choice(tuple(PANELS))
        drafts: list[Draft] = []
        for by, person in enumerate(people[:2]):
            base = self._version(person, numbers, code=code, timed=False)._replace(specimen=None)
            editions = self._editions(base, self._statuses(self.rng.randint(1, 2)))
            drafts += [Draft((one,), by=by) for one in editions]
        self.rng.shuffle(drafts)
        return sorted(drafts, key=lambda draft: draft.versions[0].edition)

    def coincident(self, source: Source, people: tuple[Person, ...]) -> list[Draft]:
        """Two patients, one number, code and minute: "her own, corrected; the other patient's stays"."""
        numbers, code, when = self._numbered(("FILL",)), self.rng.choice(tuple(PANELS)), self._moment()
        counts = self.rng.choice(((1, 0), (0, 1), (1, 1), (2, 1)))
        drafts: list[Draft] = []
        for person, count in zip(people[:2], counts, strict=True):
            base = self._version(person, numbers, code=code, effective=when)._replace(specimen=None)
            statuses = (*self._statuses(1, PLAIN), *self._statuses(count, MENDED))
            drafts += [Draft((one,), later=one.edition > 1) for one in self._editions(base, statuses)]
        self.rng.shuffle(drafts)
        return sorted(drafts, key=lambda draft: draft.versions[0].edition)

    def merged(self, source: Source, people: tuple[Person, ...]) -> list[Draft]:
        """Two records of one person: "a search by either number finds the reports of both"."""
        retired, survivor = people[:2]
        old = self._editions(self._version(retired, self._numbered()), ("preliminary", "final"))
        new = self._editions(self._version(survivor, self._numbered()), ("preliminary", "final"))
        drafts = [
            Draft((old[0],), after_merge=False),
            Draft((new[0],), after_merge=False),
            Draft(people=(survivor,), after_merge=True),
        ]
        if self.rng.random() < 0.6:
            drafts.append(Draft((self._of(old[1], survivor),), after_merge=True))
        if self.rng.random() < 0.6:
            drafts.append(Draft((new[1],), after_merge=True))
        return drafts

    def alone(self, source: Source, people: tuple[Person, ...]) -> list[Draft]:
        """Observations by themselves: "known with the same patient and code: the same observation"."""
        base = self._version(people[0], self._numbered())
        own = number("results", self._next_number())
        results = tuple(one._replace(numbers=(own,), hold=Hold.NEWER, members=()) for one in base.results)
        editions = self._editions(base._replace(results=results), ("final", "amended"))
        lonely = [self._changed(editions[0].results[0]) for _ in range(self.rng.randint(1, 2))]
        drafts = [Draft((one,)) for one in editions]
        drafts += [Draft(alone=(one,), people=people[:1]) for one in lonely]
        self.rng.shuffle(drafts)
        places = {
            id(one): one.versions[0].edition if one.versions else self.rng.random() * 3 for one in drafts
        }
        return sorted(drafts, key=lambda draft: places[id(draft)])

    def shared(self, source: Source, people: tuple[Person, ...]) -> list[Draft]:
        """Observation in two reports: "with other content each report keeps its own"."""
        first = self._version(people[0], self._numbered(), code="58410-2")
        second = self._version(people[0], self._numbered(), code="24323-8")
        own = number("results", self._next_number())
        mine = first.results[0]._replace(numbers=(own,), members=())
        drafts = []
        for base in (first, second):
            for one in self._editions(base, self._statuses(self.rng.randint(1, 2))):
                results = tuple(each for each in one.results if each.code != mine.code)
                told = self._changed(mine) if self.rng.random() < 0.4 else mine
                drafts.append(Draft((one._replace(results=(told, *results)),)))
        return drafts

    def late(self, source: Source, people: tuple[Person, ...]) -> list[Draft]:
        """Reports of somebody whose record number is not known from the start, each sent once."""
        return [Draft((self._version(people[0], self._numbered()),)) for _ in range(self.rng.randint(2, 3))]

    def several(self, source: Source, people: tuple[Person, ...]) -> list[Draft]:
        """Reports of one person by two sources, each of which gives its own numbers beside a common one."""
        drafts = []
        for _ in range(self.rng.randint(2, 4)):
            by = self.rng.randrange(2)
            base = self._version(people[by], self._numbered(("FILL",)))
            steps = self._statuses(self.rng.randint(1, 2), PLAIN)
            drafts += [Draft((one,), by=by) for one in self._editions(base, steps)]
        return drafts

    # --- parts of stories

    def _version(
        self,
        person: Person,
        numbers: tuple[Json, ...],
        *,
        code: str | None = None,
        effective: int | None = None,
        timed: bool = True,
    ) -> Version:
        rng = self.rng
        self._reports += 1
        name, chosen = f"r{self._reports}", code or rng.choice(tuple(PANELS))
        when = (self._moment() if effective is None else effective) if timed else None
        few = PANELS.get(chosen, ("718-7",))
        results = tuple(
            Result(f"Observation {name} {each}", each, self._value(), self._result_numbers(n, numbers))
            for n, each in enumerate(few)
        )
        if len(results) > 1 and rng.random() < 0.2:
            results = (results[0]._replace(members=(results[1].thing,)), *results[1:])
        specimen = {"type": {"text": f"Tube of {name}"}} if rng.random() < 0.4 else None
        order = f"O-{self._numbers}" if rng.random() < 0.5 else None
        return Version(name, 1, chosen, "final", person, numbers, when, results, specimen, order)

    def _editions(self, base: Version, statuses: tuple[str, ...]) -> list[Version]:
        found = []
        now = base
        for edition, status in enumerate(statuses, start=1):
            found.append(now._replace(edition=edition, status=status))
            now = now._replace(results=self._amended(now.results, base.results))
        return found

    def _amended(self, now: tuple[Result, ...], all_of: tuple[Result, ...]) -> tuple[Result, ...]:
        """Values change; results of a report without panels are dropped and come back."""
        rng = self.rng
        plain = not any(one.members for one in all_of)
        chosen = [one for one in all_of if not plain or rng.random() < 0.8] or list(all_of)
        before = {one.thing: one for one in now}
        return tuple(
            self._changed(one) if rng.random() < 0.6 else before.get(one.thing, one) for one in chosen
        )

    def _dealt(self, bases: list[Version], *, corrected: bool) -> list[Draft]:
        """The editions of several reports, sometimes in one message."""
        rng = self.rng
        steps = SETTLED[:3] if corrected else PLAIN
        lines = [self._editions(one, self._statuses(rng.randint(1, 2), steps)) for one in bases]
        drafts = []
        while any(lines):
            ready = [line for line in lines if line]
            take = rng.sample(ready, rng.randint(1, len(ready)))
            drafts.append(Draft(tuple(line.pop(0) for line in take)))
        return drafts

    def _of(self, version: Version, person: Person) -> Version:
        """The same report, of somebody else."""
        return version._replace(person=person)

    def _changed(self, one: Result) -> Result:
        return one._replace(value=self._value())

    def _moment(self) -> int:
        """A clinical time that no other report of the world has."""
        return self._reports * 200 + self.rng.randint(0, 50)

    def _value(self) -> str:
        self._values += 1
        return f"value {self._values}"

    def _next_number(self) -> str:
        self._numbers += 1
        return f"{1000 + self._numbers}"

    def _statuses(self, count: int, among: tuple[str, ...] = ("preliminary", *SETTLED)) -> tuple[str, ...]:
        """So many in their order."""
        chosen = sorted(self.rng.choices(range(len(among)), k=count))
        return tuple(among[n] for n in chosen)

    def _numbered(
        self, kinds: tuple[str | None, ...] = ("FILL", "FILL", "ACSN", "PLAC", None)
    ) -> tuple[Json, ...]:
        system = self.rng.choice(("fillers", "accessions"))
        return (number(system, self._next_number(), self.rng.choice(kinds)),)

    def _keyless(self) -> tuple[Json, ...]:
        if self.rng.random() < 0.5:
            return ()
        return (number("fillers", self.rng.choice(PLACEHOLDERS), "FILL"),)

    def _result_numbers(self, n: int, numbers: tuple[Json, ...]) -> tuple[Json, ...]:
        """By habit: of its own, unique within the report, the accession, a placeholder, none."""
        ways: Mapping[str, Callable[[], tuple[Json, ...]]] = {
            "own": lambda: (number("results", f"R{self._reports}-{n}"),),
            "within": lambda: (number("lines", str(n + 1)),),
            "accession": lambda: numbers,
            "placeholder": lambda: (number("results", "0"),),
            "none": tuple,
        }
        return ways[self.rng.choice(tuple(ways))]()
