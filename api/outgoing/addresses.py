"""Addresses and URLs of others that may be connected to: public ones, and networks of the settings. Pure.

A URL is somebody else's word, so it must not lead into the own network. What it says itself is checked here,
when it is registered and before it is asked; what a name leads to is checked by `client`, at the connection.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, Final

from yarl import URL

if TYPE_CHECKING:
    from ingest.http.forwarded import Networks

URL_MAX: Final = 2_000
_NAT64: Final = ip_network("64:ff9b::/96")
_UNICAST: Final = ip_network("2000::/3")
"""IPv6 addresses that are given out for the public internet; others lead inside, or to IPv4."""
_INSIDE: Final = tuple(
    ip_network(one) for one in ("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32", "3fff::/20")
)
"""Networks that lead inside, or nowhere, and are public by the registry of some supported Python.

Of protocols, Oracle Cloud's metadata among them; relays of 6to4; Azure's host, whose address is a public one;
examples. https://www.iana.org/assignments/iana-ipv4-special-registry/
"""
_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME: Final = re.compile(rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*", re.ASCII | re.IGNORECASE)
"""Host as it is looked up, other scripts in letters of ASCII."""
_UNPRINTED: Final = re.compile(r"[\x00-\x20\x7f]")
"""Blanks and control characters, which readers of URLs take for nothing."""
_NUMBER: Final = re.compile(r"(?:\d+|0x[0-9a-f]*)", re.ASCII)
"""Last part of a host that resolvers read as an IPv4 address.

https://url.spec.whatwg.org/#ends-in-a-number-checker
"""
_OF_THIS_MACHINE: Final = ("127.0.0.1", "::1")


def may_be_reached(address: str, allowed: Networks) -> bool:
    """Whether an IP address is public, or in a network that the settings allow."""
    known = _address(address)
    if known is None:
        return False
    if any(known in network for network in allowed):
        return True
    if isinstance(known, IPv6Address) and known not in _UNICAST:
        return False
    if any(known in network for network in _INSIDE):
        return False
    return known.is_global and not known.is_multicast


def may_be_reached_by(scheme: str, address: str, allowed: Networks) -> bool:
    """Whether an address may be connected to by `https`; by `http`, without TLS, only in allowed networks."""
    if scheme == "https":
        return may_be_reached(address, allowed)
    known = _address(address)
    return known is not None and any(known in network for network in allowed)


@lru_cache(maxsize=1_000)
def refuse_url(text: str, allowed: Networks, *, setting: str) -> None:
    """Raise ValueError for a URL that is never asked, by what it says itself. Its text continues "a URL"."""
    try:
        url = URL(text)
        host, looked_up = ((one or "").rstrip(".") for one in (url.host, url.raw_host))
    except ValueError:
        raise ValueError("is no URL") from None
    is_plain = len(text) <= URL_MAX and _UNPRINTED.search(text) is None
    if not is_plain or url.scheme not in ("https", "http") or not host:
        raise ValueError(f"is `https://host/path`, of at most {URL_MAX} characters")
    if url.user or url.password or url.fragment:
        raise ValueError("has no user, password or fragment: what stands in a URL ends in logs")
    if url.scheme == "http" and not allowed:
        raise ValueError("begins with `https://`")
    is_odd = _address(host) is None if ":" in host else not _NAME.fullmatch(looked_up) or _is_odd_ipv4(host)
    if is_odd:
        raise ValueError(
            "names its host plainly, by letters, digits and `-`: an IPv4 address is four decimal numbers"
        )
    leads_to = _led_to(host)
    if not leads_to:
        return
    if not any(may_be_reached(one, allowed) for one in leads_to):
        raise ValueError(f"names no private or loopback address (`{setting}`)")
    if not any(may_be_reached_by(url.scheme, one, allowed) for one in leads_to):
        raise ValueError(f"begins with `https://` outside the networks of `{setting}`")


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """The address that a text is, or the IPv4 address that it leads to; None: it is none."""
    try:
        known = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return _within(known) or known if isinstance(known, IPv6Address) else known


def _within(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 address leads to, if it does."""
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None)


def _is_odd_ipv4(host: str) -> bool:
    """Whether resolvers may read a host as an IPv4 address, though it is not written as one: `127.1`."""
    return _address(host) is None and _NUMBER.fullmatch(host.rpartition(".")[2].lower()) is not None


def _led_to(host: str) -> tuple[str, ...]:
    """Addresses that a host is known to lead to without looking it up; a name leads anywhere."""
    # https://www.rfc-editor.org/rfc/rfc6761#section-6.3
    if host.lower() == "localhost" or host.lower().endswith(".localhost"):
        return _OF_THIS_MACHINE
    return (host,) if _address(host) is not None else ()
