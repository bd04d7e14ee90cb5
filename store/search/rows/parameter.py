"""Search parameter: its name, where its values are, how they are stored."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Final

from store.fhir.datatypes import Path


class SearchType(StrEnum):
    """The FHIR search types that the table knows; `words` and `special` for those with rules of their own."""

    TOKEN = "token"  # noqa: S105 -- a FHIR search type
    REFERENCE = "reference"
    DATE = "date"
    STRING = "string"
    URI = "uri"
    QUANTITY = "quantity"
    COMPOSITE = "composite"
    WORDS = "words"
    SPECIAL = "special"

    @property
    def fhir(self) -> str:
        """Word that R4 has for it."""
        return _IN_FHIR.get(self.value, self.value)


_IN_FHIR: Final = {"words": "string", "special": "token"}


@dataclass(frozen=True, eq=False)
class Parameter:
    """Row of the table; there is one of each, so rows are compared by identity."""

    name: str
    type: SearchType
    expression: str
    """Element paths under the resource, joined by ` | `; arrays are walked through."""
    definition: str = ""
    """Canonical URL of the SearchParameter; empty for ours."""
    targets: tuple[str, ...] = ()
    """References: the types it may point at; what a bare id and an untyped chain are tried on."""
    only: str | None = None
    """References: indexes just those to this type (`patient`)."""
    narrower: str | None = None
    """References: the parameter under which references to a Patient are keyed (`subject` → `patient`)."""
    aliases: tuple[str, ...] = ()
    """Upstream's names for it (`DECISIONS.md#aliases`)."""
    system: str | None = None
    """Tokens of type code: the system their binding implies."""
    folded: bool = True
    """Tokens: compared without case. Identifiers and ids are not."""
    plain: bool = False
    """Tokens without a system: ids, booleans."""
    keyed: int = 0
    """Has its own entries in the `keyed` index; smaller numbers find fewer resources. 0: none."""
    keyed_as: str = ""
    """The name of its entries when others share them: then they find more than the parameter asks."""
    scoped: bool = False
    """Tokens: also keyed together with the patient, for `patient=…&code=…`."""
    when: bool = False
    """Dates: the clinical date of its type, by which it is ordered; stored under the same field for all."""
    repeats: bool = False
    """Dates: there may be several, each of which is asked for by itself; they sort as the span of all."""
    boolean: bool = False
    """Tokens: `true` or `false`, and nothing else may be asked for."""
    presence: bool = False
    """Tokens: not what the element says but whether it is there and not `false` (`deceased`)."""
    canonical: bool = False
    """URIs: canonical ones, which are found without their version too."""
    members: tuple[str, ...] = ()
    """Special and composite: matches when one of these parameters, or chains, does (`order`)."""
    components: tuple[Parameter, ...] = ()
    """Composites: what each part is; relative to the element at `expression`, if there is one."""
    stored_as: str = ""
    """Field where its values are stored, when not under its name."""
    documentation: str = ""

    @cached_property
    def paths(self) -> tuple[Path, ...]:
        """The expression, compiled."""
        return tuple(Path(path) for path in self.expression.split(" | ")) if self.expression else ()

    @cached_property
    def field(self) -> str:
        """Field where its values are stored."""
        return self.stored_as or (WHEN if self.when else f"index.{self.name}")

    @cached_property
    def sortable(self) -> bool:
        """Whether `_sort` takes it."""
        return self.type not in (SearchType.COMPOSITE, SearchType.WORDS, SearchType.SPECIAL)

    @cached_property
    def logical(self) -> Parameter:
        """References: `Reference.identifier` as a token parameter, what `:identifier` asks."""
        return Parameter(
            self.name,
            SearchType.TOKEN,
            "",
            folded=False,
            stored_as=f"index.{self.name}:identifier",
            keyed=self.keyed,
            keyed_as=self.identifier_key,
        )

    @cached_property
    def texts(self) -> Parameter:
        """Tokens: text and displays beside the codes as a string parameter, what `:text` asks."""
        return Parameter(self.name, SearchType.STRING, "", stored_as=f"index.{self.name}:text")

    @cached_property
    def of_type(self) -> Parameter:
        """Identifiers: `type-system|type-code|value`, what `:of-type` asks."""
        return Parameter(
            self.name, SearchType.TOKEN, "", folded=False, stored_as=f"index.{self.name}:of-type"
        )

    @cached_property
    def identifier_key(self) -> str:
        """References: the key name of identifiers within the reference, or of a contained target."""
        return f"{self.name}.identifier"

    @cached_property
    def contained_field(self) -> str:
        """References: where the identifiers of contained targets are stored."""
        return f"index.{self.name}>identifier"

    @cached_property
    def each_field(self) -> str:
        """Dates that repeat: each of them, where the field has the span of all."""
        return f"{self.field}:each"

    @cached_property
    def typed_field(self) -> str:
        """References: those identifiers again, each behind the type of what carries it, as far as told."""
        return f"index.{self.name}>typed"

    @cached_property
    def unspelled_field(self) -> str:
        """References: there when one says something that no search can spell, such as a display alone."""
        return f"index.{self.name}:unspelled"


WHEN: Final = "when"
"""Field of the clinical date of a resource, whatever its type calls it: the default order."""
