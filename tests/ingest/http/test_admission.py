"""Room for bodies: shares of clients and tenants, and who loses it to whom. Time is passed in."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.http.admission import SMALL_BYTES, SMALL_PART, Admission, Room, Shares, shares_of
from ingest.settings import IngestSettings
from store.errors import ServiceError

MB = 1_000_000
SHARES = Shares(client=40 * MB, tenant=60 * MB, all=100 * MB)


@dataclass
class Content:
    """A body that arrives, as far as its room asks."""

    failed: list[BaseException] = field(default_factory=list)

    def set_exception(self, error: BaseException) -> None:
        self.failed.append(error)


@dataclass
class House:
    now: float = 0.0
    rejections: list[str] = field(default_factory=list)
    contents: dict[Room, Content] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.admission = Admission(
            SHARES, check=lambda: None, rejected=self.rejections.append, clock=lambda: self.now
        )

    def room(self, tenant: str = "a", client: str = "one", size: int = 0) -> Room:
        """A push whose body has begun to arrive."""
        room = Room(self.admission, tenant, client).__enter__()
        content = self.contents[room] = Content()
        room.watch(cast("Any", content))
        if size:
            room.take(size)
        return room

    def has_lost(self, room: Room) -> bool:
        return bool(self.contents[room].failed)


def test_what_is_announced_takes_nothing() -> None:
    """Four connections that say 128 MB and send a byte each."""
    house = House()
    for _ in range(4):
        house.room("a", size=1)
    assert house.admission.bytes == 4
    assert house.room("b", size=40 * MB).size == 40 * MB


@pytest.mark.parametrize(
    ("held", "asks", "fits"),
    [
        ([("a", "one", 30)], ("a", "one", 11), False),
        ([("a", "one", 30)], ("a", "one", 10), True),
        ([("a", "one", 30), ("a", "two", 30)], ("a", "three", 1), False),
        ([("a", "one", 30), ("a", "two", 30)], ("b", "one", 40), True),
        ([("a", "one", 30), ("a", "two", 30), ("b", "one", 40)], ("c", "one", 1), False),
        ([], ("a", "one", 500), True),
        ([("b", "one", 30)], ("a", "one", 71), False),
    ],
)
def test_shares_of_clients_and_tenants(
    held: list[tuple[str, str, int]], asks: tuple[str, str, int], fits: bool
) -> None:
    """No tenant and no client can take all; one alone is always let in."""
    house = House()
    for tenant, client, size in held:
        house.room(tenant, client, size * MB).has_come()
    tenant, client, size = asks
    if fits:
        house.room(tenant, client, size * MB)
        return
    with pytest.raises(ServiceError):
        house.room(tenant, client, size * MB)
    assert house.rejections == ["bodies"]
    assert house.admission.bytes == sum(size for _, _, size in held) * MB


def test_small_bodies_have_room_of_their_own() -> None:
    house = House()
    for tenant in ("a", "b"):
        for client in ("one", "two"):
            house.room(tenant, client, 25 * MB).has_come()
    with pytest.raises(ServiceError):
        house.room("c", size=SMALL_BYTES + 1)
    for number in range(SHARES.tenant // SMALL_PART // SMALL_BYTES):
        house.room("c", f"client {number}", SMALL_BYTES).has_come()
    with pytest.raises(ServiceError):
        house.room("c", "another", SMALL_BYTES)
    house.room("d", size=SMALL_BYTES)


def test_a_body_that_grows_leaves_the_small_ones() -> None:
    house = House()
    room = house.room(size=SMALL_BYTES)
    room.take(SMALL_BYTES + 1)
    assert house.admission.bytes == SMALL_BYTES + 1
    assert set(house.admission._taken.values()) == {SMALL_BYTES + 1}


def test_who_stands_still_loses_its_room_to_who_sends() -> None:
    house = House()
    still = house.room("a", "one", 35 * MB)
    slow = house.room("b", "one", 30 * MB)
    whole = house.room("c", "one", 30 * MB)
    whole.has_come()
    house.now = 5.0
    slow.take(30 * MB + 1_000)
    house.room("d", "one", 20 * MB).has_come()
    assert [house.has_lost(one) for one in (still, slow, whole)] == [True, False, False]
    house.room("e", "one", 30 * MB)
    assert [house.has_lost(one) for one in (still, slow, whole)] == [True, True, False]
    with pytest.raises(ServiceError):
        house.room("f", "one", 40 * MB)
    assert not house.has_lost(whole)


def test_nobody_loses_room_to_who_is_no_faster() -> None:
    """Else everybody would take it from everybody, and none would end."""
    house = House()
    ones = [house.room(tenant, "one", 24 * MB) for tenant in "abcd"]
    other = house.room("e", "one")
    for second in range(1, 4):
        house.now = float(second)
        for one in ones:
            one.take(one.size + 1)
        other.take(second)
    with pytest.raises(ServiceError):
        other.take(10 * MB)
    assert not any(house.has_lost(one) for one in ones)


def test_nobody_loses_room_in_vain() -> None:
    house = House()
    still = house.room("a", "one", 10 * MB)
    for tenant in ("b", "c"):
        house.room(tenant, "one", 40 * MB).has_come()
    house.now = 5.0
    with pytest.raises(ServiceError):
        house.room("d", "one", 30 * MB)
    assert not house.has_lost(still)


@given(
    steps=st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 60_000_000), st.sampled_from(["take", "come", "leave"])),
        max_size=40,
    )
)
def test_bytes_are_counted_whatever_happens(steps: list[tuple[int, int, str]]) -> None:
    house = House()
    rooms: dict[int, Room] = {}
    for number, size, what in steps:
        house.now += 0.7
        room = rooms.get(number) or house.room(f"tenant {number % 3}", f"client {number}")
        rooms[number] = room
        if what == "leave":
            room.__exit__()
            del rooms[number]
        elif what == "come":
            room.has_come()
        else:
            with suppress(ServiceError):
                room.take(size)
        assert house.admission.bytes == sum(one.size for one in rooms.values())
    for room in rooms.values():
        room.__exit__()
    assert not house.admission._taken
    assert not house.admission.rooms


def test_the_settings_give_the_shares() -> None:
    given = IngestSettings(push_bytes_max=100_000_000, push_tenant_share=0.5, push_client_share=0.25)
    assert shares_of(given) == (25_000_000, 50_000_000, 100_000_000)
