"""Bounds of a search, over HTTP on a real MongoDB.

A refusal names the parameter and never repeats what was asked, neither in the answer nor in the log.
"""

from __future__ import annotations

import asyncio
from itertools import product
from typing import TYPE_CHECKING, Any, Final

import pytest

from store.tenancy import SearchScope
from tests.support.fhir import MRN, identified, patient, refers, report, resource
from tests.support.lines import logged
from tests.support.mongod import frozen
from tests.support.service import FHIR_UTF8, opened_service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from store.mongo.embedded import Embedded
    from tests.support.service import Answer, Service

SECRET: Final = "Sentinella-4711"
"""Stands for a patient's value in each of these."""


def is_refused(answer: Answer, code: str, name: str | None = None, *, status: int = 400) -> None:
    assert (answer.status, answer.headers["Content-Type"]) == (status, FHIR_UTF8), answer.text
    [issue] = answer.body["issue"]
    assert (issue["severity"], issue["code"]) == ("error", code), answer.text
    if name is not None:
        assert issue["expression"] == [name]
        assert f"`{name}`" in issue["details"]["text"]
    said = f"{answer.text} {answer.headers}"
    assert SECRET.lower() not in said.lower()


@pytest.fixture(scope="module")
async def trusted(mongodb: str) -> AsyncIterator[Service]:
    """A tenant whose searches need no patient, with a report that all of these would find."""
    async with opened_service(mongodb, search_scope=SearchScope.ANY) as service:
        await service.load(report(), patient())
        yield service


MALFORMED: Final = (
    # (parameter, value): dates, wherever they stand
    ("issued", SECRET),
    ("issued", f"ge{SECRET}"),
    ("date", f"2020-01-01{SECRET}"),
    ("date", f"2020-01-01,{SECRET}"),
    ("date", "zz2020-01-01"),
    ("date", "ge ge2020"),
    ("date", "gege2020"),
    ("date", "2020-01-01T00:00:00+0100"),
    ("date", "2020-01-01T00:00:00+15:00"),
    ("date", "2020-01-01T00:00:60:00Z"),
    ("date", "2020-01-01T24:00:01Z"),
    ("date", "2020-04-31"),
    ("date", "0000-01-01"),
    ("date", "\u0662\u0660\u0662\u0660"),
    ("date", "2020\x00"),
    ("date:missing", "1"),
    ("date:missing", "TRUE"),
    ("patient.birthdate", SECRET),
    ("patient.birthdate", "le1980-13"),
    ("encounter.date", f"ap{SECRET}"),
    ("_has:Provenance:target:recorded", SECRET),
    ("patient._has:Observation:patient:date", SECRET),
    # tokens
    ("code", f"a|b|{SECRET}"),
    ("code", f"{SECRET}\\"),
    ("code", f"\\n{SECRET}"),
    ("category", f"LAB,{SECRET}|b|c"),
    ("status:not", f"a|b|{SECRET}"),
    ("identifier", f"{SECRET}|1|2"),
    ("identifier:of-type", SECRET),
    ("identifier:of-type", f"a|b|c|{SECRET}"),
    ("patient.identifier", f"{SECRET}|1|2"),
    ("patient.active", f"urn:x|{SECRET}"),
    ("patient:identifier", f"|{SECRET}|"),
    ("performer:identifier", "|"),
    ("_tag", f"a|b|{SECRET}"),
    ("_id", f"DiagnosticReport|{SECRET}"),
    # strings and quantities behind chains
    ("patient.name", "!!!"),
    ("patient.family", "\\x"),
    ("result.value-quantity", SECRET),
    ("result.value-quantity", f"5|{SECRET}"),
    ("result.value-quantity", "zz5"),
    ("result.value-quantity", "5,,5.5.5"),
    ("result.value-quantity", "0x10"),
    # references
    ("subject:Patient", f"Device/{SECRET}"),
    ("encounter:Encounter", f"Patient/{SECRET}"),
    ("patient", f"{SECRET}\\"),
    # chains that cannot be
    ("status.code", SECRET),
    ("date.start", SECRET),
    ("identifier.value", SECRET),
    ("_id.x", SECRET),
    ("_has:Provenance", SECRET),
    ("_has:Provenance:target", SECRET),
    ("_has::target:recorded", SECRET),
    ("_has:Provenance:recorded:recorded", SECRET),
    ("_has:Nothing:target:recorded", SECRET),
    ("_has:Observation:patient:code", SECRET),
    # the shape of the result
    ("_count", SECRET),
    ("_count", "-5"),
    ("_count", "+5"),
    ("_count", "1.5"),
    ("_count", "1e3"),
    ("_count", "0x10"),
    ("_count", " 5"),
    ("_count", "\u0665"),
    ("_count", "9" * 19),
    ("_count", "5,5"),
    ("_total", SECRET),
    ("_total", "Accurate"),
    ("_summary", SECRET),
    ("_summary", "TRUE"),
    ("_elements", f"status,{SECRET}"),
    ("_elements", "subject.reference"),
    ("_elements", "Patient.name"),
    ("_include", SECRET),
    ("_include", "DiagnosticReport"),
    ("_include", "DiagnosticReport:"),
    ("_include", ":patient"),
    ("_include", "DiagnosticReport:patient:Patient:x"),
    ("_include", "DiagnosticReport:patient,DiagnosticReport:result"),
    ("_revinclude", SECRET),
    ("_revinclude", "Provenance"),
)


async def test_a_malformed_value_is_named_and_kept_quiet(trusted: Service) -> None:
    ways = (trusted.search, trusted.post_search)
    for (name, value), prefer, way in product(MALFORMED, ("handling=lenient", "handling=strict"), ways):
        with logged() as lines:
            answer = await way([(name, value)], prefer=prefer)
        is_refused(answer, "invalid", name)
        assert SECRET.lower().encode() not in b"".join(lines.raw).lower(), name


UNSUPPORTED: Final = (
    *((f"code:{m}", SECRET) for m in ("in", "not-in", "above", "below", "identifier", "Patient", "iterate")),
    *((f"issued:{m}", SECRET) for m in ("exact", "contains", "not", "text", "of-type")),
    *((f"subject:{m}", SECRET) for m in ("above", "below", "exact", "Observation", "patient", "not")),
    ("_id:missing", "true"),
    ("_profile:below", SECRET),
    ("_source:contains", SECRET),
    ("patient.name:text", SECRET),
    ("patient.birthdate:exact", SECRET),
    ("patient.identifier:contains", SECRET),
    ("subject:Observation.code", SECRET),
    ("subject:identifier.value", SECRET),
    ("result.value-quantity:not", "5"),
    ("_has:Provenance:target:recorded:exact", SECRET),
    ("_include:all", "DiagnosticReport:patient"),
    ("_revinclude:exact", "Provenance:target"),
    ("_list", SECRET),
    ("_query", SECRET),
    ("_filter", f"name eq {SECRET}"),
)


@pytest.mark.parametrize(("name", "value"), UNSUPPORTED)
async def test_what_would_answer_another_question_is_refused_under_lenient_handling(
    trusted: Service, name: str, value: str
) -> None:
    for way in (trusted.search, trusted.post_search):
        with logged() as lines:
            is_refused(await way([(name, value)]), "not-supported", name)
        assert SECRET.encode() not in b"".join(lines.raw)


UNKNOWN: Final = (
    "nothing",
    "Status",
    "patient.nothing",
    "nothing.identifier",
    "subject:Patient.nothing.identifier",
    "patient.organization.nothing",
)


@pytest.mark.parametrize("name", UNKNOWN)
async def test_an_unknown_name_is_dropped_or_refused_as_the_client_prefers(
    trusted: Service, name: str
) -> None:
    with logged() as lines:
        lenient = await trusted.search([("_id", "r1"), (name, SECRET)])
        strict = await trusted.search([("_id", "r1"), (name, SECRET)], prefer="handling=strict")
    assert (lenient.status, lenient.ids, lenient.body["total"]) == (200, ["r1"], 1)
    assert lenient.links["self"].endswith("?_id=r1")
    assert SECRET not in lenient.text
    assert strict.body["issue"][0]["expression"] == [name]
    assert (strict.status, strict.issues, SECRET in strict.text) == (400, [("error", "not-supported")], False)
    assert SECRET.encode() not in b"".join(lines.raw)


@pytest.mark.parametrize(
    ("value", "used"),
    [(SECRET, ""), (f"date,{SECRET},-_id", "&_sort=date,-_id"), ("--date", ""), ("date:desc", "")],
)
async def test_a_sort_key_that_is_unknown_is_dropped_or_refused(
    trusted: Service, value: str, used: str
) -> None:
    lenient = await trusted.search([("_id", "r1"), ("_sort", value)])
    assert (lenient.status, lenient.ids, SECRET in lenient.text) == (200, ["r1"], False)
    assert lenient.links["self"].endswith(f"?_id=r1{used}")
    is_refused(await trusted.search([("_sort", value)], prefer="handling=strict"), "not-supported", "_sort")


# --- how much


CHAIN: Final = "subject:Patient.organization.partof.partof"


async def test_a_chain_may_be_so_long_and_no_longer(trusted: Service) -> None:
    assert (await trusted.search("subject:Patient.organization.partof.name=x")).status == 200
    is_refused(await trusted.search([(f"{CHAIN}.name", SECRET)]), "too-costly", f"{CHAIN}.name")
    has = "_has:Provenance:target"
    nested = "patient._has:Observation:patient:_has:Provenance:target:_has:Provenance:target:recorded"
    assert (await trusted.search([(f"{has}:recorded", "2020")])).status == 200
    refused = await trusted.search([(nested, SECRET)])
    assert (refused.status, SECRET in refused.text) == (400, False)


async def test_chains_that_go_on_without_end_are_refused_at_once(trusted: Service) -> None:
    for name in ("patient" + ".organization" * 5_000, "_has:Observation:patient" * 2_000):
        answer = await trusted.search([(name, SECRET)])
        assert answer.status in (200, 400, 413)
        assert SECRET not in answer.text


VALUES: Final = (
    "code",
    "patient",
    "_id",
    "patient.identifier",
    "order",
    "date",
    "patient.name",
    "_has:Provenance:target:_id",
)
ONE: Final = {"date": "2020-01-01"}


async def test_a_list_may_hold_so_many_values_and_no_more(mongodb: str) -> None:
    async with opened_service(mongodb, search_scope=SearchScope.ANY, values_max=4) as small:
        for name in VALUES:
            value = ONE.get(name, SECRET)
            most = await small.search([(name, ",".join([value] * 4))])
            assert most.status == 200, (name, most.text)
            over = await small.search([(name, ",".join([value] * 5))])
            is_refused(over, "too-costly", name)


async def test_of_what_one_match_brings_along_so_much_is_shown_and_no_more(mongodb: str) -> None:
    async with opened_service(mongodb, includes_max=3) as small:
        results = [resource("Observation", f"o{n}", status="final") for n in range(4)]
        refer = [refers(f"Observation/o{n}") for n in range(4)]
        await small.load(*results, report("three", result=refer[:3]), report("four", result=refer))
        include = ("_include", "DiagnosticReport:result")
        for named, modes in (("three", []), ("four", ["outcome"])):
            answer = await small.search([("_id", named), include])
            said = [entry["search"]["mode"] for entry in answer.body["entry"]]
            assert said == ["match", *["include"] * 3, *modes]
        assert (await small.search([("_id", "four")])).ids == ["four"]


async def test_as_many_includes_as_there_may_be(trusted: Service) -> None:
    many = [("_include", f"DiagnosticReport:patient:{name}") for name in ("Patient",)]
    sources = ("Patient:organization", "Patient:general-practitioner", "Observation:subject")
    names = [("_include:iterate", one) for one in sources] + many
    assert (await trusted.search([("_id", "r1"), *names])).status == 200
    over = [
        ("_include", f"{source}:{row}")
        for source, row in (
            *(("DiagnosticReport", r) for r in ("based-on", "encounter", "media", "patient", "performer")),
            *(("DiagnosticReport", r) for r in ("result", "results-interpreter", "specimen", "subject")),
            *(("Observation", r) for r in ("based-on", "encounter", "patient", "performer", "specimen")),
            *(("Observation", r) for r in ("derived-from", "device", "has-member", "subject")),
            *(("ServiceRequest", r) for r in ("encounter", "patient", "requester")),
        )
    ]
    assert len(over) == 21
    assert (await trusted.search([("_id", "r1"), *over[:20]])).status == 200
    is_refused(await trusted.search([("_id", "r1"), *over]), "too-costly", "_include")


async def test_a_chain_may_lead_through_so_many_and_no_more(mongodb: str) -> None:
    async with opened_service(mongodb, search_scope=SearchScope.ANY, chain_matches_max=2) as small:
        many = [patient(f"p{n}", identified(MRN, SECRET), name=[{"family": "Muster"}]) for n in range(3)]
        await small.load(*many[:2], report("r", "p1"))
        for query in (f"patient.identifier={SECRET}", "patient.name=muster"):
            assert (await small.search(query)).ids == ["r"]
        await small.load(many[2])
        is_refused(await small.search("patient.name=muster"), "too-costly", "patient")
        # Those with an identifier are few, and found within the same command.
        assert (await small.search(f"patient.identifier={SECRET}")).ids == ["r"]


async def test_a_search_may_be_so_long_and_no_longer(trusted: Service) -> None:
    long = ",".join([SECRET] * 6_000)
    answer = await trusted.post_search([("code", long)])
    is_refused(answer, "too-long", status=413)


# --- how long


SEARCHES: Final = (
    "patient=p1",
    "patient.identifier=1",
    "status=final",
    "patient=p1&_include=*&_revinclude=Provenance:target",
    "_has:Provenance:target:recorded=ge2020",
    "patient=p1&_count=0",
    "_lastUpdated=ge2020",
)


async def test_a_database_that_hangs_is_said_within_the_time_and_works_again_after(
    frail_mongod: Embedded,
) -> None:
    wanted: dict[str, Any] = {"search_timeout_seconds": 0.3, "access_cache_seconds": 60}
    async with (
        opened_service(frail_mongod.uri, search_scope=SearchScope.ANY, **wanted) as service,
    ):
        await service.load(report(), patient("p1", identified(MRN, "1")))
        before = [(await service.search(query)).ids for query in SEARCHES]
        assert before[0] == ["r1"]
        with frozen(frail_mongod.pid), logged() as lines:
            for query in SEARCHES:
                answer = await service.search(f"{query}&_tag:not={SECRET}")
                # Once its absence is noticed nobody waits any more.
                assert (answer.status, answer.issues[0][1]) in {(504, "timeout"), (503, "transient")}
                assert SECRET.encode() not in b"".join(lines.raw)
        async with asyncio.timeout(60):
            while (await service.search(SEARCHES[0])).status != 200:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert [(await service.search(query)).ids for query in SEARCHES] == before
