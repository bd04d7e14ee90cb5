"""Comparisons of facts: numbers, codes, times, specimens and people. Each answers yes, no, or cannot tell.

Natural keys of reports say the same in one text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from ingest.pipeline.identity.numbers import UNNAMED, Rank
from store.fhir.instants import ABSENT, MINUTE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ingest.pipeline.identity.facts import Facts
    from ingest.pipeline.identity.numbers import Number

SAID: Final = "said "
"""Beginning of what stands for an id where nothing but its message tells a report from another."""
_SEXES: Final = frozenset({"female", "male"})
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_TELLING: Final = re.compile(r".*(\d{4}|[0-9a-f]{8}-[0-9a-f]{4}-).*", re.IGNORECASE | re.DOTALL)
"""An id that is hardly a place in a message, such as `obs1` or `Patient-2` are."""


def shared(one: Facts, other: Facts) -> Rank | None:
    """The surest rank of a number that two resources share; None: they share none."""
    theirs = {(number.system, number.value): number.rank for number in other.numbers}
    ranks = [
        _agreed(number.rank, theirs[number.system, number.value])
        for number in one.numbers
        if (number.system, number.value) in theirs
    ]
    return min(ranks, default=None)


def _agreed(one: Rank, other: Rank) -> Rank:
    """The surer of two ranks; but the number of an order is no report's own, though both kinds of numbers
    are counted in one system.
    """
    return Rank.ORDER if Rank.ORDER in (one, other) else min(one, other)


def contradict(one: Facts, other: Facts, *, below: Rank) -> bool:
    """Whether in some system both have numbers surer than this rank, or as sure, and none in common."""
    mine, theirs = _by_system(one.numbers, below), _by_system(other.numbers, below)
    return any(mine[system].isdisjoint(theirs[system]) for system in mine.keys() & theirs.keys())


def _by_system(numbers: Iterable[Number], below: Rank) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for number in numbers:
        if number.rank <= below:
            found.setdefault(number.system, set()).add(number.value)
    return found


def alike_in_code(one: Facts, other: Facts) -> bool:
    """Whether two codes say the same: a coding in common, else, where no system is in both, the text.

    Beside a coding that many have, such as LOINC's `laboratory report`, each may have one of its own in a
    system that both use: then they are two.
    """
    if one.codes == other.codes and one.codes:
        return True
    if one.codes and other.codes:
        mine, theirs = set(one.codes), set(other.codes)
        systems = {_system(code) for code in mine - theirs}
        if any(_system(code) in systems for code in theirs - mine):
            return False
        if not mine.isdisjoint(theirs):
            return True
    return one.title == other.title and (bool(one.title) or not (one.codes or other.codes))


def _system(code: str) -> str:
    return code.rpartition("|")[0]


def apart_in_time(one: Facts, other: Facts) -> bool:
    """Whether both say when, and not the same."""
    if ABSENT in (one.time, other.time):
        return False
    return one.time.end <= other.time.start or other.time.end <= one.time.start


def apart_in_specimen(one: Facts, other: Facts, *, numbers_only: bool = False) -> bool:
    """Whether both name their specimens by the same kind of number, and have no specimen in common."""
    for mark in "#" if numbers_only else "#=":
        mine = {name for name in one.specimens if name.startswith(mark)}
        theirs = {name for name in other.specimens if name.startswith(mark)}
        if mine and theirs:
            return mine.isdisjoint(theirs)
    return False


def apart_in_parent(one: Facts, other: Facts) -> bool:
    """Whether both go on from a result, and not from the same."""
    return bool(one.parent and other.parent) and one.parent != other.parent


def same_own(one: Facts, other: Facts) -> bool:
    """Whether both carry one id of one source."""
    return bool(one.own) and one.own == other.own


def says_more(text: str) -> bool:
    """Whether a number or id says more than a place in a message or report, as `1` and `obs1` do."""
    return bool(_TELLING.match(text))


def telling(facts: Facts) -> bool:
    """Whether the source's own id hardly means anything else in its next message."""
    return facts.stable or says_more(facts.own.rpartition("|")[2])


def lasting(facts: Facts) -> bool:
    """Whether the source's own id is never another thing's: it is declared so, or a UUID."""
    return facts.stable or is_uuid(facts)


def is_uuid(facts: Facts) -> bool:
    """Whether the source's own id is a UUID, of which some sources make new ones for each message."""
    return bool(_UUID.fullmatch(facts.own.rpartition("|")[2]))


def other_own(one: Facts, other: Facts) -> bool:
    """Whether both carry ids of one source, and not the same."""
    sources = {facts.own.rpartition("|")[0] for facts in (one, other)}
    return bool(one.own and other.own) and one.own != other.own and len(sources) == 1


def alike_in_time_or_specimen(one: Facts, other: Facts) -> bool:
    """Whether both say when, or of which specimen, and nothing in it differs."""
    if apart_in_time(one, other) or apart_in_specimen(one, other):
        return False
    timed = ABSENT not in (one.time, other.time)
    return timed or not set(one.specimens).isdisjoint(other.specimens)


def is_to_the_minute(facts: Facts) -> bool:
    """Whether it is said when, as finely as two things of one kind hardly happen at once."""
    return facts.time != ABSENT and facts.time.end - facts.time.start <= MINUTE


def alike_in_moment(one: Facts, other: Facts) -> bool:
    """Whether both say when to the minute, and the same, or name one specimen by its number.

    A laboratory's numbers may begin anew each day: the day alone says little beside them.
    """
    if apart_in_time(one, other) or apart_in_specimen(one, other):
        return False
    timed = is_to_the_minute(one) and is_to_the_minute(other)
    return timed or any(name.startswith("#") and name in other.specimens for name in one.specimens)


def other_source(one: Facts, other: Facts) -> bool:
    """Whether both are told by senders with a name, and not by the same."""
    told = {facts.source for facts in (one, other) if facts.source and not facts.source.startswith(UNNAMED)}
    return len(told) > 1


def alike_in_name(one: Facts, other: Facts) -> bool | None:
    """Whether two people share a name, one's words within the other's; None: not both say."""
    if not one.names or not other.names:
        return None
    words = [set(name.split()) for name in other.names]
    return any(
        (len(mine) == 1 == len(theirs) and mine == theirs)
        or (min(len(mine), len(theirs)) > 1 and (mine <= theirs or theirs <= mine))
        for mine in (set(name.split()) for name in one.names)
        for theirs in words
    )


def alike_in_birth(one: Facts, other: Facts) -> bool | None:
    """Whether two people are born on one day, as far as both say; None: not both say."""
    if not one.born or not other.born:
        return None
    return one.born.startswith(other.born) or other.born.startswith(one.born)


def apart_in_sex(one: Facts, other: Facts) -> bool:
    """Whether one is said to be female, and the other male."""
    return {one.sex, other.sex} == _SEXES


def changed_person(one: Facts, other: Facts) -> bool:
    """Whether name and birth date are both other ones."""
    return alike_in_name(one, other) is False and alike_in_birth(one, other) is False


def is_another_person(one: Facts, other: Facts) -> bool:
    """Whether the record of a sure number became somebody else's: name and birth date, or one and the sex.

    A laboratory that gives no birth date, and the name in other words, tells of nobody else.
    """
    differ = [
        alike_in_name(one, other) is False,
        alike_in_birth(one, other) is False,
        apart_in_sex(one, other),
    ]
    return sum(differ) > 1


def contradict_as_people(one: Facts, other: Facts) -> bool:
    """Whether hardly more than a weak number speaks for one person: a doubt makes two.

    A name or a birth date may be corrected. A brother and a sister born on one day have two names and sexes.
    """
    name, birth = alike_in_name(one, other), alike_in_birth(one, other)
    differs = name is False or birth is False
    return differs and (apart_in_sex(one, other) or (not name and not birth))


def twins(one: Facts, other: Facts) -> bool:
    """Whether nothing but their ids tells two reports of one message apart."""
    return (
        (shared(one, other) is not None or not (one.numbers or other.numbers))
        and one.patient == other.patient
        and alike_in_code(one, other)
        and not apart_in_time(one, other)
        and not apart_in_parent(one, other)
        and not apart_in_specimen(one, other)
    )


# --- names of reports


def report_name(facts: Facts) -> str:
    """The natural key of a report: equal for twins, another for all that is told apart."""
    number = facts.numbers[0].name if facts.numbers else facts.own
    told = [
        number,
        " ".join(sorted(facts.codes)) or facts.title,
        facts.patient,
        f"{facts.time.start}",
        " ".join(sorted(facts.specimens)),
        facts.own if facts.apart else "",
        *([facts.parent] if facts.parent else []),
    ]
    return "DiagnosticReport " + "\n".join(told)


def is_bare(facts: Facts) -> bool:
    """Whether a report has neither a number nor an id of its source."""
    return not (facts.numbers or facts.own)


def is_of_its_message(facts: Facts) -> bool:
    """Whether nothing of a report but its message tells it from another: neither number and id, nor a time.

    Nor a patient, where the number may count reports, and the id places in messages.
    """
    if facts.patient:
        return is_bare(facts) and facts.time == ABSENT
    own = facts.own.rpartition("|")[2]
    if own and not own.startswith(SAID) and telling(facts):
        return False
    return not any(one.rank is Rank.STRONG or says_more(one.value) for one in facts.numbers)


def is_same_bare(one: Facts, other: Facts) -> bool:
    """Whether two reports without number and id say the same of what they are, but for the patient."""
    return is_bare(one) and is_bare(other) and told_of_bare(one) == told_of_bare(other)


def told_of_bare(facts: Facts) -> str:
    """All that tells reports without number and id apart, but for the patient."""
    return report_name(facts._replace(patient=""))
