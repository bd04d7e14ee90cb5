"""Numbers of a patient by the sources that gave them."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.pipeline.identity.decisions import Candidate
from ingest.pipeline.identity.facts import Facts, from_stored
from ingest.pipeline.identity.givers import held, list_of
from ingest.pipeline.identity.numbers import Number, Rank
from store.resources.resource_keys import ResourceKey

if TYPE_CHECKING:
    from collections.abc import Iterable


class News(NamedTuple):
    """A list of numbers as a source sends it: `A` is a record number, `9` a weak one, `x:9` of a system."""

    source: str
    time: str
    numbers: str
    former: str = ""
    name: str = "ann"


def facts(news: News) -> Facts:
    return Facts(
        tuple(sorted(map(number, news.numbers.split()))),
        tuple(sorted(map(number, news.former.split()))),
        names=(news.name,),
        born="1950" if news.name == "ann" else "1960",
        source=news.source,
    )


def number(text: str) -> Number:
    system, _, value = text.rpartition(":")
    rank = Rank.STRONG if value[0].isupper() else Rank.WEAK
    return Number(rank, system or ("mr" if rank is Rank.STRONG else "ss"), value)


def told(*news: News) -> Candidate:
    """A record to which these lists came, in this order."""
    first, *others = news
    record = Candidate(ResourceKey("Patient", "p"), facts(first), first.time)
    for one in others:
        now = held(facts(one), one.time, record)
        newer = one.time >= record.sourced
        base = facts(one) if newer else record.facts
        kept = base._replace(numbers=now.numbers, former=now.former, given=now.given)
        again = from_stored(kept.stored())
        assert again == kept
        record = Candidate(record.key, again, max(one.time, record.sourced))
    return record


def values(numbers: Iterable[Number]) -> str:
    return " ".join(sorted(one.value for one in numbers))


H, L = "hospital", "lab"


@pytest.mark.parametrize(
    ("news", "numbers"),
    [
        pytest.param([News(H, "1", "A 9"), News(L, "2", "9")], "9 A", id="a weak number only"),
        pytest.param([News(H, "1", "A 9"), News(H, "2", "9")], "9", id="of the same source"),
        pytest.param([News(H, "1", "A 9"), News("", "2", "9")], "9 A", id="of nobody"),
        pytest.param(
            [News(H, "1", "h:A e:X"), News(L, "2", "l:C e:X")], "A C X", id="records of two systems"
        ),
        pytest.param([News(H, "1", "A e:X"), News(L, "2", "B e:X")], "A B X", id="two records of one system"),
        pytest.param([News(H, "1", "A 9"), News(L, "2", "A 8")], "8 A", id="a corrected weak number"),
        pytest.param(
            [News(H, "1", "A 9"), News(L, "2", "9"), News(H, "3", "9")], "9", id="taken back by its giver"
        ),
        pytest.param(
            [News(H, "1", "A 9"), News(L, "2", "A 9"), News(H, "3", "9")],
            "9 A",
            id="given by another one, too",
        ),
        pytest.param(
            [News(H, "1", "A 9"), News(L, "2", "9"), News(L, "3", "9 l:C")],
            "9 A C",
            id="news of the other one",
        ),
    ],
)
def test_a_source_speaks_for_the_numbers_that_it_gave(news: list[News], numbers: str) -> None:
    for order in permutations(news):
        assert values(told(*order).facts.numbers) == numbers, order


def test_one_source_alone_keeps_no_lists() -> None:
    assert told(News(H, "1", "A 9"), News(H, "2", "A 8")).facts.given == ()


def test_the_number_of_a_merged_record_stays_however_late_it_comes() -> None:
    news = [News(H, "1", "B", former="A"), News(H, "2", "B"), News(L, "3", "B 9")]
    for order in permutations(news):
        assert values(told(*order).facts.former) == "A"


def test_what_was_merged_is_no_current_number_by_an_older_list() -> None:
    news = [News(L, "1", "A e:X"), News(H, "2", "B e:X", former="A")]
    for order in permutations(news):
        record = told(*order).facts
        assert (values(record.numbers), values(record.former)) == ("B X", "A")


def test_somebody_else_gets_none_of_the_numbers() -> None:
    """A record number that was issued again: the laboratory's number stays with whom it was given to."""
    record = told(News(H, "1", "A"), News(L, "2", "A l:C"), News(H, "3", "A", name="carl")).facts
    assert (values(record.numbers), record.given) == ("A", ())


def test_a_list_for_its_own_systems_keeps_what_its_source_gave_in_others() -> None:
    record = told(News(H, "1", "A 9"))
    again = list_of(facts(News(H, "2", "B")), record)
    assert values(again.numbers) == "9 B"
    assert values(list_of(facts(News(L, "2", "B")), record).numbers) == "B"


LISTS = st.lists(
    st.tuples(
        st.sampled_from([H, L, "other"]),
        st.lists(st.sampled_from(["A", "l:C", "e:X", "9", "8", "d:7"]), min_size=1, max_size=4, unique=True),
    ),
    min_size=1,
    max_size=5,
)


@given(LISTS, st.randoms(use_true_random=False))
def test_the_order_of_arrival_decides_nothing(lists: list[tuple[str, list[str]]], rng: object) -> None:
    news = [News(source, f"{n}", " ".join(numbers)) for n, (source, numbers) in enumerate(lists)]
    shuffled = list(news)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    inorder, other = told(*news).facts, told(*shuffled).facts
    assert (inorder.numbers, inorder.given) == (other.numbers, other.given)
