"""Late, twice, out of order: the newest by the source's own time stays current, the others are history."""

from __future__ import annotations

import asyncio
import json
import random
from itertools import permutations
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from store.tenancy import SearchScope
from tests.support import hl7v2
from tests.support.data_model import results_new
from tests.support.feed import at, delivery, observation, said_of, send, state, versions
from tests.support.fhir import MRN, identified, message, patient, refers
from tests.support.service import opened_service

if TYPE_CHECKING:
    from tests.support.service import Answer, Service

EVIDENCE = ("timestamp", "meta", "issued")


def location(answer: Answer, entry: int = 1) -> str:
    where = answer.body["entry"][entry]["response"]["location"]
    assert isinstance(where, str)
    return where


async def current(service: Service, answer: Answer) -> Any:
    return (await service.get(location(answer).partition("/_history/")[0])).body


@pytest.mark.parametrize("evidence", EVIDENCE)
async def test_one_report_seven_times_ending_with_an_older_version(service: Service, evidence: str) -> None:
    sent = [(1, "a"), (2, "b"), (2, "b"), (3, "c"), (4, "d"), (4, "d"), (3, "older")]
    answers = [
        await send(service, delivery("r", time=at(minute), conclusion=text, evidence=evidence))
        for minute, text in sent
    ]
    assert [where.rpartition("/")[2] for where in map(location, answers)] == list("1223445")
    said = [said_of(answer) for answer in answers]
    assert ["Stale" in one for one in said] == [False] * 6 + [True]
    assert (await current(service, answers[0]))["conclusion"] == "d"
    assert (await current(service, answers[0]))["meta"]["versionId"] == "4"
    kept = await service.get(location(answers[-1]))
    assert (kept.status, kept.body["conclusion"], kept.headers["ETag"]) == (200, "older", 'W/"5"')


async def test_a_history_says_what_never_was_current(service: Service) -> None:
    service.clock.move(hours=1)
    newest = await send(service, delivery("r", time=at(5), conclusion="new"))
    service.clock.move(hours=1)
    await send(service, delivery("r", time=at(1), conclusion="old"))
    where = location(newest).partition("/_history/")[0]
    entries = (await service.get(f"{where}/_history")).body["entry"]
    told = [(e["resource"]["conclusion"], "Stale" in json.dumps(e["response"])) for e in entries]
    assert told == [("old", True), ("new", False)]
    for path in (f"{where}/_history", "DiagnosticReport/_history"):
        page = await service.get(f"{path}?_at={quote(service.clock().isoformat())}")
        assert [(e["resource"]["conclusion"]) for e in page.body["entry"]] == ["new"]
        assert page.body["total"] == 1


async def test_what_is_stale_is_kept_once_and_numbers_go_on_behind_it(service: Service) -> None:
    await send(service, delivery("r", time=at(5), conclusion="new"))
    first, again = [await send(service, delivery("r", time=at(1), conclusion="old")) for _ in range(2)]
    assert location(first) == location(again)
    assert "Stale" in said_of(again)
    newest = await send(service, delivery("r", time=at(6), conclusion="newest"))
    assert location(newest).endswith("/_history/3")
    texts = [
        (await service.get(f"{location(first).rpartition('/')[0]}/{n}")).body["conclusion"] for n in (1, 2, 3)
    ]
    assert texts == ["new", "old", "newest"]


@pytest.mark.parametrize("order", list(permutations(range(4))))
async def test_the_order_of_arrival_does_not_matter(service: Service, order: tuple[int, ...]) -> None:
    """The third says again what the first said: it is newer all the same."""
    sent = [
        delivery("r", time=at(n), conclusion=text) for n, text in enumerate(("a", "b", "a", "c"), start=1)
    ]
    for n in order:
        answer = await send(service, sent[n])
    assert (await current(service, answer))["conclusion"] == "c"
    for n in order:  # The second round changes nothing.
        assert (await send(service, sent[n])).status == 200
    assert (await current(service, answer))["conclusion"] == "c"


@pytest.mark.parametrize("order", list(permutations(range(3))))
async def test_content_that_is_confirmed_later_is_newer(service: Service, order: tuple[int, ...]) -> None:
    sent = [delivery("r", time=at(n), conclusion=text) for n, text in enumerate("aba", start=1)]
    for n in order:
        answer = await send(service, sent[n])
    assert (await current(service, answer))["conclusion"] == "a"


async def test_without_a_time_the_order_of_arrival_counts(service: Service) -> None:
    for text in "ab":
        answer = await send(service, delivery("r", conclusion=text))
    assert (await current(service, answer))["conclusion"] == "b"


async def test_at_the_same_time_the_later_arrival_counts_and_a_repetition_does_not(service: Service) -> None:
    for number, text in enumerate("aba"):  # Byte for byte it would only be given the first answer again.
        sent = {**delivery("r", time=at(1), conclusion=text), "id": f"attempt-{number}"}
        answer = await send(service, sent)
    assert "Stale" in said_of(answer)
    assert (await current(service, answer))["conclusion"] == "b"


@pytest.mark.parametrize("evidence", EVIDENCE)
@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (("preliminary", "final"), "final"),
        (("final", "preliminary"), "final"),
        (("final", "preliminary", "corrected"), "corrected"),
        (("final", "corrected", "final"), "corrected"),
        (("final", "corrected", "amended"), "amended"),
    ],
    ids=" ".join,
)
async def test_at_the_same_time_nothing_preliminary_follows_what_is_settled(
    service: Service, sent: tuple[str, ...], kept: str, evidence: str
) -> None:
    for number, status in enumerate(sent):
        said = {**delivery("r", time=at(1), evidence=evidence, status=status), "id": f"attempt-{number}"}
        answer = await send(service, said)
    assert (await current(service, answer))["status"] == kept


async def test_a_result_may_become_preliminary_again_later(service: Service) -> None:
    for minute, status in ((1, "final"), (2, "preliminary")):
        answer = await send(service, delivery("r", time=at(minute), status=status))
    assert (await current(service, answer))["status"] == "preliminary"


async def test_without_a_time_a_result_may_become_preliminary_again(service: Service) -> None:
    for status in ("final", "preliminary"):
        answer = await send(service, delivery("r", status=status))
    assert (await current(service, answer))["status"] == "preliminary"


async def test_a_clock_far_ahead_is_no_evidence(service: Service) -> None:
    await send(service, delivery("r", time="2099-01-01T00:00:00Z", conclusion="from the future"))
    answer = await send(service, delivery("r", time=at(1), conclusion="now"))
    assert (await current(service, answer))["conclusion"] == "now"


async def test_an_update_by_a_client_counts_but_does_not_turn_time_back(service: Service) -> None:
    answer = await send(service, delivery("r", time=at(5), conclusion="new"))
    stored = await current(service, answer)
    assert (await service.put({**stored, "conclusion": "mended"})).status == 200
    late = await send(service, delivery("r", time=at(3), conclusion="old"))
    assert "Stale" in said_of(late)
    assert (await current(service, answer))["conclusion"] == "mended"
    same = await service.get(location(late))
    assert same.body["conclusion"] == "old"


async def test_a_deletion_is_not_undone_by_what_is_older(service: Service) -> None:
    answer = await send(service, delivery("r", time=at(5)))
    where = location(answer).partition("/_history/")[0]
    path = "/".join(where.split("/")[-2:])
    assert (await service.delete(path)).status == 204
    assert "Stale" in said_of(await send(service, delivery("r", time=at(3), conclusion="old")))
    assert (await service.get(path)).status == 410
    assert (await send(service, delivery("r", time=at(6)))).status == 200
    assert (await service.get(path)).status == 200


async def test_stale_messages_at_once_on_two_services_are_kept_once_each(mongodb: str) -> None:
    async with opened_service(mongodb) as one, opened_service(mongodb) as other:
        other.tenant, other.headers = one.tenant, one.headers
        first = await send(one, delivery("r", time=at(30), conclusion="new"))
        sent = [delivery("r", time=at(n), conclusion=f"old {n}") for n in (1, 2, 3)] * 4
        answers = await asyncio.gather(
            *(send((one, other)[n % 2], bundle) for n, bundle in enumerate(sent)),
        )
        assert all("Stale" in said_of(answer) for answer in answers)
        numbers = [location(answer).rpartition("/")[2] for answer in answers]
        assert sorted(numbers[:3]) == ["2", "3", "4"]
        assert numbers == numbers[:3] * 4
        assert (await current(one, first))["conclusion"] == "new"


def corpus() -> list[Any]:
    """Reports with versions that change their results, share one, drop some and take some back."""
    found = []
    for name in ("r1", "r2", "r3"):
        for minute, results in enumerate(
            (("a", "b"), ("b", "c"), ("c",), ("a", "shared"), ("shared",)), start=1
        ):
            mine = [
                observation(
                    one if one == "shared" else f"{name}{one}",
                    value="same" if one == "shared" else str(minute // 3),
                )
                for one in results
            ]
            found.append(delivery(name, *mine, time=at(minute), conclusion=f"version {minute}"))
    return found


@pytest.mark.parametrize("seed", range(3))
async def test_a_corpus_three_times_in_any_order_by_eight_senders(service: Service, seed: int) -> None:
    ordered, shuffled = [await service.new_tenant(search_scope=SearchScope.ANY) for _ in range(2)]
    for bundle in corpus():
        assert (await send(ordered, bundle)).status == 200
    queue = corpus() * 3
    random.Random(seed).shuffle(queue)

    async def sender() -> None:
        while queue:
            answer = await send(shuffled, queue.pop())
            assert answer.status == 200, answer.text

    await asyncio.gather(*(sender() for _ in range(8)))
    wanted = await state(ordered)
    assert await state(shuffled) == wanted
    assert not any("dangling" in str(one) for one in wanted.values())
    before = await versions(shuffled)
    for bundle in corpus():
        await send(shuffled, bundle)
    assert await versions(shuffled) == before
    assert await state(shuffled) == wanted


async def test_a_report_that_comes_late_gets_back_what_another_had_let_go(service: Service) -> None:
    shared = observation("o", value="x")
    await send(service, delivery("r1", shared, time=at(1)))
    await send(service, delivery("r1", time=at(9), conclusion="without"))
    answer = await send(service, delivery("r2", shared, time=at(2)))
    [result] = (await current(service, answer))["result"]
    assert (await service.get(result["reference"])).status == 200
    assert result == refers(result["reference"])


async def test_what_comes_back_is_the_newest_content_whatever_came_last(service: Service) -> None:
    lab = await service.new_tenant(search_scope=SearchScope.ANY)
    await send(lab, delivery("r1", observation("o", value="old"), time=at(1)))
    await send(lab, delivery("r1", observation("o", value="newest"), time=at(3)))
    await send(lab, delivery("r1", time=at(9), conclusion="without"))
    alone = message(observation("o", value="between"), patient("p", identified(MRN, "p")))
    await send(lab, {**alone, "timestamp": at(2)})
    assert (await state(lab))["Observation o"]["valueString"] == "newest"


async def test_what_came_back_is_as_old_as_its_content(service: Service) -> None:
    """Not as new as the report that had let go of it: what is newer than the content counts."""
    lab = await service.new_tenant(search_scope=SearchScope.ANY)
    await send(lab, delivery("r1", observation("o", value="first"), time=at(1)))
    await send(lab, delivery("r1", time=at(9), conclusion="without"))
    await send(lab, delivery("r2", observation("o", value="first"), time=at(2)))
    await send(lab, delivery("r2", observation("o", value="corrected"), time=at(3)))
    assert (await state(lab))["Observation o"]["valueString"] == "corrected"
    await send(lab, delivery("r2", time=at(4), conclusion="without"))
    assert "Observation o" not in await state(lab)


async def test_a_late_content_that_is_confirmed_later_is_newer_than_what_lies_between(
    service: Service,
) -> None:
    lab = await service.new_tenant(search_scope=SearchScope.ANY)
    await send(lab, delivery("r1", observation("o", value="x"), time=at(1)))
    await send(lab, delivery("r1", time=at(9), conclusion="without"))
    for minute, value in ((5, "z"), (7, "x")):
        await send(lab, delivery("r1", observation("o", value=value), time=at(minute)))
    await send(lab, delivery("r2", observation("o", value="x"), time=at(1)))
    assert (await state(lab))["Observation o"]["valueString"] == "x"


async def test_a_late_report_does_not_undo_the_deletion_of_its_observation(service: Service) -> None:
    lab = await service.new_tenant(search_scope=SearchScope.ANY)
    first = await send(lab, delivery("r1", observation("o", value="x"), time=at(5)))
    path = "/".join(location(first, 2).partition("/_history/")[0].split("/")[-2:])
    assert (await lab.delete(path)).status == 204
    await send(lab, delivery("r2", observation("o", value="x"), time=at(3)))
    assert (await lab.get(path)).status == 410


FAR = "9999-12-31T23:59:59Z"
AHEAD = "The source's time lies too far in the future"


@pytest.mark.parametrize("evidence", EVIDENCE)
async def test_a_time_in_the_far_future_does_not_make_later_news_late(
    service: Service, evidence: str
) -> None:
    first = await send(service, delivery("r", time=FAR, conclusion="far", evidence=evidence))
    assert AHEAD in said_of(first)
    second = await send(service, delivery("r", time=at(1), conclusion="news", evidence=evidence))
    assert AHEAD not in said_of(second)
    assert (await current(service, second))["conclusion"] == "news"


async def test_a_time_in_the_far_future_is_told_by_hl7_and_the_data_model_too(service: Service) -> None:
    sent = hl7v2.message(hl7v2.PID, hl7v2.obr(), time="99991231235959+0000")
    assert AHEAD in (await hl7v2.send(service, sent)).text
    told = results_new(meta={"EventDateTime": FAR})
    answer = await service.request("POST", "$data-model", told, content_type="application/json")
    assert [one["Code"] for one in answer.body["Meta"]["Warnings"]] == ["time-ahead"]
