"""Random searches in the words of the worlds, so that most find something, and seldom everything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.oracle.search import words
from tests.oracle.search.rows import ALIASES, ANY, COMMON, ROWS, Row
from tests.oracle.search.values import escaped, split

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

Pair = tuple[str, str]

PREFIXES: Final = ("", "", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")
UNSORTED: Final = ("composite", "words")
"""Kinds that have no order."""
REVERSED: Final = {
    "Patient": (
        *(("DiagnosticReport", "patient"), ("DiagnosticReport", "subject"), ("Observation", "patient")),
        *(("Encounter", "patient"), ("Specimen", "subject"), ("Provenance", "target"), ("Patient", "link")),
    ),
    "Observation": (
        *(("DiagnosticReport", "result"), ("Provenance", "target"), ("Observation", "has-member")),
        ("DocumentReference", "related"),
    ),
    "ServiceRequest": (
        *(("DiagnosticReport", "based-on"), ("Observation", "based-on"), ("Media", "based-on")),
        ("ServiceRequest", "based-on"),
    ),
    "Encounter": (("DiagnosticReport", "encounter"), ("Observation", "encounter"), ("Encounter", "part-of")),
    "Specimen": (("DiagnosticReport", "specimen"), ("Observation", "specimen"), ("Media", "subject")),
    "Practitioner": (
        *(("DiagnosticReport", "performer"), ("Encounter", "practitioner"), ("Provenance", "agent")),
        ("Patient", "general-practitioner"),
    ),
    "Organization": (("Patient", "organization"), ("Organization", "partof")),
    "DiagnosticReport": (("Provenance", "target"), ("DocumentReference", "related")),
    "Media": (("DiagnosticReport", "media"),),
    "DocumentReference": (("DocumentReference", "relatesto"),),
}
TYPES: Final = ("DiagnosticReport",) * 10 + ("Observation",) * 3 + tuple(ROWS)
REFERRING: Final = (
    *("Provenance:target", "Provenance:target:DiagnosticReport", "Provenance:target:Observation"),
    *("DiagnosticReport:patient", "DiagnosticReport:encounter", "DiagnosticReport:based-on"),
    *("Observation:specimen", "Observation:based-on", "Observation:patient", "ServiceRequest:encounter"),
)
"""References that `_revinclude` follows by an index of its own."""
CODES_OF: Final = {
    "gender": ("male", "female", "FEMALE"),
    "address-use": ("home", "work"),
    "contenttype": ("text/plain", "TEXT/PLAIN"),
    "intent": ("order", "plan"),
    "priority": ("stat", "routine"),
    "relation": ("replaces", "transforms"),
}
"""Codes of parameters that are no status."""
TEXTS_OF: Final = {
    "address": (*words.CITIES, "1 Köln-Straße", "12345", "DE", "ny"),
    "description": words.DISPLAYS,
    "given": words.GIVENS,
    "text": words.DISPLAYS,
    "value": words.DISPLAYS,
}
"""By the first word of a parameter."""
STEPS_MAX: Final = 3


class Asker:
    """Asks from one source of chance."""

    def __init__(self, random: Random, moments: Sequence[str]) -> None:
        self.random = random
        self.moments = moments
        """Moments at which things were stored."""

    def one(self, choices: Sequence[str]) -> str:
        return self.random.choice(choices)

    def chance(self, likelihood: float) -> bool:
        return self.random.random() < likelihood

    def search(self) -> tuple[str, list[Pair]]:
        type = self.one(TYPES)
        clauses = self.random.choice((0, 1, 1, 1, 2, 2, 2, 3, 4))
        pairs = [self.clause(type) for _ in range(clauses)]
        if self.chance(0.35):
            pairs.append(("_sort", self.sort(type)))
        while self.chance(0.15):
            pairs.append(self.include(type))
        if self.chance(0.03):
            pairs.append((self.one(list(ROWS[type])), self.one(("", ",", ",,"))))
        return type, pairs

    def sort(self, type: str) -> str:
        """Sort keys, one to three of all there are; every second time the usual ones."""
        rows = {**ROWS[type], **COMMON}
        names = [name for name, row in rows.items() if row.kind not in UNSORTED]
        if self.chance(0.5):
            names = [name for name in names if name in ("date", "issued", "_lastUpdated", "_id", "status")]
        keys = self.random.sample(names, k=min(len(names), self.random.randint(1, 3)))
        return ",".join(("-" if self.chance(0.5) else "") + key for key in keys)

    def include(self, type: str) -> Pair:
        iterate = ":iterate" if self.chance(0.4) else ""
        if self.chance(0.3):
            return f"_revinclude{iterate}", self.one(REFERRING)
        if self.chance(0.15):
            return f"_include{iterate}", self.one(("*", f"{type}:*", f"{type}:*:Patient", "Observation:*"))
        source = self.one(list(ROWS)) if self.chance(0.3) else type
        names = [name for name, row in ROWS[source].items() if row.kind == "reference"]
        if not names:  # Of Practitioner.
            return self.include("DiagnosticReport")
        name = self.one(names)
        target = f":{self.one(ROWS[source][name].targets)}" if self.chance(0.3) else ""
        return f"_include{iterate}", f"{source}:{name}{target}"

    def clause(self, type: str, steps: int = 0) -> Pair:
        names = [*ROWS[type]]
        if type == "DiagnosticReport":
            names += ["patient"] * 4 + ["subject", "date", "date", "code", "identifier", "order", *ALIASES]
            if self.chance(0.05):
                return "order", self.listed(self.order)
        if self.chance(0.12):
            names = list(COMMON)
        if steps < STEPS_MAX and type in REVERSED and self.chance(0.15 if steps == 0 else 0.05):
            source, reference = self.random.choice(REVERSED[type])
            inner, text = self.clause(source, steps + 1)
            return f"_has:{source}:{reference}:{inner}", text
        name = self.one(names)
        if name == "order":
            return name, self.listed(self.order)
        row = ROWS[type].get(ALIASES.get(name, name) if type == "DiagnosticReport" else name) or COMMON[name]
        if row.kind == "reference":
            return self.reference(name, row, steps)
        if name not in ("_id", "_type") and row.kind not in UNSORTED and self.chance(0.08):
            return f"{name}:missing", self.one(("true", "false"))
        return getattr(self, f"_{row.kind}")(name, row)  # type: ignore[no-any-return]

    def listed(self, make: object, *more: object) -> str:
        count = self.random.choice((1, 1, 1, 2, 3))
        values = [make(*more) for _ in range(count)]  # type: ignore[operator]
        if self.chance(0.05):
            values.insert(self.random.randrange(count + 1), "")
        return ",".join(values)

    # --- values

    def token(self, systems: Sequence[str | None], codes: Sequence[str], miss: str = "nothing") -> str:
        system, code = self.random.choice(systems), escaped(self.one((*codes, miss)))
        shape = self.random.random()
        if shape < 0.4:
            return code
        if shape < 0.5:
            return f"|{code}"
        if shape < 0.6 and system:
            return f"{escaped(system)}|"
        return f"{escaped(system or 'urn:other')}|{code}"

    def identifier(self) -> str:
        return self.token(words.IDENTIFIER_SYSTEMS, words.IDENTIFIER_VALUES)

    def order(self) -> str:
        return self.identifier() if self.chance(0.6) else self.target(("ServiceRequest",))

    def target(self, types: Sequence[str]) -> str:
        type = self.one(types)
        id = self.one(words.REFERRED[type])
        spellings = (id, id, f"{type}/{id}", f"{type}/{id}", f"{words.BASE}/{type}/{id}")
        rarely = (f"{words.ELSEWHERE}/{type}/{id}", f"{type}/{id}/_history/1", f"{type}/{id.swapcase()}")
        return self.one(rarely if self.chance(0.15) else spellings)

    def date(self) -> str:
        text = self.one((*words.DATES, "2020-01-01T00:00Z", "2020-01-01T00:00:00", "2018", "2020-03"))
        return self.one(PREFIXES) + text

    # --- clauses by kind

    def _token(self, name: str, _: Row) -> Pair:
        if self.chance(0.1):
            return f"{name}:text", self.listed(self.word, words.DISPLAYS)
        tagged = name in ("_tag", "_security")
        systems, codes = (
            (("urn:tags", "urn:codes"), words.TAGS) if tagged else (words.CODE_SYSTEMS, words.CODES)
        )
        return self.negated(name), self.listed(self.token, systems, codes)

    def _identifier(self, name: str, _: Row) -> Pair:
        if name == "identifier" and self.chance(0.08):
            return f"{name}:of-type", self.listed(self.typed)
        if self.chance(0.05):
            return f"{name}:text", self.listed(self.word, words.DISPLAYS)
        return self.negated(name), self.listed(self.identifier)

    def typed(self) -> str:
        value = escaped(self.one(words.IDENTIFIER_VALUES))
        return f"{self.one(words.V2)}|{escaped(self.one(('MR', 'mr', 'a|b')))}|{value}"

    def _code(self, name: str, row: Row) -> Pair:
        codes = (*CODES_OF.get(name, words.STATUSES), "FINAL")
        return self.negated(name), self.listed(self.token, (row.system,), codes)

    def _boolean(self, name: str, _: Row) -> Pair:
        return self.negated(name), self.one(("true", "false"))

    def _presence(self, name: str, row: Row) -> Pair:
        return self._boolean(name, row)

    def _contact(self, name: str, _: Row) -> Pair:
        return self.negated(name), self.listed(lambda: escaped(self.one(words.PHONES)))

    def _words(self, name: str, _: Row) -> Pair:
        said = (*words.DISPLAYS, *words.FAMILIES, "Count Blood", "final", "lab", "koln Ana")
        return name, self.listed(self.word, said)

    def _composite(self, name: str, row: Row) -> Pair:
        def both() -> str:
            return "$".join(map(self.part, row.parts))

        return name, self.listed(both)

    def part(self, row: Row) -> str:
        """Value of its kind."""
        if row.kind == "reference":
            return self.target(row.targets)
        if row.paths == "code":
            return self.one((*words.FEW_CODES, "replaces", f"{words.LOINC}|lab"))
        _, text = getattr(self, f"_{row.kind}")(row.paths.split()[-1], row)
        values = [value for value in split(text, ",") if value]
        return values[0]

    def _id(self, name: str, _: Row) -> Pair:
        if name == "_type":
            return self.negated(name), ",".join(self.random.choices(list(ROWS), k=self.random.randint(3, 9)))
        ids = [id for of_type in words.IDS.values() for id in of_type]
        return self.negated(name), ",".join(self.random.choices(ids, k=self.random.randint(1, 12)))

    def negated(self, name: str) -> str:
        return f"{name}:not" if self.chance(0.15) else name

    def _uri(self, name: str, _: Row) -> Pair:
        uris = words.PROFILES if name == "_profile" else words.URLS
        return name, self.listed(lambda: escaped(self.one(uris)))

    def _date(self, name: str, _: Row) -> Pair:
        if name == "_lastUpdated":
            return name, self.listed(lambda: self.one(PREFIXES) + self.one((*self.moments, "2026", "2027")))
        if name == "birthdate":
            birthdays = ("1980", "1980-05", "1980-05-05", "1985", "1990-01")
            return name, self.listed(lambda: self.one(PREFIXES) + self.one(birthdays))
        return name, self.listed(self.date)

    def word(self, texts: Sequence[str]) -> str:
        text = self.one(texts)
        shape = self.random.random()
        if shape < 0.3:
            text = text[: self.random.randint(2, len(text))]
        elif shape < 0.5:
            text = text.split()[-1]
        elif shape < 0.6:
            text = text[1:]
        return escaped(self.one((text, text.upper(), text.lower())))

    def _string(self, name: str, _: Row) -> Pair:
        texts = TEXTS_OF.get(name.partition("-")[0], words.FAMILIES)
        if self.chance(0.2):
            return f"{name}:exact", self.listed(lambda: escaped(self.one(texts)))
        return self.one((name, name, f"{name}:contains")), self.listed(self.word, texts)

    def _quantity(self, name: str, _: Row) -> Pair:
        return name, self.listed(self.quantity)

    def quantity(self) -> str:
        number = self.one(("5", "5.4", "5.40", "5.0", "100", "1e2", "0", "-5.4", "5.35"))
        unit = self.one(words.UNITS)
        return self.one(PREFIXES) + number + self.one(("", f"||{unit}", f"|{words.UCUM}|{unit}"))

    def reference(self, name: str, row: Row, steps: int) -> Pair:
        shape = self.random.random()
        known = [type for type in row.targets if type in ROWS]
        if shape < 0.08:
            return f"{name}:missing", self.one(("true", "false"))
        if shape < 0.16:
            return f"{name}:identifier", self.listed(self.identifier)
        if shape < 0.5 and steps < STEPS_MAX and known:
            type = self.one(known)
            if "identifier" in ROWS[type] and self.chance(0.5):  # Decision D6.
                typed = f":{type}" if row.targets == ANY or self.chance(0.4) else ""
                return f"{name}{typed}.identifier", self.listed(self.identifier)
            inner, text = self.clause(type, steps + 1)
            named = inner.startswith("_has") or row.targets == ANY or self.chance(0.5)
            typed = f":{type}" if named else ""
            return f"{name}{typed}.{inner}", text
        targets = [type for type in row.targets if type in words.REFERRED] or ["Patient"]
        if shape < 0.6:
            type = self.one(targets)
            own = [type] if type in row.targets else [row.targets[0]]
            if own[0] in words.REFERRED:
                return f"{name}:{own[0]}", self.listed(self.target, own)
        return name, self.listed(self.target, targets)
