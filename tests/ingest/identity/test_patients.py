"""Identity of patients, by the table of docs/identity.md."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.pipeline.identity.decisions import Candidate, Finding
from ingest.pipeline.identity.facts import PLAIN, Facts, as_evidence, facts_of, from_stored
from ingest.pipeline.identity.patients import COMPARISONS_MAX, Records, choose_patient
from ingest.pipeline.placeholders import placeholder_words
from store.errors import Category, ServiceError
from store.resources.resource_keys import ResourceKey


def patient(name: str = "", born: str = "", **numbers: str) -> Facts:
    """`mr` and `pi` are sure numbers, other names are systems of weak ones, `old_mr` a former one."""
    told: list[dict[str, Any]] = []
    for system, value in numbers.items():
        kind = system.rpartition("_")[2].upper()
        typed = {"type": {"coding": [{"code": kind}]}} if kind in ("MR", "PI") else {}
        old = {"use": "old"} if system.startswith("old_") else {}
        told.append({"system": f"urn:{system.removeprefix('old_')}", "value": value, **typed, **old})
    resource: dict[str, Any] = {
        "resourceType": "Patient",
        "identifier": told,
        **({"name": [{"text": name}]} if name else {}),
        **({"birthDate": born} if born else {}),
    }
    return facts_of(resource, PLAIN)


def known(**facts: Facts) -> list[Candidate]:
    return [Candidate(ResourceKey("Patient", name), one) for name, one in facts.items()]


def choose(facts: Facts, *candidates: Candidate) -> tuple[str, tuple[Finding, ...]]:
    found = choose_patient(facts, candidates, lambda name: f"new {name}", nameless="nobody")
    return found.id.partition(" ")[0], found.findings


NEW, DOUBT = ("new", ()), ("new", (Finding.PATIENT_DOUBTED,))
SAME = ("a", ())
ANN, BOB = ("Ann Arbor", "1980-01-02"), ("Bob Builder", "1990-03-04")


@pytest.mark.parametrize(
    ("stored", "pushed", "expected"),
    [
        pytest.param(patient(*ANN, mr="1"), patient(*ANN, mr="1"), SAME, id="one record number"),
        pytest.param(patient(*ANN, mr="1"), patient(*ANN, mr="2"), NEW, id="another record number"),
        pytest.param(patient(*ANN, mr="1"), patient("Ann Other", ANN[1], mr="1"), SAME, id="another name"),
        pytest.param(
            patient(*ANN, mr="1"),
            patient(*BOB, mr="1"),
            ("a", (Finding.PATIENT_CHANGED,)),
            id="name and birth date changed at once",
        ),
        pytest.param(
            patient(*ANN, mr="1", ss="9"), patient(*BOB, mr="2", ss="9"), DOUBT, id="shared, two MRs"
        ),
        pytest.param(
            patient(*ANN, mr="1", ss="9"), patient(*ANN, mr="2", ss="9"), DOUBT, id="even of one name"
        ),
        pytest.param(patient(*ANN, ss="9"), patient(*ANN, ss="9"), SAME, id="one weak number"),
        pytest.param(patient(*ANN, ss="9"), patient(*BOB, ss="9"), DOUBT, id="of two people"),
        pytest.param(patient(*ANN, ss="9"), patient("Ann Other", ANN[1], ss="9"), SAME, id="corrected name"),
        pytest.param(
            patient(*ANN, ss="9"), patient(ANN[0], "1980-01-20", ss="9"), SAME, id="corrected birth"
        ),
        pytest.param(
            patient("Ann", policy="F", mrn="1"), patient("Bob", policy="F", mrn="2"), DOUBT, id="family"
        ),
        pytest.param(patient("Ann", policy="F"), patient("Bob", policy="F"), DOUBT, id="names alone differ"),
        pytest.param(patient(ss="9"), patient(ss="9"), SAME, id="nothing else is known"),
        pytest.param(patient(*ANN, ss="9"), patient(ss="9"), SAME, id="nothing speaks against it"),
        pytest.param(
            patient(*ANN, ss="9"), patient(*ANN, ss="9", mr="1"), SAME, id="it has got a record number"
        ),
        pytest.param(patient(*ANN, mr="1"), patient(*ANN, mrn="1"), NEW, id="another system"),
        pytest.param(
            patient("Ann B. Arbor", ANN[1], ss="9"), patient(*ANN, ss="9"), SAME, id="a middle name"
        ),
        pytest.param(
            patient(*ANN, mr="1"),
            patient(*ANN, mr="2", old_mr="1"),
            ("new", (Finding.PATIENTS_LINKED,)),
            id="a survivor is another",
        ),
        pytest.param(
            patient(*ANN, ss="9")._replace(sex="female"),
            patient("Tim Arbor", ANN[1], ss="9")._replace(sex="male"),
            DOUBT,
            id="a brother and a sister, born on one day",
        ),
        pytest.param(
            patient(*ANN, ss="9")._replace(sex="female"),
            patient(*ANN, ss="9")._replace(sex="male"),
            SAME,
            id="a corrected sex alone",
        ),
        pytest.param(
            patient(*ANN, ss="9")._replace(sex="female"),
            patient("Ann Other", ANN[1], ss="9")._replace(sex="unknown"),
            SAME,
            id="a sex that is not known",
        ),
    ],
)
def test_choose(stored: Facts, pushed: Facts, expected: tuple[str, tuple[Finding, ...]]) -> None:
    assert choose(pushed, *known(a=stored)) == expected
    # What is kept says the same as what was read.
    assert choose(pushed, *known(a=from_stored(stored.stored()))) == expected


def named(*names: dict[str, Any], born: str) -> Facts:
    numbered = [{"system": "urn:ss", "value": "9"}]
    told: dict[str, Any] = {"identifier": numbered, "name": list(names), "birthDate": born}
    return facts_of({"resourceType": "Patient", **told}, PLAIN)


def test_a_father_and_a_son_of_one_name_and_number_are_two() -> None:
    father = named({"family": "Smith", "given": ["John"], "suffix": ["Sr."]}, born="1950-01-01")
    son = named({"family": "Smith", "given": ["John"], "suffix": ["Jr."]}, born="1980-02-02")
    assert choose(son, *known(a=father)) == DOUBT
    plain = named({"family": "Smith", "given": ["John"]}, born="1950-01-11")
    assert choose(plain, *known(a=father)) == SAME


def test_a_nickname_in_common_is_no_name_in_common() -> None:
    called = {"use": "nickname", "text": "Bob"}
    one = named({"text": "Robert Builder"}, called, born="1950-01-01")
    other = named({"text": "Robin Baker"}, called, born="1980-02-02")
    assert choose(other, *known(a=one)) == DOUBT


def test_a_stored_number_counts_until_it_ends() -> None:
    ending: dict[str, Any] = {
        "system": "urn:mr",
        "value": "1",
        "type": {"coding": [{"code": "MR"}]},
        "period": {"end": "2026-06"},
    }
    stored = facts_of({"resourceType": "Patient", "identifier": [ending]}, PLAIN)
    again = from_stored(stored.stored())
    assert again == stored
    for month, counts in ((6, True), (7, False)):
        now = datetime(2026, month, 15, tzinfo=UTC)
        assert bool(as_evidence(again, PLAIN._replace(now=now)).numbers) == counts


def test_a_stored_placeholder_is_no_evidence() -> None:
    stored = patient(*ANN, mr="UNKNOWN", ss="9")
    told = as_evidence(stored, PLAIN._replace(placeholders=placeholder_words(["unknown"])))
    assert [one.value for one in told.numbers] == ["9"]


def test_of_two_that_share_a_weak_number_the_one_that_is_alike() -> None:
    both = known(ann=patient(*ANN, policy="F", mrn="1"), bob=patient(*BOB, policy="F", mrn="2"))
    assert choose(patient(*ANN, policy="F"), *both) == ("ann", ())
    assert choose(patient(*BOB, policy="F"), *both) == ("bob", ())
    assert choose(patient(policy="F"), *both) == DOUBT


def test_a_survivor_and_the_retired_record_are_linked_either_way() -> None:
    survivor, retired = patient(*ANN, mr="2", old_mr="1"), patient(*ANN, mr="1")
    for pushed, stored in ((survivor, retired), (retired, survivor)):
        found = choose_patient(pushed, known(other=stored), lambda name: f"new {name}", nameless="")
        assert [one.key.id for one in found.kin] == ["other"]


def test_a_family_number_that_one_of_them_no_longer_has_links_nobody() -> None:
    ann, bob = patient(*ANN, mr="1", old_policy="F"), patient(*BOB, mr="2", policy="F")
    assert choose_patient(ann, known(bob=bob), str, nameless="").kin == ()


def test_a_new_id_is_never_that_of_somebody_else() -> None:
    taken = known(**{"Patient urn:mr|1": patient(mr="2", ss="9")})
    assert choose_patient(patient(mr="1", ss="9"), (), str, nameless="").id == "Patient urn:mr|1"
    found = choose_patient(patient(mr="1", ss="9"), taken, str, nameless="")
    assert found.id == "Patient urn:mr|1 again 2"


def test_twins_of_weak_numbers_derive_one_id_and_families_do_not() -> None:
    def derived(facts: Facts) -> str:
        return choose_patient(facts, (), str, nameless="nobody").id

    assert derived(patient(*ANN, ss="9")) == derived(patient(*ANN, ss="9"))
    assert derived(patient(*ANN, ss="9")) != derived(patient(*BOB, ss="9"))
    assert derived(patient(*ANN, mr="1", ss="9")) == derived(patient(*BOB, mr="1"))
    assert derived(patient(*ANN)) == "Patient nobody"


def test_a_record_number_that_another_person_has_too_is_said() -> None:
    both = known(ann=patient(*ANN, mr="1"), bob=patient(*BOB, pi="9"))
    assert choose(patient(*ANN, mr="1", pi="9"), *both) == ("ann", (Finding.PATIENT_DOUBTED,))
    one = known(ann=patient(*ANN, mr="1"), again=patient(*ANN, pi="9"))
    assert choose(patient(*ANN, mr="1", pi="9"), *one) == ("ann", (Finding.PATIENTS_LINKED,))


def anybody(who: tuple[str, str], numbers: list[tuple[str, str]], former: list[tuple[str, str]]) -> Facts:
    told = dict(numbers) | {f"old_{system}": value for system, value in former}
    return patient(who[0], who[1], **told)


SOME = st.builds(
    anybody,
    st.sampled_from([ANN, BOB, ("", "")]),
    st.lists(st.tuples(st.sampled_from(["mr", "ss", "pi"]), st.sampled_from("123")), max_size=2),
    st.lists(st.tuples(st.sampled_from(["mr", "ss"]), st.sampled_from("123")), max_size=1),
)


@given(SOME, st.lists(st.tuples(SOME, st.sets(st.integers(0, 5), max_size=2)), max_size=6))
def test_records_far_off_have_no_say(pushed: Facts, stored: list[tuple[Facts, set[int]]]) -> None:
    records = [
        Candidate(ResourceKey("Patient", f"p{n}"), facts._replace(kin=tuple(f"p{m}" for m in sorted(kin))))
        for n, (facts, kin) in enumerate(stored)
    ]
    near = Records(records).near(pushed)
    for racing in ((), tuple(one.key.id for one in records)):
        told = [
            choose_patient(pushed, some, str, nameless="nobody", racing=racing) for some in (records, near)
        ]
        assert told[0] == told[1]


def test_patients_of_one_message_that_all_share_a_number_are_bounded() -> None:
    records = Records(known(**{f"p{n}": patient(f"Ann{n} Arbor", mr="1") for n in range(500)}))
    with pytest.raises(ServiceError, match="several messages") as refused:
        all(records.near(patient(*BOB, mr="1")) for _ in range(COMPARISONS_MAX))
    assert refused.value.category is Category.TOO_LARGE
