"""Random people of a hospital: their numbers, weak and strong, shared and placeholders, and corrections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tests.oracle.identity.hospital import Hold, Person, number

if TYPE_CHECKING:
    from random import Random

Json = dict[str, Any]

FAMILIES: Final = ("Ash", "Birch", "Cedar", "Dogwood", "Elm", "Fir", "Gum", "Hazel", "Ivy", "Juniper")
GIVENS: Final = ("Ann", "Bob", "Cleo", "Dan", "Eve", "Finn", "Gail", "Hugh", "Ida", "Jon")
PLACEHOLDERS: Final = ("0", "N/A", "UNKNOWN", "NONE", "PENDING", "TEST")

SHARED: Final[tuple[tuple[str, Json, str | None], ...]] = (
    ("temp", {"use": "temp"}, None),
    ("left", {"use": "old"}, None),
    ("other", {"use": "secondary"}, None),
    ("ended", {"period": {"start": "2019-01-01", "end": "2020-01-01"}}, None),
    ("policy", {}, "SN"),
    ("policy", {}, "MB"),
    ("account", {}, "AN"),
    ("visit", {}, "VN"),
    ("facility", {}, "FI"),
)
"""Numbers that two people may carry and that are never a key: system, more, type."""


class Register:
    """Makes the people of one world."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._count = 0

    def pair(self) -> tuple[Person, Person]:
        """Two people who share a number of some kind, or none."""
        rng = self._rng
        shared: list[Json] = []
        if rng.random() < 0.7:
            system, more, kind = rng.choice(SHARED)
            shared.append(number(system, f"S{rng.randint(1, 9)}", kind, **more))
        if rng.random() < 0.2:
            shared.append(number("mr", rng.choice(PLACEHOLDERS), "MR"))
        if rng.random() < 0.3:
            shared.append(number("ss", f"SS{self._count}", "SS"))
        ways = (self.recorded, self.recorded, self.weak, self.unnumbered)
        first, second = (rng.choice(ways)(shared) for _ in range(2))
        return first, second

    def recorded(self, shared: list[Json], *, changes: bool = True) -> Person:
        """Somebody with a medical record number; name and birth date may even change at once."""
        name, body = self._somebody()
        kind = self._rng.choice(("MR", "MR", "PI"))
        body["identifier"] = self._mixed([number("mr", f"MR-{name}", kind), *shared])
        return Person(name, self._states(body, changes=changes, both=True), Hold.NEWEST)

    def weak(self, shared: list[Json]) -> Person:
        """Somebody with a social security, national or untyped number only.

        One correction at most: of two, the second may differ from the first record in name and birth
        date, and then it depends on what came before ("other name *and* birth date: two patients").
        """
        name, body = self._somebody()
        numbers = [one for one in shared if "type" in one and one["type"]["coding"][0]["code"] == "SS"]
        if not numbers or len(numbers) < len(shared):
            system, kind = self._rng.choice((("ss", "SS"), ("national", "NI"), ("untyped", None)))
            own = number(system, f"W-{name}", kind)
            numbers = [own, *shared]
        body["identifier"] = self._mixed(numbers)
        return Person(name, self._states(body, changes=True, both=False), Hold.NEWEST)

    def late(self) -> Person:
        """Somebody whose record number becomes known later: before, there was a weaker number only.

        The issue's table does not say whether the two are one ("a doubt makes two"): what the report's
        message said counts, or anything said later.
        """
        name, body = self._somebody()
        weak = number("ss", f"W-{name}", "SS")
        before = {**body, "identifier": [weak]}
        after = {**body, "identifier": [number("mr", f"MR-{name}", "MR"), weak]}
        return Person(name, ((0, before), (self._rng.randint(20, 80), after)), Hold.NEWER)

    def several(self) -> tuple[Person, Person]:
        """Somebody of whom two sources tell: each gives its own numbers, and one both have."""
        name, body = self._somebody()
        weak = number("ss", f"W-{name}", "SS")
        own = number("labs", f"L-{name}", self._rng.choice(("PI", "MR", None)))
        first = [weak] if self._rng.random() < 0.5 else [own, weak]
        second = [number("mr", f"MR-{name}", "MR"), weak]
        states = self._states(body, changes=True, both=False)
        told = (
            tuple((since, {**state, "identifier": self._mixed(numbers)}) for since, state in states)
            for numbers in (first, second)
        )
        one, other = (Person(name, each, Hold.NEWER) for each in told)
        return one, other

    def unnumbered(self, shared: list[Json]) -> Person:
        """Somebody with no number that is a key: known by source, name, birth date and sex."""
        name, body = self._somebody()
        keyless = [
            one for one in shared if one.get("type", {"coding": [{}]})["coding"][0].get("code") != "SS"
        ]
        if keyless:
            body["identifier"] = keyless
        return Person(name, ((0, body),), Hold.NEWER)

    def merged(self) -> tuple[Person, Person]:
        """The retired record, and the survivor that lists its number as old from some minute on."""
        retired, survivor = self.recorded([], changes=False), self.recorded([], changes=False)
        if self._rng.random() < 0.4:
            retired, survivor = self._two_records(retired, survivor)
        minute = self._rng.randint(35, 65)
        body = survivor.states[0][1]
        old = {**retired.states[0][1]["identifier"][0], "use": "old"}
        if self._rng.random() < 0.4:
            old["period"] = {"end": "2026-11-01"}
        listed = {**body, "identifier": self._mixed([*body["identifier"], old])}
        states = (*survivor.states, (minute, listed))
        return retired, survivor._replace(states=states, replaces=(minute, retired.thing))

    def _two_records(self, retired: Person, survivor: Person) -> tuple[Person, Person]:
        """Records whose numbers have no sure type: they agree in name or birth date, or in both."""
        kind = self._rng.choice((None, "PT", "NI"))
        before, after = retired.states[0][1], survivor.states[0][1]
        kept = self._rng.choice((("name", "birthDate"), ("name",), ("birthDate",)))
        alike = {**after, "gender": before["gender"], **{name: before[name] for name in kept}}

        def under(person: Person, body: Json) -> Person:
            own = number("mr", body["identifier"][0]["value"], kind)
            return person._replace(states=((0, {**body, "identifier": [own]}),))

        return under(retired, before), under(survivor, alike)

    def _somebody(self) -> tuple[str, Json]:
        n = self._count
        self._count += 1
        body = {
            "resourceType": "Patient",
            "name": [{"family": FAMILIES[n % 10], "given": [GIVENS[n % 10]]}],
            "birthDate": f"19{40 + n}-0{n % 9 + 1}-1{n % 10}",
            "gender": self._rng.choice(("female", "male")),
        }
        return GIVENS[n % 10].lower(), body

    def _states(self, body: Json, *, changes: bool, both: bool) -> tuple[tuple[int, Json], ...]:
        if not changes or self._rng.random() < 0.5:
            return ((0, body),)
        what = self._rng.choice(("name", "birth", "both") if both else ("name", "birth"))
        changed = dict(body)
        if what in ("name", "both"):
            changed["name"] = [{**body["name"][0], "family": f"{body['name'][0]['family']}-Corrected"}]
        if what in ("birth", "both"):
            changed["birthDate"] = f"{body['birthDate'][:-2]}28"
        return ((0, body), (self._rng.randint(20, 80), changed))

    def _mixed(self, numbers: list[Json]) -> list[Json]:
        return self._rng.sample(numbers, len(numbers))
