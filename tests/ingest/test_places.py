"""Places of connections: who gives way to whom."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ingest.places import Places, network_of
from tests.support.held import One

if TYPE_CHECKING:
    from collections.abc import Iterable


def made(places: Places[One], *kinds: str) -> list[One]:
    """Connections: an address each, with `+` a request under way, with `-` one whose client is waited for."""
    ones = [One(kind.rstrip("+-"), is_awaited=kind.endswith("-")) for kind in kinds]
    for one, kind in zip(ones, kinds, strict=True):
        assert places.admit(one)
        if kind[-1] in "+-":
            places.begins(one)
    return ones


def gone(ones: Iterable[One]) -> list[int]:
    return [number for number, one in enumerate(ones) if not one.is_open]


@pytest.mark.parametrize(
    ("there", "new", "left"),
    [
        (["a", "b"], "c", [0]),
        (["a+", "a", "a"], "a", [1]),
        (["a", "b", "b"], "c", [1]),
        (["a", "b", "b"], "b", [1]),
        (["a", "b+", "b+", "b+"], "c", [0]),
        (["a", "b+", "b-", "b-"], "c", [2]),
        (["a", "b+", "b-", "b-"], "b", [2]),
        (["a", "b+", "b+", "b+"], "b", None),  # Nobody loses a place to one that has more.
        (["a", "a", "b-", "b-", "b-", "b-"], "a", [0]),  # Two of four are not far fewer.
        (["a+", "b-", "b-", "b-"], "a", [1]),
        (["a-"], "a", [0]),
        (["a-"], "b", None),  # Many that have one each keep what they are doing.
        (["a-", "b-"], "c", None),
        (["a+"], "b", None),
        (["2001:db8::1", "2001:db8::2", "a"], "b", [0]),
    ],
)
def test_who_gives_way(there: list[str], new: str, left: list[int] | None) -> None:
    places: Places[One] = Places(len(there))
    ones = made(places, *there)
    assert places.admit(One(new)) is (left is not None)
    assert gone(ones) == (left or [])
    assert len(places) == len(there)


def test_idle_counts_from_the_last_request() -> None:
    places: Places[One] = Places(3)
    first, second, third = made(places, "a", "b", "c")
    places.begins(first)
    places.rests(first)
    assert places.admit(One("d"))
    assert gone((first, second, third)) == [1]
    places.rests(third)
    assert places.admit(One("d"))
    assert gone((first, second, third)) == [0, 1]


def test_whoever_makes_many_has_its_own_to_lose() -> None:
    """Others come and go beside an address that takes whatever there is, with bodies that do not end."""
    places: Places[One] = Places(50)
    others = made(places, *(f"10.0.0.{number}" for number in range(10)))
    for _ in range(500):
        one = One("evil", is_awaited=True)
        if places.admit(one):
            places.begins(one)
    assert not gone(others)
    assert all(places.admit(One(f"10.0.1.{number}")) for number in range(10))
    assert not gone(others)


def test_a_network_has_a_limit_of_its_own() -> None:
    places: Places[One] = Places(10, per_network=2)
    first, _, other = made(places, "a", "a+", "b")
    (last,) = made(places, "a+")
    assert gone((first, other, last)) == [0]
    assert not places.admit(One("a"))
    assert places.admit(One("b"))


def test_what_is_closed_leaves_no_trace() -> None:
    places: Places[One] = Places(2)
    for address in "aabba":
        one = One(address)
        assert places.admit(one)
        places.begins(one)
        places.forget(one)
        places.forget(one)
        places.begins(one)
        places.rests(one)
    assert (len(places), places._networks, places._by_size) == (0, {}, {})


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        (":no address", ":no address"),
    ],
)
def test_the_network_of_an_address(address: str, network: str) -> None:
    assert network_of(address) == network
