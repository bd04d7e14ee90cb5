"""A newcomer's usual mistakes, over HTTP and at the terminal: each gets a sentence that says what to do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from store.mongo.access import MongoAccess
from store.settings import StoreSettings
from store.tenancy import TenantSettings
from tests.support.commands import command, database_of_commands
from tests.support.fhir import report
from tests.support.service import FHIR, FORM
from tests.support.store import LAB, metrics

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from store.mongo.driver.client import Database
    from tests.support.commands import Dod
    from tests.support.service import Service

R1 = "DiagnosticReport/r1"


class Sent(NamedTuple):
    """A request as somebody types it. `{root}` is the path of the tenant's base, `{token}` a good token."""

    said: str
    """Words of the answer: what is wrong, or what to do."""
    status: int
    method: str = "GET"
    path: str = R1
    body: Any = None
    headers: dict[str, str] = {}  # noqa: RUF012 -- never written to


def put(said: str, status: int, body: Any, path: str = R1, **headers: str) -> Sent:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Sent(said, status, "PUT", path, body, {"Content-Type": FHIR, **named})


def post(said: str, status: int, body: Any, path: str = "", content_type: str = FHIR) -> Sent:
    return Sent(said, status, "POST", path, body, {"Content-Type": content_type})


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in report("r1").items() if key != name}


MISTAKES = (
    # Who asks, and where.
    Sent("`dod token issue` makes one", 401, headers={"Authorization": ""}),
    Sent("without quotes", 401, headers={"Authorization": "Bearer abc"}),
    Sent("without quotes", 401, headers={"Authorization": 'Bearer "{token}"'}),
    Sent("it is `Bearer`, a blank and the token", 401, headers={"Authorization": "{token}"}),
    Sent("without quotes", 401, headers={"Authorization": "Basic YTpi"}),
    Sent("upper and lower case", 403, path="/fhir/R4/Elsewhere/Development/Patient/1"),
    Sent("did you mean `Development`?", 404, path="/fhir/R4/acme/development/Patient/1"),
    Sent("did you mean `Production`?", 404, path="/fhir/R4/acme/Prod/Patient/1"),
    Sent("`/fhir/R4/{organization}/{environment}`", 404, path="/Patient/1"),
    Sent("in this spelling", 404, path="/fhir/r4/acme/Development/Patient/1"),
    Sent("No such base: the environment", 404, path="/fhir/R4/Patient/1"),
    Sent("is a variable unset?", 404, path="{root}//Patient/1"),
    Sent("did you mean `Patient`?", 404, path="patient/1"),
    Sent("did you mean `DiagnosticReport`?", 404, path="DiagnosticRepot/1"),
    Sent("did you mean `Patient`?", 404, path="Patients?identifier=x"),
    Sent("no `_`", 404, path="Patient/a_b"),
    Sent("`_history`", 404, path=f"{R1}/history"),
    Sent("A version is a whole number", 404, path=f"{R1}/_history/latest"),
    Sent("`$process-message`, ", 404, path="Patient/p1/$lastn"),
    Sent("did you mean `$process-message`?", 404, "POST", "$process-mesage"),
    Sent("`Allow` lists those that are: ", 405, "POST", R1, report("r1"), {"Content-Type": FHIR}),
    Sent("A search is `{base}/{Type}?…`", 400, path=""),
    # What is sent.
    put("`Content-Type` is one of application/fhir+json", 415, report("r1"), Content_Type="text/plain"),
    put("is for `{Type}/_search`", 415, report("r1"), Content_Type=FORM),
    put("`Content-Type` is one of", 415, "<a/>", Content_Type="application/fhir+xml"),
    Sent("Only FHIR JSON is served", 406, headers={"Accept": "application/fhir+xml"}),
    put("at line 1 column", 400, '{"resourceType": "DiagnosticReport",}'),
    put("double quotes", 400, "{'resourceType': 'DiagnosticReport'}"),
    put("the body is empty", 400, " "),
    put("`--data-binary @FILE`", 400, "report.json"),
    put("several are a Bundle", 400, [report("r1")]),
    put("it looks like XML", 400, "<DiagnosticReport/>"),
    put("a `DiagnosticReport` is pushed to `DiagnosticReport`", 400, report("r1"), "Patient/r1"),
    put("must be the id in the URL", 400, report("r2")),
    put("it is missing", 400, without("id")),
    put("it is missing", 400, without("resourceType")),
    put("did you mean `DiagnosticReport`?", 400, {**report("r1"), "resourceType": "DiagnosticRepot"}),
    put("`DiagnosticReport.status` is missing", 422, without("status")),
    put("did you mean `final`?", 422, report("r1", status="Final")),
    put("such as 2026-03-02", 422, report("r1", effectiveDateTime="02.03.2026")),
    put("such as 2026-03-02", 422, report("r1", effectiveDateTime="2026-03-02 08:15:00")),
    put("must be an object", 422, report("r1", None, subject="Patient/p1")),
    put("one resource is `{Type}/{id}`", 400, report("r1"), "DiagnosticReport"),
    put('such as `W/"3"`', 400, report("r1"), If_Match="1"),
    post("a single resource is pushed to `{Type}`", 400, report("r1")),
    post("`$process-message`", 400, {"resourceType": "Bundle", "type": "message", "entry": []}),
    post("a batch or transaction is posted to the base itself", 400, {"resourceType": "Bundle"}, "Patient"),
    post("`name=value&…`", 415, {"patient": "p1"}, "DiagnosticReport/_search"),
    post("is for `{Type}/_search`", 415, "patient=p1", "DiagnosticReport", FORM),
    Sent(
        "is one of application/json, application/json-patch+json",
        415,
        "PATCH",
        R1,
        {"status": "final"},
        {"Content-Type": FHIR},
    ),
    Sent("one resource is `{Type}/{id}`", 400, "DELETE", "DiagnosticReport"),
    # What is asked.
    Sent("the search must name its patient", 400, path="DiagnosticReport"),
    Sent("--search-scope any", 400, path="DiagnosticReport?date=ge2026"),
    Sent("did you mean `patient`?", 400, path="DiagnosticReport?patiant=p1"),
    Sent("did you mean `patient`?", 400, path="DiagnosticReport?patientId=p1"),
    Sent("did you mean `_sort`?", 200, path="DiagnosticReport?patient=p1&sort=date"),
    Sent("did you mean `name`?", 400, path="DiagnosticReport?patient.nmae=x"),
    Sent(
        "write the zone as `%2B01:00`",
        400,
        path="DiagnosticReport?patient=p1&date=ge2026-03-02T08:15:00+01:00",
    ),
    Sent("such as 2026-03-02", 400, path="DiagnosticReport?patient=p1&date=02.03.2026"),
    Sent("as in `ge2026-03`", 400, path="DiagnosticReport?patient=p1&date=>=2026-03"),
    Sent("`date=ge2026`", 200, path="DiagnosticReport?patient=p1&date>=2026-03"),
    Sent("no such date in the calendar", 400, path="DiagnosticReport?patient=p1&date=2026-02-30"),
    Sent("a whole number", 400, path="DiagnosticReport?patient=p1&_count=all"),
    Sent("with `-` before it to go down", 200, path="DiagnosticReport?patient=p1&_sort=date:desc"),
    Sent("did you mean `missing`?", 400, path="DiagnosticReport?patient=p1&code:mising=true"),
    Sent("takes `Source:parameter`", 400, path="DiagnosticReport?patient=p1&_include=subject"),
    Sent("`_has:Type:reference-parameter:parameter`", 400, path="Patient?_has:Observation=x"),
    Sent("--scope dod/admin", 403, path="$dead-letters"),
)


async def test_a_mistake_over_http_is_answered_with_what_to_do(service: Service) -> None:
    await service.load(report("r1", "p1"))
    token = service.headers["Authorization"].removeprefix("Bearer ")
    wrong: list[str] = []
    for sent in MISTAKES:
        path = sent.path.replace("{root}", service.root)
        if path.startswith("/"):
            path = str(service.client.make_url("/")).rstrip("/") + path
        body = sent.body if sent.body is None or isinstance(sent.body, str) else json.dumps(sent.body)
        headers = {name: value.replace("{token}", token) for name, value in sent.headers.items()}
        answer = await service.request(sent.method, path, data=body, headers=headers)
        if answer.status != sent.status or sent.said not in answer.text.replace('\\"', '"'):
            wrong.append(
                f"{sent.method} {sent.path}: {answer.status} {answer.text[:400]}\n   not: {sent.said}"
            )
    assert not wrong, "\n".join(wrong)


TYPED: tuple[tuple[str, int, str], ...] = (
    ("srve", 2, "Did you mean 'serve'"),
    ("serve --prot 1", 2, "--port"),
    ("serve --port 99999", 1, "less than or equal to 65535"),
    ("serve --role al", 1, "'all', 'query', 'ingest' or 'jobs'"),
    ("settings --config nowhere.toml", 1, "cannot be read"),
    ("tenant creat acme/Production", 2, "Did you mean 'create'?"),
    ("tenant create acme", 2, "such as acme/Development"),
    ("tenant create acme/production", 2, "did you mean `Production`?"),
    ("tenant create acme/dev", 2, "did you mean `Development`?"),
    ("tenant create acme/Production --search-scope all", 2, "'any'"),
    ("token issue", 2, "--tenant"),
    (
        "token issue --tenant lab/Production --scope system/DiagnosticRepot.rs",
        2,
        "did you mean `DiagnosticReport`?",
    ),
    ("token issue --tenant lab/Production --scope system/patient.rs", 2, "did you mean `Patient`?"),
    (
        "token issue --tenant lab/Production --scope system/DiagnosticReport",
        2,
        "such as `system/DiagnosticReport.rs`",
    ),
    ("token issue --tenant lab/Production --scope system/*.sr", 2, "in this order"),
    ("token issue --tenant Lab/Production --scope system/*.rs", 1, "did you mean `lab/Production`?"),
    ("token revoke abc", 2, "8 to 64 hexadecimal digits"),
    ("load nowhere --tenant lab/Production", 2, "does not exist"),
    ("load . --tenant lab/Prod", 2, "did you mean `Production`?"),
    ("load . --tenant other/Production", 1, "`dod tenant create other/Production` makes it"),
    ("load FILE --tenant lab/Production", 1, "`--data-binary @FILE`"),
    ("load FILE --tenant lab/Production --report /nowhere/x", 1, "cannot be written"),
    ("search --tenant lab/Production patiant=p1", 1, "did you mean `patient`?"),
    ("search --tenant lab/Production --type patient name=x", 1, "did you mean `Patient`?"),
    ("search --tenant lab/Production DiagnosticReport?patient=p1", 2, "`--type Patient"),
    ("search --tenant lab/Production patient=", 2, "is a shell variable unset?"),
    ("search --tenant lab/Production date=02.03.2026", 1, "such as 2026-03-02"),
    ("export FILE --tenant lab/Production", 1, "cannot be written"),
    ("retention hold add lab/Production --patient urn:x|nobody --reason test", 1, "`--absent`"),
    ("retention hold add lab/Production --report DiagnosticRepot/1 --reason test", 1, "did you mean"),
    ("purge patient lab/Production urn:x|nobody --reason test", 1, "nothing is stored of this patient"),
    (
        "purge tenant lab/Production --reason test --yes lab",
        2,
        "name the tenant that is to be purged again, to be sure",
    ),
    ("letters show abc", 1, "`dod letters list --state all`"),
    ("letters replay", 2, "`--all`"),
)
VARIABLES: tuple[tuple[str, str, str], ...] = (
    ("DOD_PROT", "1", "did you mean `DOD_PORT`?"),
    ("DOD_MONGO_URI", "mongodb://db", "did you mean `DOD_MONGODB_URI`?"),
    ("DOD_MONGODB_URI", "localhost:27017", "begins with `mongodb://`"),
    ("DOD_PORT", "http", "DOD_PORT"),
)


async def test_a_mistake_at_the_terminal_is_answered_with_what_to_do(
    mongodb: str,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    database_of_commands(monkeypatch, mongodb, database.name)
    monkeypatch.setenv("DOD_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "400")
    access = MongoAccess(database, settings=StoreSettings(), metrics=metrics())
    await access.put_tenant(TenantSettings(LAB))
    file = tmp_path / "notes.txt"
    file.write_text("no JSON")
    dod: Dod = command(monkeypatch, capsys)
    wrong: list[str] = []

    async def tries(line: str, code: int, said: str) -> None:
        words = [
            str(file) if word == "FILE" else word
            for word in line.replace("lab/", f"{LAB.organization}/").split()
        ]
        done = await dod(*words)
        told = " ".join(done.err.split())
        if done.code != code or said not in told or "Traceback" in told:
            wrong.append(f"dod {line}: {done.code} {told[:400]}\n   not: {said}")

    for line, code, said in TYPED:
        await tries(line, code, said)
    for name, value, said in VARIABLES:
        with monkeypatch.context() as given:
            given.setenv(name, value)
            await tries("tenant list", 1, said)
    assert not wrong, "\n".join(wrong)


def test_there_are_sixty_of_them() -> None:
    assert len(MISTAKES) + len(TYPED) + len(VARIABLES) >= 60
