"""Reading FHIR JSON trees: paths, and the shapes that search looks into.

Values are plain dicts, lists and strings as the decoder gives them. A wrong shape raises Malformed with
the FHIRPath of the element, never its value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Json: TypeAlias = "Mapping[str, Json] | Sequence[Json] | str | int | float | bool | Number | None"
JsonObject: TypeAlias = "Mapping[str, Json]"


class Number:
    """A JSON number kept as it was written: `1.00` stays `1.00`, forty digits stay forty.

    https://hl7.org/fhir/R4/json.html#primitive (precision of decimals).
    """

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    @override
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Number) and other.text == self.text

    @override
    def __hash__(self) -> int:
        return hash(self.text)

    @override
    def __repr__(self) -> str:
        return "Number(…)"


class Malformed(Exception):  # noqa: N818 -- says what the element is
    """An element has a shape that cannot be searched; the text is the rule, `path` its FHIRPath."""

    def __init__(self, path: str, rule: str) -> None:
        super().__init__(rule)
        self.path = path
        self.rule = rule


class Path:
    """A dotted element path such as `media.link`, compiled once; arrays are walked through.

    `telecom[system=phone]` keeps those elements whose child says so.
    """

    __slots__ = ("below", "child", "first", "text", "wanted")

    def __init__(self, text: str) -> None:
        path, _, test = text.removesuffix("]").partition("[")
        self.text = path
        self.first, *below = path.split(".")
        self.below = tuple(below)
        self.child, _, self.wanted = test.partition("=")

    def values(self, resource: JsonObject) -> list[Json]:
        """All values at the path, in order; empty when absent."""
        return list(self.within(listed(resource.get(self.first))))

    def within(self, found: Sequence[Json]) -> Sequence[Json]:
        """Values at the path, given what stands at its first element. Nulls only keep places in lists."""
        if None in found:
            found = [one for one in found if one is not None]
        for name in self.below:
            found = [
                child
                for parent in found
                if isinstance(parent, dict)
                for child in listed(parent.get(name))
                if child is not None
            ]
        if self.child:
            return [one for one in found if isinstance(one, dict) and one.get(self.child) == self.wanted]
        return found


def listed(value: Json) -> Sequence[Json]:
    """Values of an element, one or many; nothing for null."""
    if value is None:
        return ()
    return value if isinstance(value, list) else (value,)


def text_of(element: JsonObject, name: str, path: str) -> str | None:
    """A string child, or None when absent."""
    value = element.get(name)
    if value is None or isinstance(value, str):
        return value
    raise Malformed(f"{path}.{name}", "must be a string")


def object_of(value: Json, path: str) -> JsonObject:
    """The value as an object."""
    if isinstance(value, dict):
        return value
    raise Malformed(path, "must be an object")


def objects_of(element: JsonObject, name: str, path: str) -> Iterator[JsonObject]:
    """The objects of a child list; a lone object counts as a list of one."""
    for value in listed(element.get(name)):
        yield object_of(value, f"{path}.{name}")
