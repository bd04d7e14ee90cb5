"""Resource type and the rows it is searched by; what every type has."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from store.search.rows.builders import date, registered, token, uri, words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from store.search.rows.parameter import Parameter

COMMON: Final = (
    token("_id", "", "Resource-id", folded=False, plain=True, stored_as="id"),
    date("_lastUpdated", "", "Resource-lastUpdated", stored_as="updated"),
    token("_type", "", folded=False, plain=True, stored_as="type", documentation="The type of the resource."),
    words("_text", "text.div", "DomainResource-text"),
    words("_content", "", "Resource-content"),
    token("_tag", "meta.tag", "Resource-tag"),
    token("_security", "meta.security", "Resource-security"),
    uri("_profile", "meta.profile", "Resource-profile", canonical=True),
    uri("_source", "meta.source", "Resource-source"),
)


@dataclass(frozen=True, eq=False)
class ResourceType:
    """A type and its parameters, by name and by alias."""

    name: str
    parameters: tuple[Parameter, ...] = ()

    @cached_property
    def by_name(self) -> Mapping[str, Parameter]:
        """Rows by name and alias, the common ones included."""
        rows = (*self.parameters, *COMMON)
        return {name: row for row in rows for name in (row.name, *row.aliases)}

    @cached_property
    def keyed(self) -> tuple[Parameter, ...]:
        """The rows with entries in the `keyed` index."""
        return tuple(row for row in self.rows if row.keyed or row.scoped)

    @cached_property
    def rows(self) -> tuple[Parameter, ...]:
        """The type's own rows, then the common ones."""
        return (*self.parameters, *COMMON)


def resource_type(name: str, *rows: Parameter) -> ResourceType:
    """A type with rows of its own; those that share no definition are registered under the type."""
    return ResourceType(name, tuple(registered(row, name) for row in rows))
