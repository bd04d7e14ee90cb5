"""Values of FHIR's data types, made up of few words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.oracle.search import words
from tests.oracle.search.values import span

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

Json = dict[str, Any]


class DatatypeMaker:
    """Makes values of FHIR's data types from one source of chance."""

    def __init__(self, random: Random) -> None:
        self.random = random

    def one(self, choices: Sequence[Any]) -> Any:
        return self.random.choice(choices)

    def chance(self, likelihood: float) -> bool:
        return self.random.random() < likelihood

    def some(self, make: Callable[[], Any], most: int = 2) -> list[Any]:
        return [make() for _ in range(self.random.randint(1, most))]

    def maybe(self, likelihood: float, **elements: Callable[[], Any]) -> Json:
        """Each element is there or not."""
        return {name: make() for name, make in elements.items() if self.chance(likelihood)}

    def _identifier(self) -> Json:
        system = self.one(words.IDENTIFIER_SYSTEMS)
        made = {"value": self.one(words.IDENTIFIER_VALUES), **({"system": system} if system else {})}
        if self.chance(0.3):
            made["type"] = {
                "coding": [{"system": self.one(words.V2), "code": self.one(("MR", "mr", "a|b"))}],
                **self.maybe(0.5, text=lambda: self.one(words.DISPLAYS)),
            }
        return made

    def _coding(self) -> Json:
        system = self.one(words.CODE_SYSTEMS)
        made = {"code": self.one(words.CODES)} if system is None or self.chance(0.95) else {}
        if system:
            made["system"] = system
        return {**made, **self.maybe(0.3, display=lambda: self.one(words.DISPLAYS))}

    def _concept(self) -> Json:
        if self.chance(0.08):
            return {"text": self.one(words.DISPLAYS)}
        return {"coding": self.some(self._coding), **self.maybe(0.3, text=lambda: self.one(words.DISPLAYS))}

    def _reference(self, *types: str) -> Json:
        type = self.one(types)
        relative = f"{type}/{self.one(words.REFERRED[type])}"
        shape = self.random.random()
        if shape < 0.08:
            made = {"identifier": self._identifier()}
            return {**made, "type": type} if self.chance(0.5) else made
        text = relative
        if shape < 0.16:
            text = f"{words.BASE}/{relative}"
        elif shape < 0.22:
            text = f"{words.ELSEWHERE}/{relative}"
        elif shape < 0.30:
            text = f"{relative}/_history/{self.one('12')}"
        elif shape < 0.33:
            return {"display": "Somebody"}
        elif shape < 0.35:
            text = "urn:uuid:0c2ff5eb-0000-4000-8000-000000000001"
        more = self.maybe(0.1, identifier=self._identifier)
        return {"reference": text, **more}

    def _observed(self) -> Json:
        concept = self._concept()
        return {**concept, "coding": [{"system": words.LOINC, "code": self.one(words.FEW_CODES)}]}

    def _narrative(self) -> Json:
        div = f'<div xmlns="http://www.w3.org/1999/xhtml">{self.one(words.NARRATIVES)}</div>'
        return {"status": "generated", "div": div}

    def _timing(self) -> Json:
        bounds = {"repeat": {"boundsPeriod": self._period()}}
        events = {"event": self.some(lambda: self.one(words.DATES))}
        return dict(self.one((bounds, events, bounds | events)))

    def _when(self, name: str, *kinds: str) -> Json:
        """Value of one of the kinds of a choice, or nothing."""
        made: dict[str, Callable[[], Any]] = {
            "DateTime": lambda: self.one(words.DATES),
            "Instant": lambda: self.one(words.INSTANTS),
            "Period": self._period,
            "Timing": self._timing,
        }
        kind = self.one((*kinds, kinds[0], ""))
        return {f"{name}{kind}": made[kind]()} if kind else {}

    def _concepts(self) -> list[Json]:
        return self.some(self._concept)

    def _address(self) -> Json:
        return self.maybe(
            0.6,
            use=lambda: self.one(("home", "work")),
            text=lambda: "1 Köln-Straße",
            line=lambda: self.some(lambda: self.one(words.CITIES)),
            city=lambda: self.one(words.CITIES),
            state=lambda: self.one(("NY", "ny", "N Y")),
            postalCode=lambda: self.one(("12345", "12345-6")),
            country=lambda: self.one(("DE", "de")),
        ) or {"city": "Köln"}

    def _telecom(self) -> Json:
        system = self.one(("phone", "email", "fax", None))
        return {"value": self.one(words.PHONES), **({"system": system} if system else {})}

    def _person(self) -> Json:
        return self.maybe(
            0.6,
            identifier=self._identifiers,
            name=lambda: self.some(self._name),
            gender=lambda: self.one(("male", "female")),
            active=lambda: self.chance(0.5),
            telecom=lambda: self.some(self._telecom),
            address=lambda: self.some(self._address),
        )

    def _references(self, *types: str) -> Callable[[], list[Json]]:
        return lambda: self.some(lambda: self._reference(*types))

    def _period(self) -> Json:
        first, last = sorted((self.one(words.DATES), self.one(words.DATES)), key=span)
        if "T" in last and span(first)[1] > span(last)[1]:
            last = first  # A day that ends at a time of it is refused: per-1 does not hold.
        return dict(self.one(({"start": first, "end": last}, {"start": first}, {"end": last})))

    def _name(self) -> Json:
        return {
            "family": self.one(words.FAMILIES),
            **self.maybe(0.6, given=lambda: self.some(lambda: self.one(words.GIVENS))),
            **self.maybe(0.1, text=lambda: "Dr. Ana Muller", prefix=lambda: ["Dr."]),
        }

    def _identifiers(self) -> list[Json]:
        return self.some(self._identifier)

    def _subject(self) -> Json:
        return self._reference("Patient", "Patient", "Patient", "Patient", "Group", "Device")

    def _quantity(self) -> Json:
        unit = self.one(words.UNITS)
        return {
            "value": self.one(words.NUMBERS),
            **self.one(
                ({}, {"unit": unit}, {"system": words.UCUM, "code": unit}, {"unit": "mg", "code": unit})
            ),
        }
