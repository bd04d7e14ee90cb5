"""Tenants: whose data a request is about, and what is set for it. First argument of every store verb."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from typing_extensions import override

from store.near import near

if TYPE_CHECKING:
    from collections.abc import Iterable

ENVIRONMENTS: Final = ("Development", "Staging", "Production")
ORGANIZATION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
"""A URL segment, as upstream's destination slugs are. Case-sensitive."""
ORIGIN: Final = re.compile(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:]+\])(?::[0-9]{1,5})?")
"""An origin as browsers send it: lower case, without a path."""
ANY_ORIGIN: Final = "*"


class SearchScope(StrEnum):
    """Reach of a search of this tenant (`DECISIONS.md#patient-scope`)."""

    PATIENT = "patient"
    """Each search is bounded by a patient or by `_id`."""
    ANY = "any"
    """Any search, for trusted clients that poll by `_lastUpdated` or search across patients."""


class Handling(StrEnum):
    """Handling of pushes that deviate from R4."""

    LENIENT = "lenient"
    """Mended or kept where they can be, and named in the reply."""
    STRICT = "strict"
    """Refused, every deviation listed."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """`{organization}/{environment}` of the URL; `str()` is the first key of every index and filter."""

    organization: str
    environment: str

    @override
    def __str__(self) -> str:
        return f"{self.organization}/{self.environment}"


@dataclass(frozen=True, slots=True)
class TenantSettings:
    """Settings that `dod tenant create` makes."""

    tenant: Tenant
    search_scope: SearchScope = SearchScope.PATIENT
    handling: Handling | None = None
    """Handling of its pushes when a request does not say; None: as the deployment's settings say."""
    stable_sources: frozenset[str] = frozenset()
    """Sources (`MessageHeader.source.endpoint`) that never use an id of theirs for another thing."""
    cors_origins: frozenset[str] = frozenset()
    """Origins whose pages may ask in browsers, in place of the deployment's; `*`: any."""


def parse_origins(texts: Iterable[str]) -> frozenset[str]:
    """Origins of pages. Raises ValueError with the rule that is broken."""
    found = frozenset(texts)
    wrong = sorted(one for one in found if one != ANY_ORIGIN and not ORIGIN.fullmatch(one))
    if wrong:
        message = f"`{wrong[0]}` is no origin: `https://app.example`, with a port where it has one, or `*`"
        raise ValueError(message)
    return found


def parse_tenant(text: str) -> Tenant:
    """`ORG/ENV` as a Tenant. Raises ValueError with the rule that is broken."""
    organization, slash, environment = text.partition("/")
    if not slash or not ORGANIZATION.fullmatch(organization):
        message = (
            "a tenant is ORG/ENV, such as acme/Development; ORG is 1 to 63 letters, digits, dots, dashes or"
            " underscores"
        )
        raise ValueError(message)
    if environment not in ENVIRONMENTS:
        names = ", ".join(ENVIRONMENTS)
        message = (
            f"the environment of a tenant is one of {names} (case-sensitive){near(environment, ENVIRONMENTS)}"
        )
        raise ValueError(message)
    return Tenant(organization, environment)
