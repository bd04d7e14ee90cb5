"""Rolling windows and places, by a clock that the test moves."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.limits import rolling
from api.limits.limiter import Class, Limiter, ThrottledError
from api.limits.rolling import RollingWindows


class Hands:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def limiter(hands: Hands, rate: str = "10/minute", at_once: int = 3) -> Limiter:
    return Limiter({Class.SEARCH: rate, Class.PUSH: ""}, at_once=at_once, monotonic=hands)


def refusal(limited: Limiter, who: str = "a") -> dict[str, str]:
    with pytest.raises(ThrottledError) as caught:
        limited.hit(Class.SEARCH, who)
    return dict(caught.value.headers)


def test_one_more_than_the_limit_is_refused_until_the_window_frees_a_place() -> None:
    hands = Hands()
    limited = limiter(hands)
    for _ in range(10):
        limited.hit(Class.SEARCH, "a")
        hands.now += 1
    assert refusal(limited) == {
        "Retry-After": "50",
        "RateLimit-Limit": "10",
        "RateLimit-Remaining": "0",
        "RateLimit-Reset": "50",
        "RateLimit-Policy": "10;w=60",
        "X-RateLimit-Limit": "10",
    }
    limited.hit(Class.SEARCH, "b")
    limited.hit(Class.PUSH, "a")
    hands.now += 49.9
    assert refusal(limited)["Retry-After"] == "1"
    hands.now += 0.1
    limited.hit(Class.SEARCH, "a")
    assert refusal(limited)["Retry-After"] == "1"


def test_a_refused_request_does_not_count() -> None:
    hands = Hands()
    limited = limiter(hands)
    for _ in range(10):
        limited.hit(Class.SEARCH, "a")
    for _ in range(100):
        refusal(limited)
    hands.now += 60
    for _ in range(10):
        limited.hit(Class.SEARCH, "a")


def test_whoever_comes_near_the_limit_is_told() -> None:
    limited = limiter(Hands(), "20/minute")
    told = [limited.hit(Class.SEARCH, "a") for _ in range(20)]
    assert [bool(one) for one in told] == [False] * 18 + [True] * 2
    assert told[-1]["RateLimit-Remaining"] == "0"


@given(st.lists(st.integers(0, 30), max_size=80), st.integers(1, 8))
def test_no_stretch_of_time_has_more_than_the_limit_and_no_room_is_wasted(
    steps: list[int], most: int
) -> None:
    hands = Hands()
    windows = RollingWindows(hands)
    taken: list[float] = []
    for step in steps:
        hands.now += step
        within = [one for one in taken if one > hands.now - 60]
        assert windows.acquire_entry("k", most, 60) is (len(within) < most)
        if len(within) < most:
            taken.append(hands.now)
        else:
            wait = windows.frees_in("k", 60)
            assert wait == min(within) + 60 - hands.now


def test_those_who_asked_longest_ago_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rolling, "KEYS_MAX", 2)
    windows = RollingWindows(Hands())
    for key in ("a", "b", "a", "c"):
        assert windows.acquire_entry(key, 5, 60)
    assert [windows.used(key) for key in "abc"] == [2, 0, 1]


def test_places_at_a_time() -> None:
    limited = limiter(Hands())
    for who in "aaab":
        limited.enter(who)
    with pytest.raises(ThrottledError, match="throttled"):
        limited.enter("a")
    limited.leave("a")
    limited.enter("a")


def test_the_refusal_can_be_sent_between_processes() -> None:
    error = ThrottledError("too many", {"Retry-After": "1"})
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 -- our own
    assert (again.headers, again.issues) == (error.headers, error.issues)
