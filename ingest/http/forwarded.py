"""Address at which a client came in behind trusted proxies: `X-Forwarded-*`, else `Forwarded`. Pure.

The proxies are read from ours to the client's, as long as each is trusted: what stands before the first
stranger was written by whoever sent the request. https://www.rfc-editor.org/rfc/rfc7239
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple, TypeAlias

from pydantic import AfterValidator

if TYPE_CHECKING:
    from collections.abc import Sequence

Networks: TypeAlias = tuple[IPv4Network | IPv6Network, ...]
_HOST: Final = re.compile(
    r"(?:[A-Za-z0-9][A-Za-z0-9.\-]{0,252}|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?", re.ASCII
)
_PAIR: Final = re.compile(r'([a-z]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^\s;,"]+)', re.IGNORECASE)
_SCHEMES: Final = frozenset({"http", "https"})


class Forwarded(NamedTuple):
    """Account that trusted proxies give of a request; None: they do not say, or nothing that can be read."""

    scheme: str | None = None
    host: str | None = None
    client: str | None = None
    """Address of the client."""


@lru_cache(maxsize=8)
def networks(text: str) -> Networks:
    """Addresses and networks of a setting, separated by commas. Raises ValueError."""
    return tuple(ip_network(part.strip(), strict=False) for part in text.split(",") if part.strip())


def _readable(text: str) -> str:
    try:
        networks(text)
    except ValueError:
        message = "must be addresses or networks, separated by commas, such as `10.0.0.0/8, 127.0.0.1`"
        raise ValueError(message) from None
    return text


NetworksText: TypeAlias = Annotated[str, AfterValidator(_readable)]
"""Setting that `networks` can read; another text is refused with the rule."""


def is_trusted(address: str, trusted: Networks) -> bool:
    """Whether an address, perhaps with a port, is that of a trusted proxy."""
    bare = _bare(address)
    return bare is not None and any(ip_address(bare) in network for network in trusted)


def _bare(address: str) -> str | None:
    """An address without its port; None: it is none."""
    bare = address.strip().strip('"')
    if bare.startswith("["):
        bare = bare[1:].partition("]")[0]
    elif bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        ip_address(bare)
    except ValueError:
        return None
    return bare


def read(
    forwarded: Sequence[str],
    addresses: Sequence[str],
    schemes: Sequence[str],
    hosts: Sequence[str],
    trusted: Networks,
) -> Forwarded:
    """Account in the headers, given as they came: `Forwarded`, `X-Forwarded-For`, `-Proto`, `-Host`.

    The request itself has come from a trusted proxy. `Forwarded` counts where there is no other: proxies that
    set the others pass it on as a client wrote it.
    """
    if forwarded and not (addresses or schemes or hosts):
        elements = [_pairs(part) for part in _split(", ".join(forwarded), ",")]
        clients = [element.get("for", "") for element in elements]
        return _forwarded(
            [e.get("proto") for e in elements], [e.get("host") for e in elements], clients, trusted
        )
    clients = _listed(addresses)
    return _forwarded(_listed(schemes), _listed(hosts), clients, trusted)


def _forwarded(
    schemes: Sequence[str | None], hosts: Sequence[str | None], clients: Sequence[str], trusted: Networks
) -> Forwarded:
    """Element of the outermost trusted proxy: as many steps from the right as there are trusted ones."""
    steps = 1
    while steps < len(clients) and is_trusted(clients[-steps], trusted):
        steps += 1
    scheme, host = (values[max(len(values) - steps, 0)] if values else None for values in (schemes, hosts))
    scheme = scheme.lower() if scheme is not None else None
    return Forwarded(
        scheme if scheme in _SCHEMES else None,
        host if host is not None and _HOST.fullmatch(host) else None,
        _bare(clients[-steps]) if len(clients) >= steps else None,
    )


def _listed(values: Sequence[str]) -> list[str]:
    return [part.strip() for value in values for part in value.split(",")]


def _pairs(element: str) -> dict[str, str]:
    found = (_PAIR.fullmatch(part.strip()) for part in _split(element, ";"))
    return {pair[1].lower(): pair[2].strip('"') for pair in found if pair is not None}


def _split(text: str, separator: str) -> list[str]:
    """Parts between separators that are in no quotes, in one pass: a regular expression takes many."""
    parts, begin, is_quoted, is_escaped = [], 0, False, False
    for place, char in enumerate(text):
        if is_quoted:
            is_quoted = is_escaped or char != '"'
            is_escaped = char == "\\" and not is_escaped
        elif char == '"':
            is_quoted = True
        elif char == separator:
            parts.append(text[begin:place])
            begin = place + 1
    return [*parts, text[begin:]]
