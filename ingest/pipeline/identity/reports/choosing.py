"""Reports chosen: which stored one a pushed one is, whether it moved, and which stored ones are one."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import combinations
from typing import TYPE_CHECKING

from ingest.pipeline.identity.decisions import Candidate, Choice, Finding
from ingest.pipeline.identity.facts import Facts
from ingest.pipeline.identity.likeness import (
    alike_in_code,
    is_bare,
    is_same_bare,
    report_name,
    same_own,
    told_of_bare,
)
from ingest.pipeline.identity.reports.incoming import Incoming, is_of_person, is_own, is_since
from ingest.pipeline.identity.reports.sameness import (
    Pair,
    is_same_report,
    is_surely,
    share_number,
)
from store.resources.versions import SourceTime

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence


def choose_reports(
    incoming: Sequence[Incoming],
    candidates: Sequence[Candidate],
    derive: Callable[[str], str],
) -> list[Choice]:
    """Decisions on who each report of a message is; none of the stored ones is taken twice."""
    likely = _likely(incoming, candidates)
    taken: dict[str, int] = {}
    chosen: dict[int, Candidate] = {}
    for number, one in _ranked(incoming, likely):
        if number not in chosen and one.key.id not in taken:
            chosen[number], taken[one.key.id] = one, number
    used = {one.key.id for one in candidates}
    turns: Counter[str] = Counter()
    choices = []
    for number, report in enumerate(incoming):
        if number in chosen:
            others = [c for c in likely[number] if c.key.id not in taken]
            choice = _known(report, chosen[number], others)
        elif is_bare(report.facts):
            choice = _bare(report, candidates, derive, used, turns)
        else:
            choice = _new(report, candidates, derive, used, turns)
        used.add(choice.id)
        choices.append(choice)
    return choices


def _likely(incoming: Sequence[Incoming], candidates: Sequence[Candidate]) -> dict[int, list[Candidate]]:
    """The stored reports that each may be."""
    found: dict[int, list[Candidate]] = {}
    stored, sent = _Shelf(c.facts for c in candidates), _Shelf(one.facts for one in incoming)
    for number, one in enumerate(incoming):
        if is_bare(one.facts):  # It is known by its id.
            found[number] = []
            continue
        under = [candidates[n] for n in stored.under(one.facts)]
        rivals = [incoming[n] for n in sent.under(one.facts)]
        known = [c for c in under if c.key.id not in one.mine]
        others = [c.facts for c in known] + [c.facts for c in one.gone if share_number(one.facts, c.facts)]
        places = _are_places([*others, *(other.facts for other in rivals)])
        alone = len(others) == 1 and len(rivals) == 1
        same = [c for c in under if is_same_report(_pair(one, c, alone=alone, places=places))]
        found[number] = _without_doubted(one, same)
    return found


def _without_doubted(one: Incoming, likely: list[Candidate]) -> list[Candidate]:
    """Reports that one may be, without those of several other people of which nothing says which is meant."""
    return likely if any(is_of_person(one, c) for c in likely) else _meant(one, likely)


def _meant(one: Incoming, theirs: list[Candidate]) -> list[Candidate]:
    """Reports of the one of several other people whose is likeliest; none: nothing says which is meant."""
    best = max((_score(one, c) for c in theirs), default=())
    first = [c for c in theirs if _score(one, c) == best]
    people = {c.facts.patient for c in theirs}
    if len(people) > 1 and len({c.facts.patient for c in first}) > 1:
        return []
    return theirs if len(people) == 1 else first


class _Shelf:
    """Places of reports by what they may share: a message of thousands is not compared each with each."""

    def __init__(self, reports: Iterable[Facts]) -> None:
        self._reports = tuple(reports)
        self._places: dict[object, list[int]] = {}
        for place, one in enumerate(self._reports):
            for name in _names(one):
                self._places.setdefault(name, []).append(place)

    def under(self, one: Facts) -> list[int]:
        """Places of the reports that share a number with this one, in order."""
        near = {place for name in _names(one) for place in self._places.get(name, ())}
        return [place for place in sorted(near) if share_number(one, self._reports[place])]


def _names(one: Facts) -> set[object]:
    """All that a report can share: its numbers, else the source's own id, else all that is said."""
    return {(number.system, number.value) for number in one.numbers} or {one.own or told_of_bare(one)}


def _are_places(told: Iterable[Facts]) -> bool:
    """Whether an id of the source is of two codes."""
    by_own: dict[str, dict[object, Facts]] = {}
    for one in told:
        if one.own:
            by_own.setdefault(one.own, {}).setdefault((one.codes, one.title), one)
    return any(not alike_in_code(a, b) for some in by_own.values() for a, b in combinations(some.values(), 2))


def _pair(one: Incoming, stored: Candidate, *, alone: bool, places: bool) -> Pair:
    linked = one.facts.patient == stored.facts.patient or stored.facts.patient in one.kin
    if stored.sourced > one.sourced:
        mended = stored.facts.corrected > one.sourced
        own = not linked and is_own(stored, one.sourced)
        return Pair(stored.facts, one.facts, linked, alone, places, mended, own)
    return Pair(one.facts, stored.facts, linked, alone, places)


def _ranked(
    incoming: Sequence[Incoming], likely: Mapping[int, Sequence[Candidate]]
) -> Iterable[tuple[int, Candidate]]:
    """Pairs in the order in which they are taken, the surest first; without those that are in doubt."""
    scored = [
        (_score(incoming[number], one), number, one) for number, found in likely.items() for one in found
    ]
    scored.sort(
        key=lambda row: (*(not yes for yes in row[0]), row[1], _reversed(row[2].sourced), row[2].key.id)
    )
    alike = Counter((score, number) for score, number, one in scored if one.facts.apart)
    own = Counter((score, number, one.key) for score, number, one in scored if one.facts.apart)
    equals = Counter((score, one.key) for score, _, one in scored)
    for score, number, one in scored:
        # Stored reports that are two because of their ids alone (`_siblings`), and as likely.
        siblings = alike[score, number] - own[score, number, one.key] if one.facts.apart else 0
        if siblings < equals[score, one.key]:
            yield number, one


def _reversed(sourced: SourceTime) -> tuple[int, ...]:
    """A key that sorts the newest first."""
    return tuple(-ord(character) for character in sourced)


def _siblings(one: Candidate, other: Candidate) -> bool:
    """Whether two stored reports are two because of their ids alone."""
    return one.key != other.key and one.facts.apart and other.facts.apart


def _are_two(one: Candidate, other: Candidate) -> bool:
    """Whether ids tell two stored reports apart; those of two records of one patient may carry the same."""
    alike = same_own(one.facts, other.facts) or is_same_bare(one.facts, other.facts)
    return _siblings(one, other) and not alike


def _score(one: Incoming, stored: Candidate) -> tuple[bool, ...]:
    mine, theirs = one.facts, stored.facts
    return (
        mine.patient == theirs.patient,
        alike_in_code(mine, theirs),
        same_own(mine, theirs),
        mine.time == theirs.time,
        mine.specimens == theirs.specimens,
    )


def _known(one: Incoming, chosen: Candidate, others: Sequence[Candidate]) -> Choice:
    """The report is a stored one. Of several that turn out to be the same the newest stays."""
    # A report leaves only where more than number and code say that it is this one; or where this one was made
    # without knowing of it: it would have been taken for it.
    taken = next((c for _, c in _ranked([one], {0: others})), None) if chosen.key.id in one.mine else None
    same = [c for c in others if not _are_two(c, chosen) and (c is taken or is_surely(one.facts, c.facts))]
    theirs = [c for c in same if not is_of_person(one, c) and _moves(one, chosen, c)]
    same = [c for c in same if is_of_person(one, c)] + _meant(one, theirs)
    # Whoever looks comes to the same, so that of two senders neither takes away what the other leaves.
    stays = min([chosen, *same], key=lambda c: (_reversed(c.sourced), c.key.id))
    united = tuple(c for c in (chosen, *same) if c is not stays)
    findings = [Finding.REPORT_UNITED] if united else []
    moved = ""
    if stays.facts.patient != one.facts.patient and stays.sourced <= one.sourced:
        moved = stays.facts.patient
        findings.append(Finding.REPORT_MOVED)
    elif stays.facts.patient not in {one.facts.patient, *one.kin}:
        findings.append(Finding.REPORT_MENDED)
    return Choice(stays.key.id, tuple(findings), stays, united, moved_from=moved)


def _moves(one: Incoming, chosen: Candidate, other: Candidate) -> bool:
    """Whether another patient's report and the chosen one are one: it moves here, or that moved there.

    Where a patient had the report before this news of it, nobody else's is meant.
    """
    if chosen.key.id in one.mine:
        return True
    own = is_own(chosen, other.sourced) or chosen.facts.moved_here
    is_hers = is_of_person(one, chosen) and is_since(chosen, one.sourced) and own
    return other.sourced <= one.sourced and not is_hers


def _bare(
    one: Incoming,
    candidates: Sequence[Candidate],
    derive: Callable[[str], str],
    used: Collection[str],
    turns: Counter[str],
) -> Choice:
    """A report with neither number nor id: that under the id of its name, with any of its patient's names."""
    name, there = report_name(one.facts), {c.key.id: c for c in candidates}
    patients = {one.facts.patient, *one.kin}
    while True:
        turns[name] += 1
        made, *others = (derive(told) for told in names_of_bare(one, turns[name]))
        found = [
            there[of]
            for of in (made, *others)
            if of in there
            and there[of].facts.patient in patients
            and is_same_bare(one.facts, there[of].facts)
        ]
        if found:
            return _known(one, found[0], found[1:])
        if made not in used:
            return Choice(made)


def names_of_bare(one: Incoming, turn: int) -> list[str]:
    """Natural keys of the n-th report of a message with neither number nor id: its own, and of the kin."""
    patients = dict.fromkeys([one.facts.patient, *sorted(one.kin)])
    return [_turned(report_name(one.facts._replace(patient=who)), turn) for who in patients]


def _turned(name: str, turn: int) -> str:
    return name if turn == 1 else f"{name} again {turn}"


def _new(
    one: Incoming,
    candidates: Sequence[Candidate],
    derive: Callable[[str], str],
    used: Collection[str],
    turns: Counter[str],
) -> Choice:
    """A report that is none of the stored ones. `turns`: how many of the message had each name so far."""
    under = [c for c in candidates if share_number(one.facts, c.facts)]
    # Other codes of one number are how orders are reported; another patient, time or specimen is a doubt.
    doubted = any(alike_in_code(one.facts, c.facts) for c in under)
    name = report_name(one.facts)
    while True:
        turns[name] += 1
        made = derive(_turned(name, turns[name]))
        if made not in used:
            break
    return Choice(made, (Finding.REPORT_DOUBTED,) if doubted else ())


def superseded(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Stored reports that others supersede once the records of their patients are known as one person's."""
    # Without a time of the source the later arrival counts.
    newest = sorted(candidates, key=lambda one: (_reversed(one.sourced), -one.arrived, one.key.id))
    staying: defaultdict[object, list[Candidate]] = defaultdict(list)
    leaving = []
    for one in newest:
        names = _names(one.facts)
        if any(_supersedes(newer, one) for name in names for newer in staying[name]):
            leaving.append(one)
            continue
        for name in names:
            staying[name].append(one)
    return leaving


def _supersedes(newer: Candidate, older: Candidate) -> bool:
    """Whether a report of one record is the same, and newer, as that of the other record."""
    mended = newer.facts.corrected > older.sourced
    pair = Pair(newer.facts, older.facts, linked=True, alone=False, mended=mended)
    return (
        newer.facts.patient != older.facts.patient
        and not _are_two(newer, older)
        and is_same_report(pair)
        and is_surely(newer.facts, older.facts)
    )
