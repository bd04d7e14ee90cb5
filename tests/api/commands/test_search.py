"""`dod search` on a real MongoDB, beside the service that holds the data."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, NamedTuple

import orjson
import pytest

from api.cli import main as cli
from api.commands.search import read_query
from api.http.app_keys import PRIVACY
from store.audit.records import AuditQuery, Deed
from store.mongo.resources.resources import MongoResources
from tests.support.fhir import coded, identified, patient, refers, report, resource
from tests.support.service import DATABASE, Service

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Dod = Callable[..., Awaitable["Result"]]


class Result(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


@pytest.fixture
def dod(
    mongodb: str, service: Service, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Dod:
    monkeypatch.setenv("DOD_MONGODB_URI", mongodb)
    monkeypatch.setenv("DOD_MONGODB_DATABASE", DATABASE)
    monkeypatch.delenv("COLUMNS", raising=False)

    def run(arguments: tuple[str, ...]) -> int:
        monkeypatch.setattr(sys, "argv", ["dod", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0)

    async def search(*arguments: str, tenant: str = str(service.tenant)) -> Result:
        capsys.readouterr()
        # The command runs a loop of its own, as in a process of its own.
        code = await asyncio.to_thread(run, ("search", "--tenant", tenant, *arguments))
        return Result(code, *capsys.readouterr())

    return search


@pytest.fixture(autouse=True)
async def chart(service: Service) -> None:
    await service.load(
        patient("p1", identified("urn:mr", "A&B+1"), name=[{"family": "Lovelace"}]),
        resource("Observation", "o1", status="final", code=coded("1"), subject=refers("Patient/p1")),
        report("r1", effectiveDateTime="2026-01-01T00:30:00+01:00", result=[refers("Observation/o1")]),
        report("r2", effectiveDateTime="2026-01-02", code={"text": "Made-up panel"}),
        report("r3", "p2", effectiveDateTime="2026-01-03", status="preliminary"),
        report("r4", None, subject={"identifier": identified("urn:mr", "A&B+1"), "display": "Ada Lovelace"}),
    )


async def test_a_table_newest_first_with_the_total_below(dod: Dod) -> None:
    result = await dod()
    assert (result.code, result.err) == (0, "")
    assert [line.split() for line in result.lines] == [
        ["DATE", "CODE", "STATUS", "PATIENT", "ID"],
        ["2026-01-03", "58410-2", "preliminary", "Patient/p2", "r3"],
        ["2026-01-02", "Made-up", "panel", "final", "Patient/p1", "r2"],
        ["2026-01-01T00:30:00+01:00", "58410-2", "final", "Patient/p1", "r1"],
        ["-", "58410-2", "final", "identifier", "r4"],
        ["4", "matches"],
    ]
    assert "Lovelace" not in result.out


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        (("patient=p1&date=ge2026-01-02",), ["r2"]),
        (("patient=p1", "date=ge2026-01-02"), ["r2"]),
        (("patient=Patient%2Fp1&date=ge2026-01-02",), ["r2"]),
        (("date=2026-01-01T00:30:00+01:00",), ["r1"]),
        (("date=2026-01-01T00:30:00%2B01:00",), ["r1"]),
        (("patient.identifier=urn:mr|A%26B+1",), ["r2", "r1", "r4"]),
        (("patient=nobody",), []),
        (("status=preliminary&_format=json",), ["r3"]),
        (("_summary=true&patient=p2",), ["r3"]),
    ],
)
async def test_queries_percent_encoded_or_not(dod: Dod, query: tuple[str, ...], ids: list[str]) -> None:
    result = await dod(*query)
    assert (result.code, result.err) == (0, "")
    assert [line.split()[-1] for line in result.lines[1:-1]] == ids
    assert result.lines[-1] == f"{len(ids)} match{'' if len(ids) == 1 else 'es'}"


async def test_who_was_found_is_on_record_though_the_query_named_nobody(dod: Dod, service: Service) -> None:
    trail = service._app[PRIVACY].audit

    async def patients(*arguments: str) -> list[set[str]]:
        before = (await trail.find(AuditQuery(service.tenant, dids=frozenset({Deed.SEARCHED.value})))).records
        assert (await dod(*arguments)).code == 0
        found = (await trail.find(AuditQuery(service.tenant, dids=frozenset({Deed.SEARCHED.value})))).records
        return [set(one.patients) for one in found[: len(found) - len(before)]][::-1]

    assert await patients("patient=p1") == [{"Patient/p1"}]
    assert await patients("status=preliminary") == [set(), {"Patient/p2"}]
    assert await patients("patient=p1,p2") == [{"Patient/p1", "Patient/p2"}]
    everyone = await patients("--all", "_count=1", "_sort=-date")
    assert everyone == [set(), {"Patient/p2"}, {"Patient/p1"}, {"urn:mr|A&B+1"}]


async def test_pages(dod: Dod) -> None:
    page = await dod("--count", "3")
    assert [line.split()[-1] for line in page.lines] == ["ID", "r3", "r2", "r1", "others"]
    assert page.lines[-1] == "3 of 4 matches; --all shows the others"
    everything = await dod("--count", "3", "--all")
    assert [line.split()[-1] for line in everything.lines] == ["ID", "r3", "r2", "r1", "r4", "matches"]
    assert (await dod("--count", "0")).out == "0 of 4 matches\n"
    assert (await dod("--count", "3", "_total=none")).lines[-1].startswith("3 matches and more, not counted")


async def test_other_types_and_what_is_included(dod: Dod) -> None:
    people = await dod("--type", "Patient")
    assert [line.split() for line in people.lines[1:]] == [
        ["-", "-", "-", "Patient/p1", "p1"],
        ["1", "match"],
    ]
    with_results = await dod("patient=p1&_include=DiagnosticReport:result")
    assert with_results.lines[-1] == "2 matches; 1 included, shown by --json"


async def test_json_is_what_the_service_answers(dod: Dod, service: Service) -> None:
    text = "patient=p1&_include=DiagnosticReport:result&_elements=status&_count=1"
    result = await dod("--json", text)
    here, there = orjson.loads(result.out), (await service.search(text)).body
    base = f"http://127.0.0.1:8080{service.root}"
    assert here["link"][0]["url"] == there["link"][0]["url"].replace(service.base, base)
    assert [link["relation"] for link in here["link"]] == [link["relation"] for link in there["link"]]
    assert here["total"] == there["total"] == 2
    assert [{**one, "fullUrl": ""} for one in here["entry"]] == [
        {**one, "fullUrl": ""} for one in there["entry"]
    ]
    assert here["entry"][0]["fullUrl"] == f"{base}/DiagnosticReport/r2"


async def test_its_page_links_work_at_the_service(dod: Dod, service: Service) -> None:
    [_, _, following] = orjson.loads((await dod("--json", "patient=p1&_count=1")).out)["link"]
    assert following["relation"] == "next"
    path = following["url"].split(str(service.tenant))[1]
    assert (await service.get(path.lstrip("/"))).ids == ["r1"]


async def test_json_of_all_pages_is_a_bundle_a_line(dod: Dod) -> None:
    bundles = [orjson.loads(line) for line in (await dod("--json", "--all", "--count", "3")).lines]
    assert [[e["resource"]["id"] for e in one["entry"]] for one in bundles] == [["r3", "r2", "r1"], ["r4"]]
    assert [one["total"] for one in bundles] == [4, 4]


async def test_explain(dod: Dod) -> None:
    result = await dod("--explain", "patient=p1&code=58410-2")
    told = dict(line.split(": ", 1) for line in result.lines)
    assert list(told) == ["shape", "index", "documents examined", "keys examined", "returned", "stages"]
    assert told["shape"] == "DiagnosticReport by patient=? & code=? sort -when.lo"
    assert (told["index"], told["documents examined"], told["returned"]) == ("keyed", "1", "1")
    both = orjson.loads((await dod("--explain", "--json", "patient=p1&code=58410-2")).out)
    assert [one["search"]["mode"] for one in both["entry"]] == ["match", "outcome"]
    assert "index: keyed" in both["entry"][1]["resource"]["issue"][0]["details"]["text"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("foo=MADE-UP", "date=MADE-UP", "status:above=MADE-UP"), 1, ["foo", "date", "status:above"]),
        (("--type", "MADE-UP"), 1, ["resource type"]),
        (("_page=MADE-UP",), 1, ["_page"]),
        (("code=a,b\\",), 1, ["code"]),
        (("%FF=1",), 1, ["UTF-8"]),
        (("MADE-UP",), 2, ["name=value"]),
        (("patient=A&MADE-UP",), 2, ["name=value"]),
        (("patient=",), 2, ["`patient` has no value"]),
        (("status=,", "patient=p1"), 2, ["`status` has no value"]),
        (("--explain", "--all"), 2, ["--all"]),
        (("--count", "-1"), 2, ["--count"]),
    ],
)
async def test_refusals_one_line_each_and_no_value(
    dod: Dod, arguments: tuple[str, ...], code: int, said: list[str]
) -> None:
    result = await dod(*arguments)
    assert (result.code, result.out) == (code, "")
    assert "MADE-UP" not in result.err
    if code == 1:
        assert len(result.err.splitlines()) == len(said)
    for line in said:
        assert line in result.err


@pytest.mark.parametrize(("tenant", "code"), [("nobody/Staging", 1), ("nobody", 2), ("nobody/Test", 2)])
async def test_the_tenant_must_exist(dod: Dod, tenant: str, code: int) -> None:
    result = await dod(tenant=tenant)
    assert (result.code, result.out) == (code, "")
    assert "nobody/Staging" in result.err or code == 2


async def test_lines_fit_the_terminal(dod: Dod, monkeypatch: pytest.MonkeyPatch, service: Service) -> None:
    await service.load(report("a" * 36, "p3", code={"text": "a made-up name " * 20}))
    monkeypatch.setenv("COLUMNS", "80")
    result = await dod("patient=p3")
    assert result.lines[1].split()[-1] == "a" * 36
    assert max(map(len, result.lines)) <= 80


async def test_one_page_is_one_search(dod: Dod, monkeypatch: pytest.MonkeyPatch) -> None:
    searched = []
    search = MongoResources.search

    async def counted(self: MongoResources, *arguments: object, **named: object) -> object:
        searched.append(arguments)
        return await search(self, *arguments, **named)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(MongoResources, "search", counted)
    await dod("--count", "1")
    assert len(searched) == 1
    await dod("--count", "1", "--all")
    assert len(searched) == 1 + 4


def test_a_blank_is_a_blank_and_a_plus_a_plus() -> None:
    assert read_query(["a=b c+d%2Be%20f", "g=%"]) == [("a", "b c+d+e f"), ("g", "%")]
