"""Names of subscriptions among fields: written and read by one rule."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from store.mongo.subscriptions.seats import Seat, of_field, seat_of
from tests.support.subscriptions import NOW


@pytest.mark.parametrize("id", ["a", "b.c", "b-c", "...", "A1-b.", "9" * 64])
@pytest.mark.parametrize("created", [NOW, NOW + timedelta(milliseconds=7)])
def test_a_name_has_no_dot_and_is_read_as_it_was_written(id: str, created: datetime) -> None:
    name = seat_of(id, created)
    assert not {".", "$"} & set(name)
    assert of_field(name) == Seat(id, created)


def test_a_moment_is_as_mongodb_keeps_it() -> None:
    assert of_field(seat_of("a", NOW + timedelta(microseconds=999))) == Seat("a", NOW)
